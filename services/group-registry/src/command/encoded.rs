//! How a command is encoded: one protobuf message with its time and its kind. Tags are never used for anything else.

use std::time::Duration;

use bytes::Bytes;
use gaung_proto::{DeviceId, GroupId, LogId, RelayId, pb::registry as pb, policy::SignedPolicy};
use prost::Message as _;

use super::{Command, DecodeError};
use crate::{
    address_picker::Endpoint,
    clock::CommandTime,
    create::{CreateGroup, CreateSpec, LapseAddresses, RegainAddress},
    group::RequestId,
    invites::{CreateInvite, RedeemInvite, RevokeInvite},
    limits::GroupLimits,
    members::{AddMember, RemoveMember},
    owner::{DeleteGroup, ResetGroup, SetRetention},
    policies::SetPolicy,
    records::{CodeHash, ServiceRecord},
    reports::{LogReport, ReportLogs},
    services::{ForgetService, RegisterService, RememberSecret},
    tables::ForgetOutdated,
};

#[derive(Clone, PartialEq, prost::Message)]
struct EncodedCommand {
    #[prost(uint64, tag = "1")]
    mono_nanos: u64,
    #[prost(int64, tag = "2")]
    unix_ms: i64,
    #[prost(oneof = "Kind", tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "3")]
    CreateGroup(Box<EncodedCreate>),
    /// The relay.
    #[prost(bytes = "bytes", tag = "4")]
    LapseAddresses(Bytes),
    #[prost(message, tag = "5")]
    RegainAddress(EncodedRegain),
    #[prost(message, tag = "6")]
    DeleteGroup(SubjectAndDevice),
    #[prost(message, tag = "7")]
    ResetGroup(EncodedReset),
    #[prost(message, tag = "8")]
    SetRetention(EncodedRetention),
    #[prost(message, tag = "9")]
    AddMember(EncodedJoin),
    #[prost(message, tag = "10")]
    RemoveMember(SubjectAndDevice),
    #[prost(message, tag = "11")]
    CreateInvite(EncodedInvite),
    #[prost(message, tag = "12")]
    RevokeInvite(SubjectAndDevice),
    #[prost(message, tag = "13")]
    RedeemInvite(EncodedJoin),
    #[prost(message, tag = "14")]
    RegisterService(EncodedService),
    /// The service.
    #[prost(bytes = "bytes", tag = "15")]
    ForgetService(Bytes),
    #[prost(message, tag = "16")]
    RememberSecret(EncodedSecret),
    #[prost(message, tag = "17")]
    ReportLogs(EncodedReports),
    #[prost(message, tag = "18")]
    ForgetOutdated(Empty),
    /// An encoded `SignedPolicy`.
    #[prost(bytes = "bytes", tag = "19")]
    SetPolicy(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
struct EncodedCreate {
    #[prost(bytes = "bytes", tag = "1")]
    request_id: Bytes,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(enumeration = "pb::Scope", tag = "3")]
    scope: i32,
    #[prost(enumeration = "pb::Format", tag = "4")]
    format: i32,
    #[prost(bool, tag = "5")]
    private: bool,
    /// What the operator asked for.
    #[prost(fixed32, optional, tag = "6")]
    own_address: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    own_port: Option<u32>,
    #[prost(bytes = "bytes", tag = "8")]
    owner_device_id: Bytes,
    #[prost(string, tag = "9")]
    owner_name: String,
    #[prost(bool, tag = "10")]
    reserved: bool,
    #[prost(message, optional, tag = "11")]
    keep: Option<pb::Retention>,
    #[prost(string, tag = "12")]
    made_from: String,
    #[prost(bytes = "bytes", tag = "13")]
    group_id: Bytes,
    #[prost(fixed64, tag = "14")]
    log_id: u64,
    #[prost(bytes = "bytes", tag = "15")]
    relay_id: Bytes,
    #[prost(message, optional, tag = "16")]
    endpoint: Option<EncodedEndpoint>,
    #[prost(uint64, tag = "17")]
    groups_per_address: u64,
    /// 0, as in commands of before it, is no limit.
    #[prost(uint64, tag = "18")]
    groups_per_device: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct EncodedEndpoint {
    #[prost(fixed32, tag = "1")]
    ip: u32,
    #[prost(uint32, tag = "2")]
    port: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EncodedRegain {
    #[prost(bytes = "bytes", tag = "1")]
    group_id: Bytes,
    #[prost(message, optional, tag = "2")]
    endpoint: Option<EncodedEndpoint>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct SubjectAndDevice {
    /// The group's id, or the hash of an invite's code.
    #[prost(bytes = "bytes", tag = "1")]
    subject: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    device_id: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct EncodedReset {
    #[prost(bytes = "bytes", tag = "1")]
    group_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    device_id: Bytes,
    #[prost(fixed64, tag = "3")]
    log_id: u64,
    #[prost(bytes = "bytes", tag = "4")]
    signed: Bytes,
    #[prost(bool, tag = "5")]
    is_lost: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EncodedRetention {
    #[prost(bytes = "bytes", tag = "1")]
    group_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    device_id: Bytes,
    #[prost(message, optional, tag = "3")]
    keep: Option<pb::Retention>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct EncodedJoin {
    /// The group's id, or the hash of an invite's code.
    #[prost(bytes = "bytes", tag = "1")]
    subject: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    device_id: Bytes,
    /// Empty: none was given.
    #[prost(string, tag = "3")]
    name: String,
    /// Empty: this process.
    #[prost(string, tag = "4")]
    from: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct EncodedInvite {
    #[prost(bytes = "bytes", tag = "1")]
    code_hash: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    group_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    inviter_device_id: Bytes,
    #[prost(bool, tag = "4")]
    is_present: bool,
    #[prost(uint32, tag = "5")]
    uses: u32,
    #[prost(int64, tag = "6")]
    expires_unix_ms: i64,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct EncodedService {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    /// As the store has it.
    #[prost(bytes = "bytes", tag = "2")]
    record: Bytes,
    /// Empty: nobody.
    #[prost(bytes = "bytes", tag = "3")]
    evicts: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct EncodedSecret {
    #[prost(bytes = "bytes", tag = "1")]
    service_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    hash: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EncodedReports {
    #[prost(bytes = "bytes", tag = "1")]
    relay_id: Bytes,
    #[prost(bool, tag = "2")]
    durable: bool,
    #[prost(message, repeated, tag = "3")]
    reports: Vec<pb::GroupReport>,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Empty {}

pub(super) fn encode(command: &Command, now: CommandTime) -> Bytes {
    let mono_nanos = u64::try_from(now.mono.as_nanos()).unwrap_or(u64::MAX);
    EncodedCommand { mono_nanos, unix_ms: now.unix_ms, kind: Some(Kind::of(command)) }.encode_to_vec().into()
}

pub(super) fn decode(bytes: Bytes) -> Result<(Command, CommandTime), DecodeError> {
    let EncodedCommand { mono_nanos, unix_ms, kind } = EncodedCommand::decode(bytes).map_err(|_| DecodeError)?;
    let command = kind.and_then(Kind::into_command).ok_or(DecodeError)?;
    Ok((command, CommandTime { mono: Duration::from_nanos(mono_nanos), unix_ms }))
}

impl Kind {
    fn of(command: &Command) -> Self {
        match command {
            Command::CreateGroup(create) => Self::CreateGroup(Box::new(EncodedCreate::of(create))),
            Command::LapseAddresses(LapseAddresses { relay }) => Self::LapseAddresses((*relay).into()),
            Command::RegainAddress(RegainAddress { group, endpoint }) => {
                Self::RegainAddress(EncodedRegain { group_id: (*group).into(), endpoint: Some((*endpoint).into()) })
            }
            Command::DeleteGroup(DeleteGroup { group, device }) => {
                Self::DeleteGroup(SubjectAndDevice { subject: (*group).into(), device_id: (*device).into() })
            }
            Command::ResetGroup(reset) => Self::ResetGroup(EncodedReset {
                group_id: reset.group.into(),
                device_id: reset.device.into(),
                log_id: reset.log.0,
                signed: reset.signed.clone(),
                is_lost: reset.is_lost,
            }),
            Command::SetRetention(SetRetention { group, device, keep }) => Self::SetRetention(EncodedRetention {
                group_id: (*group).into(),
                device_id: (*device).into(),
                keep: keep.to_pb(),
            }),
            Command::AddMember(AddMember { group, device, name, from }) => Self::AddMember(EncodedJoin {
                subject: (*group).into(),
                device_id: (*device).into(),
                name: text(name),
                from: text(from),
            }),
            Command::RemoveMember(RemoveMember { group, device }) => {
                Self::RemoveMember(SubjectAndDevice { subject: (*group).into(), device_id: (*device).into() })
            }
            Command::CreateInvite(invite) => Self::CreateInvite(EncodedInvite {
                code_hash: Bytes::copy_from_slice(&invite.code),
                group_id: invite.group.into(),
                inviter_device_id: invite.inviter.into(),
                is_present: invite.is_present,
                uses: invite.uses,
                expires_unix_ms: invite.expires_unix_ms,
            }),
            Command::RevokeInvite(RevokeInvite { code, device }) => Self::RevokeInvite(SubjectAndDevice {
                subject: Bytes::copy_from_slice(code),
                device_id: (*device).into(),
            }),
            Command::RedeemInvite(RedeemInvite { code, device, name, from }) => Self::RedeemInvite(EncodedJoin {
                subject: Bytes::copy_from_slice(code),
                device_id: (*device).into(),
                name: text(name),
                from: text(from),
            }),
            Command::RegisterService(RegisterService { id, record, evicts }) => Self::RegisterService(EncodedService {
                id: (*id).into(),
                record: record.encode(),
                evicts: evicts.map(Bytes::from).unwrap_or_default(),
            }),
            Command::ForgetService(ForgetService { id }) => Self::ForgetService((*id).into()),
            Command::RememberSecret(RememberSecret { service, hash }) => {
                Self::RememberSecret(EncodedSecret { service_id: (*service).into(), hash: hash.clone() })
            }
            Command::ReportLogs(ReportLogs { relay, durable, reports }) => Self::ReportLogs(EncodedReports {
                relay_id: (*relay).into(),
                durable: *durable,
                reports: reports.iter().map(LogReport::to_pb).collect(),
            }),
            Command::ForgetOutdated(ForgetOutdated) => Self::ForgetOutdated(Empty {}),
            Command::SetPolicy(SetPolicy { policy }) => Self::SetPolicy(policy.encoded().clone()),
        }
    }

    fn into_command(self) -> Option<Command> {
        Some(match self {
            Self::CreateGroup(create) => create.into_command()?.into(),
            Self::LapseAddresses(relay) => LapseAddresses { relay: service(&relay)? }.into(),
            Self::RegainAddress(EncodedRegain { group_id, endpoint }) => {
                RegainAddress { group: group(&group_id)?, endpoint: endpoint?.into_endpoint()? }.into()
            }
            Self::DeleteGroup(SubjectAndDevice { subject, device_id }) => {
                DeleteGroup { group: group(&subject)?, device: device(&device_id)? }.into()
            }
            Self::ResetGroup(EncodedReset { group_id, device_id, log_id, signed, is_lost }) => {
                let (group, device) = (group(&group_id)?, device(&device_id)?);
                ResetGroup { group, device, log: LogId(log_id), signed, is_lost }.into()
            }
            Self::SetRetention(EncodedRetention { group_id, device_id, keep }) => {
                SetRetention { group: group(&group_id)?, device: device(&device_id)?, keep: keep.into() }.into()
            }
            Self::AddMember(join) => {
                let (device, name, from) = (device(&join.device_id)?, given(&join.name)?, given(&join.from)?);
                AddMember { group: group(&join.subject)?, device, name, from }.into()
            }
            Self::RemoveMember(SubjectAndDevice { subject, device_id }) => {
                RemoveMember { group: group(&subject)?, device: device(&device_id)? }.into()
            }
            Self::CreateInvite(invite) => CreateInvite {
                code: code(&invite.code_hash)?,
                group: group(&invite.group_id)?,
                inviter: device(&invite.inviter_device_id)?,
                is_present: invite.is_present,
                uses: invite.uses,
                expires_unix_ms: invite.expires_unix_ms,
            }
            .into(),
            Self::RevokeInvite(SubjectAndDevice { subject, device_id }) => {
                RevokeInvite { code: code(&subject)?, device: device(&device_id)? }.into()
            }
            Self::RedeemInvite(join) => {
                let (device, name, from) = (device(&join.device_id)?, given(&join.name)?, given(&join.from)?);
                RedeemInvite { code: code(&join.subject)?, device, name, from }.into()
            }
            Self::RegisterService(EncodedService { id, record, evicts }) => {
                let record = ServiceRecord::decode(&id, &record).ok()?;
                let evicts = if evicts.is_empty() { None } else { Some(service(&evicts)?) };
                RegisterService { id: service(&id)?, record, evicts }.into()
            }
            Self::ForgetService(id) => ForgetService { id: service(&id)? }.into(),
            Self::RememberSecret(EncodedSecret { service_id, hash }) => {
                RememberSecret { service: service(&service_id)?, hash }.into()
            }
            Self::ReportLogs(EncodedReports { relay_id, durable, reports }) => {
                let reports = reports.iter().map(LogReport::from_pb).collect::<Result<_, _>>().ok()?;
                ReportLogs { relay: service(&relay_id)?, durable, reports }.into()
            }
            Self::ForgetOutdated(Empty {}) => ForgetOutdated.into(),
            Self::SetPolicy(encoded) => SetPolicy { policy: SignedPolicy::decode(&encoded).ok()? }.into(),
        })
    }
}

impl EncodedCreate {
    fn of(create: &CreateGroup) -> Self {
        let CreateGroup { spec, group, log, relay, endpoint, limits } = create;
        Self {
            request_id: Bytes::copy_from_slice(&spec.request.0),
            name: spec.name.to_string(),
            scope: pb::Scope::from(spec.scope).into(),
            format: spec.format.into(),
            private: spec.private,
            own_address: spec.address.map(u32::from),
            own_port: spec.port.map(u32::from),
            owner_device_id: spec.owner.into(),
            owner_name: spec.owner_name.clone(),
            reserved: spec.reserved,
            keep: spec.keep.to_pb(),
            made_from: text(&spec.made_from),
            group_id: (*group).into(),
            log_id: log.0,
            relay_id: (*relay).into(),
            endpoint: Some((*endpoint).into()),
            groups_per_address: u64::try_from(limits.per_address).unwrap_or(u64::MAX),
            groups_per_device: u64::try_from(limits.per_device).unwrap_or(u64::MAX),
        }
    }

    fn into_command(self) -> Option<CreateGroup> {
        let spec = CreateSpec {
            request: RequestId(self.request_id[..].try_into().ok()?),
            name: self.name.parse().ok()?,
            scope: crate::group::scope(self.scope())?,
            format: Some(self.format()).filter(|format| *format != pb::Format::Unspecified)?,
            private: self.private,
            address: self.own_address.map(Into::into),
            port: self.own_port.map(u16::try_from).transpose().ok()?,
            owner: device(&self.owner_device_id)?,
            owner_name: self.owner_name,
            reserved: self.reserved,
            keep: self.keep.into(),
            made_from: given(&self.made_from)?,
        };
        Some(CreateGroup {
            spec,
            group: group(&self.group_id)?,
            log: LogId(self.log_id),
            relay: service(&self.relay_id)?,
            endpoint: self.endpoint?.into_endpoint()?,
            limits: GroupLimits {
                per_address: usize::try_from(self.groups_per_address).ok()?,
                per_device: usize::try_from(self.groups_per_device).ok()?,
            },
        })
    }
}

impl From<Endpoint> for EncodedEndpoint {
    fn from(endpoint: Endpoint) -> Self {
        Self { ip: endpoint.ip.into(), port: endpoint.port.into() }
    }
}

impl EncodedEndpoint {
    fn into_endpoint(self) -> Option<Endpoint> {
        Some(Endpoint { ip: self.ip.into(), port: self.port.try_into().ok()? })
    }
}

/// Empty text for `None`.
fn text<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The inverse of [`text`]; `None` if there is a text that is no `T`.
fn given<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

fn group(id: &[u8]) -> Option<GroupId> {
    GroupId::try_from(id).ok()
}

fn device(id: &[u8]) -> Option<DeviceId> {
    DeviceId::try_from(id).ok()
}

fn service(id: &[u8]) -> Option<RelayId> {
    RelayId::try_from(id).ok()
}

fn code(hash: &[u8]) -> Option<CodeHash> {
    hash.try_into().ok()
}
