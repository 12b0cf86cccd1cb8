//! Calls that change something, beside making groups.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{
    ClientId, DeviceId, DisplayName, GroupId, GroupRetention, LogId, RelayId,
    pb::registry as pb,
    policy::SignedPolicy,
    signing::{issue_ticket, verify_call},
};
use prost::Message as _;
use service_kit::share::TooSoon;
use tracing::info;

use super::{Registry, Writer};
use crate::{
    challenge::{CallError, CallOutcome, SignedCall},
    clock::Now,
    group::Group,
    invites::{self, CreateInvite, InviteError, RedeemInvite, RevokeInvite},
    limits,
    lookup::{GroupBy, LookupError},
    members::{AddMember, AddedMember, JoinError, JoinGrant, JoinRequest, RemoveMember, fallback_name},
    owner::{DeleteGroup, OwnerError, ResetGroup, SetRetention},
    policies::{SetPolicy, SetPolicyError},
    presence::{PRESENCE_LEASE, Presence},
    records::ServiceRecord,
    reports::{LogReport, ReportError, ReportLogs},
    services::{RegisterError, RegisterService, RememberSecret},
    store::StoreError,
    viewer,
};

/// How long a ticket outlasts the presence, because clocks differ in a LAN without internet.
const TICKET_SLACK: Duration = Duration::from_secs(5 * 60);

impl Registry {
    /// Counts one CreateGroup of `from`, retries included; `None` is this process.
    ///
    /// # Errors
    /// [`TooSoon`], and the call is not counted.
    pub fn charge_create(&self, now: Instant, from: Option<IpAddr>) -> Result<(), TooSoon> {
        limits::take(&self.limits.creates, from, now)
    }

    /// Counts one CreateInvite of `from`.
    ///
    /// # Errors
    /// [`TooSoon`], and the call is not counted.
    pub fn charge_invite(&self, now: Instant, from: Option<IpAddr>) -> Result<(), TooSoon> {
        limits::take(&self.limits.invites, from, now)
    }

    /// Issues a nonce for one signed call.
    #[must_use]
    pub fn challenge(&self, now: Instant) -> Bytes {
        self.challenges.issue(now)
    }

    /// Deletes the group: its name is free at once, its id never again, its address after the quarantine.
    ///
    /// # Errors
    /// [`OwnerError`], each case.
    pub fn delete_group(&self, now: Now, call: &SignedCall) -> Result<(), OwnerError> {
        self.signed(now, call, |writer, device| {
            self.commit(writer, now, DeleteGroup { group: call.group, device })?;
            self.presences.forget_group(call.group);
            info!(group = %call.group, "group deleted");
            Ok::<_, OwnerError>(CallOutcome::Done)
        })
        .map(drop)
    }

    /// Resets the group's log: it gets a new id and has no recorded head.
    ///
    /// # Errors
    /// [`OwnerError`], each case.
    pub fn reset_group(&self, now: Now, call: &SignedCall) -> Result<Group, OwnerError> {
        let outcome = self.signed(now, call, |writer, device| {
            let reset = ResetGroup {
                group: call.group,
                device,
                log: LogId(rand::random()),
                signed: call.signature.encode_to_vec().into(),
                is_lost: self.lost.has(call.group, now.mono),
            };
            let group = self.commit(writer, now, reset)?;
            self.lost.forget(group.id);
            info!(group = %group.id, log = %group.log, "group reset");
            Ok::<_, OwnerError>(CallOutcome::Group(group))
        })?;
        Ok(self.group_of(outcome, call.group)?)
    }

    /// Sets how much of the log is kept.
    ///
    /// # Errors
    /// [`OwnerError`], each case.
    pub fn set_retention(&self, now: Now, call: &SignedCall, keep: GroupRetention) -> Result<Group, OwnerError> {
        let outcome = self.signed(now, call, |writer, device| {
            let group = self.commit(writer, now, SetRetention { group: call.group, device, keep })?;
            info!(group = %group.id, ?keep, "retention changed");
            Ok::<_, OwnerError>(CallOutcome::Group(group))
        })?;
        Ok(self.group_of(outcome, call.group)?)
    }

