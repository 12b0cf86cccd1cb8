//! Validates requests: gives checked values, or INVALID_ARGUMENT with the field's name.

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use gaung_proto::{
    ClientId, DeviceId, DisplayName, GroupId, GroupName, GroupRetention, RelayId, Scope,
    pb::registry::{self as pb, get_group_request, join_group_request},
    signing::Method,
};
use gaung_site::{LocalName, Role, ServicePublicKey};
use std::net::{IpAddr, Ipv4Addr};
use tonic::Status;

use crate::{
    address,
    challenge::SignedCall,
    create::CreateSpec,
    enrol::EnrolCall,
    group::RequestId,
    invites::{DEFAULT_EXPIRY_MS, MAX_EXPIRY_MS, MAX_USES},
    lookup::GroupBy,
    members::JoinRequest,
    reports::LogReport,
    status::invalid,
    viewer::Credentials,
};

/// Shortest retention by age. Publishers retry a message for so long, and a duplicate is known by the kept message.
const MIN_KEPT_MS: u64 = 3_600_000;
const MAX_REPORTS: usize = 1000;
/// Most bytes of the proof by which a relay recognises its own reports.
const MAX_PROOF: usize = 64;
const MAX_HOST_CHARS: usize = 253;
/// Most names that a certificate has beside the role.
const MAX_NAMES: usize = 64;
const MAX_VERSION_CHARS: usize = 64;
const MAX_CODE_CHARS: usize = 64;
/// Most bytes of a ticket; an encoded SignedTicket has some 120.
const MAX_TICKET: usize = 512;
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

pub(crate) fn create(request: pb::CreateGroupRequest, from: Option<IpAddr>) -> Result<CreateSpec, Status> {
    let request_id: [u8; 16] =
        request.request_id[..].try_into().map_err(|_| invalid("request_id", "request_id must be 16 random bytes"))?;
    let scope = match request.scope() {
        pb::Scope::Unspecified | pb::Scope::Site => Scope::Site,
        pb::Scope::Organization => Scope::Organization,
    };
    let format = match request.format() {
        pb::Format::Unspecified | pb::Format::Proto => pb::Format::Proto,
        pb::Format::Text => pb::Format::Text,
    };
    known_enum::<pb::Scope>("scope", request.scope)?;
    known_enum::<pb::Format>("format", request.format)?;
    if request.private && format == pb::Format::Text {
        return Err(invalid(
            "private",
            "a group of format text is readable by everyone in the network; leave out --private or --format text",
        ));
    }
    let name: GroupName = request.name.parse().map_err(|e| invalid("name", e))?;
    name.check_new().map_err(|e| invalid("name", e))?;
    Ok(CreateSpec {
        request: RequestId(request_id),
        name,
        scope,
        format,
        private: request.private,
        address: request.address.as_deref().map(own_address).transpose()?,
        port: request.port.map(|port| nonzero_port("port", port)).transpose()?,
        owner: device("owner_public_key", &request.owner_public_key)?,
        owner_name: display_name("owner_name", &request.owner_name)?.map(|name| name.to_string()).unwrap_or_default(),
        reserved: false,
        keep: retention(request.keep)?,
        made_from: from,
    })
}

pub(crate) fn group_by(by: Option<get_group_request::By>) -> Result<GroupBy, Status> {
    match by {
        Some(get_group_request::By::Name(name)) => by_name(&name),
        Some(get_group_request::By::Id(id)) => group_id("id", &id).map(GroupBy::Id),
        None => Err(invalid("by", "give the group's name or id")),
    }
}

/// Validates the caller's credentials; without any the caller is a stranger.
pub(crate) fn viewer(viewer: Option<pb::Viewer>) -> Result<Credentials, Status> {
    let Some(viewer) = viewer else { return Ok(Credentials::default()) };
    let is_given = |bytes: &Bytes| !bytes.is_empty();
    let key = Some(&viewer.device_key).filter(|key| is_given(key));
    let service = Some(&viewer.service_id).filter(|id| is_given(id));
    if viewer.ticket.len() > MAX_TICKET {
        return Err(invalid("viewer.ticket", "this is no ticket"));
    }
    Ok(Credentials {
        device: key.map(|key| device("viewer.device_key", key)).transpose()?,
        relay: service
            .map(|id| Ok::<_, Status>((service_id("viewer.service_id", id)?, secret(&viewer.service_secret)?)))
            .transpose()?,
        ticket: viewer.ticket,
        ..Credentials::default()
    })
}