    /// Sets the next version of a group's policy, and removes whom it bans or kicks.
    ///
    /// # Errors
    /// [`SetPolicyError`], each case.
    pub fn set_policy(&self, now: Now, encoded: &Bytes, from: Option<IpAddr>) -> Result<Group, SetPolicyError> {
        // The rate is checked before the signature, which costs more to verify than to forge.
        limits::take(&self.limits.signed, from, now.mono)?;
        let policy = SignedPolicy::decode(encoded)?;
        let (group, removed) = self.commit(&mut self.writer(), now, SetPolicy { policy })?;
        removed.iter().for_each(|device| self.presences.end_device(group.id, *device));
        info!(group = %group.id, version = group.policy_version(), removed = removed.len(), "policy changed");
        Ok(Group::clone(&group))
    }

    /// Makes the device a lasting member, or begins or renews a presence.
    ///
    /// # Errors
    /// [`JoinError`], each case.
    pub fn join(&self, now: Now, join: &JoinRequest) -> Result<JoinGrant, JoinError> {
        let group = self.group(&join.by)?;
        if group.private && !self.tables().is_member(&group, join.device) {
            return Err(JoinError::private(&join.by));
        }
        group.check_member(join.device)?;
        match join.client {
            None => {
                let JoinRequest { device, ref name, from, .. } = *join;
                let add = AddMember { group: group.id, device, name: name.clone(), from };
                self.commit_if(&mut self.writer(), now, add, |added| self.charge_join(*added, from, now))?;
            }
            Some(client) => self.be_present(now, &group, join, client)?,
        }
        let valid = PRESENCE_LEASE + TICKET_SLACK;
        let valid_ms = i64::try_from(valid.as_millis()).unwrap_or(i64::MAX);
        Ok(JoinGrant {
            ticket: issue_ticket(&self.signing, group.id, join.device, now.unix_ms + valid_ms, group.policy_version()),
            relays: self.services.relay(group.relay, now).into_iter().collect(),
            hubs: self.services.hubs(now),
            group,
        })
    }

    /// Ends a presence, or the lasting membership if `client` is `None`.
    ///
    /// # Errors
    /// [`LookupError`], each case.
    pub fn leave(&self, now: Now, id: GroupId, device: DeviceId, client: Option<ClientId>) -> Result<(), LookupError> {
        let Some(client) = client else {
            return self.commit(&mut self.writer(), now, RemoveMember { group: id, device });
        };
        self.tables().live(id)?;
        self.presences.end(id, device, client);
        Ok(())
    }

    /// Makes an invite. Returns its code, which is not stored, and when it expires, in Unix time in ms.
    ///
    /// `uses`: 0 to [`invites::MAX_USES`], 0 for no limit; `expires_ms`: 1 to [`invites::MAX_EXPIRY_MS`].
    ///
    /// # Errors
    /// [`InviteError::Lookup`] or [`InviteError::NotMember`].
    pub fn create_invite(
        &self,
        now: Now,
        group: GroupId,
        inviter: DeviceId,
        uses: u32,
        expires_ms: u64,
    ) -> Result<(String, i64), InviteError> {
        let text = invites::new_code();
        let expires_unix_ms = now.unix_ms.saturating_add(i64::try_from(expires_ms).unwrap_or(i64::MAX));
        let is_present = self.presences.of(group, now.mono).iter().any(|(device, ..)| *device == inviter);
        let code = invites::hash(&text);
        let create = CreateInvite { code, group, inviter, is_present, uses, expires_unix_ms };
        self.commit(&mut self.writer(), now, create)?;
        Ok((text, expires_unix_ms))
    }