/// Validates a service's secret, which may be empty.
pub(crate) fn secret(secret: &Bytes) -> Result<Bytes, Status> {
    if secret.is_empty() || SECRET_BYTES.contains(&secret.len()) {
        return Ok(secret.clone());
    }
    Err(invalid("service_secret", "service_secret must be 16 to 64 random bytes, or empty"))
}

pub(crate) fn join(request: pb::JoinGroupRequest, from: Option<IpAddr>) -> Result<JoinRequest, Status> {
    let by = match &request.by {
        Some(join_group_request::By::Name(name)) => by_name(name)?,
        Some(join_group_request::By::Id(id)) => GroupBy::Id(group_id("id", id)?),
        None => return Err(invalid("by", "give the group's name or id")),
    };
    if !["", "multicast", "tcp", "broadcast"].contains(&request.lane.as_str()) {
        return Err(invalid("lane", "lane must be multicast, tcp, broadcast or empty"));
    }
    Ok(JoinRequest {
        by,
        device: device("public_key", &request.public_key)?,
        name: display_name("member_name", &request.member_name)?,
        client: client_id(&request.client_id)?,
        lane: request.lane,
        from,
    })
}

pub(crate) fn signed(
    method: Method,
    group: GroupId,
    subject: String,
    signature: Option<pb::DeviceSignature>,
    from: Option<IpAddr>,
) -> Result<SignedCall, Status> {
    if subject.chars().count() > MAX_CODE_CHARS {
        return Err(invalid("code", "an invite code has 26 characters"));
    }
    let signature = signature.ok_or_else(|| invalid("signature", "the call must be signed by the device's key"))?;
    Ok(SignedCall { method, group, subject, signature, from })
}

/// Validates how much of a log is kept.
pub(crate) fn retention(keep: Option<pb::Retention>) -> Result<GroupRetention, Status> {
    let keep = GroupRetention::from(keep);
    if keep.max_age_ms.is_some_and(|age| age < MIN_KEPT_MS) {
        return Err(invalid(
            "keep.max_age_ms",
            "messages are kept for an hour at least, the time in which publishers repeat them; 0 is no limit",
        ));
    }
    Ok(keep)
}

/// Validates an invite's uses and time to live in ms.
pub(crate) fn invite(uses: u32, expires_ms: u64) -> Result<(u32, u64), Status> {
    if uses > MAX_USES {
        return Err(invalid("uses", format!("at most {MAX_USES} uses; 0 is without limit")));
    }
    if expires_ms > MAX_EXPIRY_MS {
        return Err(invalid("expires_ms", "an invite lasts at most 366 days"));
    }
    Ok((uses, if expires_ms == 0 { DEFAULT_EXPIRY_MS } else { expires_ms }))
}

/// Checks what a service wants certified.
pub(crate) fn enrol(request: pb::EnrolRequest) -> Result<EnrolCall, Status> {
    let id = service_id("service_id", &request.service_id)?;
    let role = match pb::ServiceKind::try_from(request.kind) {
        Ok(pb::ServiceKind::Relay) => Role::Relay(id),
        Ok(pb::ServiceKind::Hub) => Role::Hub(id),
        Ok(pb::ServiceKind::Unspecified) | Err(_) => return Err(invalid("kind", "kind must be relay or hub")),
    };
    let key = ServicePublicKey::from_spki(&request.public_key)
        .map_err(|_| invalid("public_key", "public_key must be a P-256 key, DER of SubjectPublicKeyInfo"))?;
    let mac = match &request.mac[..] {
        [] => None,
        mac => Some(mac.try_into().map_err(|_| invalid("mac", "mac must be 32 bytes, or empty"))?),
    };
    if request.names.len() > MAX_NAMES || request.names.iter().any(|name| name.len() > MAX_HOST_CHARS) {
        return Err(invalid("names", "names must be at most 64 of at most 253 bytes"));
    }
    let name = |name: &String| match name.parse() {
        Ok(ip) => LocalName::address(ip),
        Err(_) => LocalName::host(name),
    };
    // Browsers open a hub's page, and nothing else of the site.
    let is_hub = matches!(role, Role::Hub(_));
    let names = request.names.iter().filter(|_| is_hub).filter_map(name).collect();
    Ok(EnrolCall { role, key, mac, names })
}