    /// Revokes an invite. The call's subject is the code.
    ///
    /// # Errors
    /// [`InviteError`]: the call, an unknown code, or somebody else's.
    pub fn revoke_invite(&self, now: Now, call: &SignedCall) -> Result<(), InviteError> {
        self.signed(now, call, |writer, device| {
            self.commit(writer, now, RevokeInvite { code: invites::hash(&call.subject), device })?;
            Ok::<_, InviteError>(CallOutcome::Done)
        })
        .map(drop)
    }

    /// Makes the device that signed a member of the invite's group. The call's subject is the code.
    ///
    /// # Errors
    /// [`InviteError`], each case.
    pub fn redeem_invite(&self, now: Now, call: &SignedCall, name: Option<&DisplayName>) -> Result<Group, InviteError> {
        let outcome = self.signed(now, call, |writer, device| {
            let (code, name, from) = (invites::hash(&call.subject), name.cloned(), call.from);
            let failures = &self.limits.redeem_failures;
            failures.check(device, from, now.mono).map_err(InviteError::TooManyFailures)?;
            let redeem = RedeemInvite { code, device, name, from };
            let admit = |(_, added): &(_, AddedMember)| Ok(self.charge_join(*added, from, now)?);
            let (group, _) = self.commit_if(writer, now, redeem, admit).inspect_err(|error| {
                if error.is_bad_code() {
                    failures.count(device, from, now.mono);
                }
            })?;
            Ok::<_, InviteError>(CallOutcome::Group(group))
        })?;
        match outcome {
            CallOutcome::Group(group) => Ok(Group::clone(&group)),
            CallOutcome::Done => Err(InviteError::Unknown),
        }
    }

    /// Registers a service that proves nothing or renews its lease. While the service lives, its record cannot be replaced from
    /// another address. `from`: the caller's address; `None` for this process.
    ///
    /// # Errors
    /// [`RegisterError`], each case.
    pub fn register_service(
        &self,
        now: Now,
        id: RelayId,
        info: pb::ServiceInfo,
        from: Option<IpAddr>,
    ) -> Result<(), RegisterError> {
        self.services.charge_call(from, now)?;
        self.services.admit(now, id, from)?;
        self.replace_service(now, id, info, from)
    }

    /// Registers a service that has proven its role and id, from whatever address, or renews its lease.
    ///
    /// # Errors
    /// [`RegisterError`], each case.
    pub fn register_proven_service(
        &self,
        now: Now,
        id: RelayId,
        info: pb::ServiceInfo,
        from: Option<IpAddr>,
    ) -> Result<(), RegisterError> {
        self.services.charge_call(from, now)?;
        self.replace_service(now, id, info, from)
    }

    /// Renews the lease of a service, and with it the leases of its groups' addresses. Only a change of its record is written.
    fn replace_service(
        &self,
        now: Now,
        id: RelayId,
        info: pb::ServiceInfo,
        from: Option<IpAddr>,
    ) -> Result<(), RegisterError> {
        let record = ServiceRecord { info, from };
        if !self.services.is_known_as(id, &record) {
            let mut writer = self.writer();
            let evicts = if self.services.knows(id) {
                None
            } else {
                self.services.choose_eviction(now, from, &self.tables().catalogue.load())?
            };
            self.services.charge_change(from, now)?;
            self.commit(&mut writer, now, RegisterService { id, record: record.clone(), evicts })?;
            if let Some(evicted) = evicts {
                self.services.forget(evicted);
                self.leases.forget(evicted);
            }
            info!(service = %id, kind = ?record.info.kind(), "service registered");
        }
        self.leases.renew(id, now.mono);
        self.services.register(id, record, now);
        Ok(())
    }