pub(crate) fn service(request: pb::RegisterServiceRequest) -> Result<(RelayId, pb::ServiceInfo), Status> {
    known_enum::<pb::ServiceKind>("kind", request.kind)?;
    if request.kind() == pb::ServiceKind::Unspecified {
        return Err(invalid("kind", "kind must be relay or hub"));
    }
    let id = service_id("service_id", &request.service_id)?;
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if request.advertise.len() > MAX_HOST_CHARS || !request.advertise.chars().all(is_host_char) {
        return Err(invalid("advertise", "advertise must be a host name or an address without a port, or empty"));
    }
    if request.version.chars().count() > MAX_VERSION_CHARS || request.version.chars().any(char::is_control) {
        return Err(invalid("version", "version must be at most 64 characters"));
    }
    nonzero_port("grpc_port", request.grpc_port)?;
    let others = [request.udp_port, request.tcp_port, request.text_port, request.web_port];
    if others.iter().any(|port| u16::try_from(*port).is_err()) {
        return Err(invalid("udp_port", "ports go up to 65535"));
    }
    let info = pb::ServiceInfo {
        kind: request.kind,
        service_id: request.service_id,
        advertise: request.advertise,
        grpc_port: request.grpc_port,
        udp_port: request.udp_port,
        tcp_port: request.tcp_port,
        text_port: request.text_port,
        web_port: request.web_port,
        durable: request.durable,
        version: request.version,
        alive: false,
    };
    Ok((id, info))
}

pub(crate) fn reports(request: pb::ReportGroupsRequest) -> Result<(RelayId, Vec<LogReport>), Status> {
    if request.reports.len() > MAX_REPORTS {
        return Err(invalid("reports", format!("at most {MAX_REPORTS} reports a call")));
    }
    let one = |report: &pb::GroupReport| {
        if report.proof.len() > MAX_PROOF {
            return Err(invalid("reports.proof", format!("a proof has at most {MAX_PROOF} bytes")));
        }
        LogReport::from_pb(report).map_err(|e| invalid("reports.group_id", e))
    };
    let reports: Result<_, Status> = request.reports.iter().map(one).collect();
    Ok((service_id("relay_id", &request.relay_id)?, reports?))
}

pub(crate) fn group_id(field: &'static str, id: &[u8]) -> Result<GroupId, Status> {
    GroupId::try_from(id).map_err(|e| invalid(field, e))
}

pub(crate) fn service_id(field: &'static str, id: &[u8]) -> Result<RelayId, Status> {
    RelayId::try_from(id)
        .ok()
        .filter(|id| !id.is_none())
        .ok_or_else(|| invalid(field, "a service id must be 16 random bytes"))
}

pub(crate) fn client_id(id: &[u8]) -> Result<Option<ClientId>, Status> {
    if id.is_empty() { Ok(None) } else { ClientId::try_from(id).map(Some).map_err(|e| invalid("client_id", e)) }
}

/// Validates a public key and returns its device.
pub(crate) fn device(field: &'static str, public_key: &[u8]) -> Result<DeviceId, Status> {
    let key: Option<&[u8; 32]> = public_key.try_into().ok();
    let key = key.filter(|key| VerifyingKey::from_bytes(key).is_ok());
    key.map(DeviceId::of_public_key).ok_or_else(|| invalid(field, "the key must be an Ed25519 public key of 32 bytes"))
}

pub(crate) fn display_name(field: &'static str, name: &str) -> Result<Option<DisplayName>, Status> {
    if name.is_empty() { Ok(None) } else { name.parse().map(Some).map_err(|e| invalid(field, e)) }
}

fn by_name(name: &str) -> Result<GroupBy, Status> {
    name.parse().map(GroupBy::Name).map_err(|e| invalid("name", e))
}

fn own_address(text: &str) -> Result<Ipv4Addr, Status> {
    let wrong = || invalid("address", format!("{text:?} is not an IPv4 address; write it like 239.255.10.1"));
    let ip = text.parse().map_err(|_| wrong())?;
    address::check(ip).map_err(|refusal| invalid("address", refusal))?;
    Ok(ip)
}

fn nonzero_port(field: &'static str, port: u32) -> Result<u16, Status> {
    u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(|| invalid(field, "a port goes from 1 to 65535"))
}

fn known_enum<E: TryFrom<i32>>(field: &'static str, value: i32) -> Result<(), Status> {
    E::try_from(value).map(drop).map_err(|_| invalid(field, format!("{field} {value} is not known to this version")))
}