    /// Stores the first secret that comes for a service. A later one changes nothing, for anybody can send one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remember_secret(&self, now: Now, service: RelayId, secret: &Bytes) -> Result<(), StoreError> {
        if secret.is_empty() || self.tables().catalogue.secret(service).is_some() {
            return Ok(());
        }
        self.commit(&mut self.writer(), now, RememberSecret { service, hash: viewer::hash(secret) })
    }

    /// Takes the reports of a relay, from the address that it registered from (`None`: this process, or the relay has proven its
    /// role). Returns the groups whose record contradicts its report.
    ///
    /// # Errors
    /// [`ReportError`], each case.
    pub fn report(
        &self,
        now: Now,
        relay: RelayId,
        reports: &[LogReport],
        from: Option<IpAddr>,
    ) -> Result<Vec<pb::GroupRefusal>, ReportError> {
        let durable = self.services.reporting_relay(relay, from)?;
        {
            let tables = self.tables();
            let is_own = |report: &&LogReport| tables.live(report.group).is_ok_and(|group| group.relay == relay);
            reports.iter().filter(is_own).for_each(|report| self.lost.note(report, now.mono));
        }
        self.commit(&mut self.writer(), now, ReportLogs { relay, durable, reports: reports.to_vec() })
    }

    /// Checks that `device` has signed the call, whose nonce is used up by that.
    ///
    /// # Errors
    /// [`CallError`], each case.
    pub fn verify_device(&self, now: Now, call: &SignedCall, device: DeviceId) -> Result<(), CallError> {
        let mut is_first = false;
        self.signed(now, call, |_, signer| {
            is_first = true;
            if signer == device { Ok(CallOutcome::Done) } else { Err(CallError::OtherDevice) }
        })?;
        // Who repeats a call with its signature may not be the device: a hub has seen it too.
        if is_first { Ok(()) } else { Err(CallError::NonceUsed) }
    }

    /// Verifies the signature and the nonce, then runs the call for the device that signed it. A retry of the same signed
    /// call gets the outcome of the first, or runs again if the first failed.
    fn signed<E: From<CallError>>(
        &self,
        now: Now,
        call: &SignedCall,
        run: impl FnOnce(&mut Writer, DeviceId) -> Result<CallOutcome, E>,
    ) -> Result<CallOutcome, E> {
        // The rate is checked before the signature, which costs more to verify than to forge.
        limits::take(&self.limits.signed, call.from, now.mono).map_err(CallError::TooSoon)?;
        let device =
            verify_call(&call.signature, call.method, call.group, &call.subject).map_err(CallError::Signature)?;
        let (nonce, signature) = (&call.signature.nonce, &call.signature.signature);
        // Held from the check of the nonce on, so that a retry that comes meanwhile waits for the outcome.
        let mut writer = self.writer();
        if let Some(outcome) = self.challenges.begin(now.mono, nonce, signature)? {
            return Ok(outcome);
        }
        let outcome = run(&mut writer, device)?;
        self.challenges.finish(now.mono, nonce, signature, &outcome);
        Ok(outcome)
    }

    fn group_of(&self, outcome: CallOutcome, id: GroupId) -> Result<Group, LookupError> {
        match outcome {
            CallOutcome::Group(group) => Ok(Group::clone(&group)),
            CallOutcome::Done => self.group(&GroupBy::Id(id)),
        }
    }

    fn be_present(&self, now: Now, group: &Group, join: &JoinRequest, client: ClientId) -> Result<(), JoinError> {
        let name = join.name.as_ref().map_or_else(|| fallback_name(join.device), ToString::to_string);
        let presence = Presence { name, lane: join.lane.clone(), since_unix_ms: now.unix_ms, renewed: now.mono };
        let key = (group.id, join.device, client);
        if self.presences.renew(key, &presence) {
            return Ok(());
        }
        limits::take(&self.limits.joins, join.from, now.mono)?;
        let begun = self.presences.begin(key, presence, limits::origin(join.from));
        begun.map_err(|_| JoinError::Full("too many clients are present; try again in a moment"))
    }

    fn charge_join(&self, added: AddedMember, from: Option<IpAddr>, now: Now) -> Result<(), JoinError> {
        match added {
            AddedMember::Existing => Ok(()),
            AddedMember::New => Ok(limits::take(&self.limits.joins, from, now.mono)?),
        }
    }
}
