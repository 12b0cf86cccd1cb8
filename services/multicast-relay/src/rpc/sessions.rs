//! Hubs' reports of their sessions, which come on the Follow stream.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use gaung_engine::{ReportingHub, SessionReport};
use gaung_proto::{
    ClientId, DeviceId, DisplayName, GroupId, LogId, Seq, body::Cookie, limits::MAX_SESSION_REPORTS, pb::relay as pb,
};

use service_kit::share::{Caller, Share, SharePool};

use super::{CallError, RelayCalls};
use crate::{
    directory::GroupPhase,
    worker::{SessionsReport, WorkerCommand},
};

/// Most reported sessions of all callers, counted once in each group; each takes some 300 bytes. A hub has 20 000 sessions.
const MAX_SESSIONS: u64 = 256 * 1024;
/// Most reported sessions of one caller.
const MAX_SESSIONS_EACH: u64 = 128 * 1024;
/// Sessions by which a stream's share grows at a time.
const STEP: u64 = 1024;

/// Numbers hubs and the streams of their reports, and limits the sessions that they report.
#[derive(Debug)]
pub(crate) struct Reporters {
    next: AtomicU64,
    hubs: RandomState,
    sessions: SharePool<Caller>,
}

/// The sessions that one stream reports, and their share of all reported sessions. Anybody can claim to be a hub, so only as
/// many become members as the share has room for.
#[derive(Debug, Default)]
pub(super) struct ReportedSessions {
    by_group: HashMap<GroupId, HashSet<(ClientId, u64)>>,
    count: u64,
    share: Option<Share<Caller>>,
}

/// Set in the numbers of hubs that sent a key, so that they never equal the number of a stream.
const NAMED: u64 = 1 << 63;

impl Default for Reporters {
    fn default() -> Self {
        let sessions = SharePool::new(MAX_SESSIONS, MAX_SESSIONS_EACH);
        Self { next: AtomicU64::default(), hubs: RandomState::default(), sessions }
    }
}

impl Reporters {
    /// Returns the reporter of a new stream.
    pub(super) fn next(&self) -> ReportingHub {
        let stream = self.next.fetch_add(1, Ordering::Relaxed);
        ReportingHub { hub: stream, stream }
    }

    /// Returns the reporter of the same stream for a hub that identified itself by `key`.
    fn of_hub(&self, reporter: ReportingHub, key: &[u8]) -> ReportingHub {
        if key.is_empty() { reporter } else { ReportingHub { hub: self.hubs.hash_one(key) | NAMED, ..reporter } }
    }
}

impl ReportedSessions {
    /// Notes a reported session; returns false if the share has no room for it.
    fn note(&mut self, pool: &SharePool<Caller>, caller: Caller, group: GroupId, session: &SessionReport) -> bool {
        let of_group = self.by_group.entry(group).or_default();
        let key = (session.member.into(), session.owner);
        if session.gone {
            self.count -= u64::from(of_group.remove(&key));
            return true;
        }
        if of_group.contains(&key) {
            return true;
        }
        if self.count.is_multiple_of(STEP) && !grow(&mut self.share, pool, caller, self.count + STEP) {
            return false;
        }
        self.count += u64::from(of_group.insert(key));
        true
    }

    /// Forgets the sessions of a group that the stream no longer follows.
    pub(super) fn forget(&mut self, group: GroupId) {
        self.count -= self.by_group.remove(&group).map_or(0, |sessions| sessions.len() as u64);
    }

    /// Whether the share was evicted for a caller with fewer sessions. Reports are not renewed from then on.
    fn is_evicted(&self) -> bool {
        self.share.as_ref().is_some_and(Share::is_evicted)
    }
}

fn grow(share: &mut Option<Share<Caller>>, pool: &SharePool<Caller>, caller: Caller, wanted: u64) -> bool {
    match share {
        Some(share) => share.resize(wanted).is_ok(),
        None => {
            *share = pool.take(caller, wanted).ok();
            share.is_some()
        }
    }
}

/// Hands a report to the group's worker. A report of a group that is not served now is dropped, because the hub reports all
/// sessions again once it is.
pub(super) async fn report(
    relay: &RelayCalls,
    (caller, reported): (Caller, &mut ReportedSessions),
    group: GroupId,
    reporter: ReportingHub,
    reports: pb::SessionReports,
) -> Result<(), CallError> {
    if reports.sessions.len() > MAX_SESSION_REPORTS {
        return Err(CallError::BadField("a report has at most 1024 sessions"));
    }
    if !matches!(reports.hub_key.len(), 0 | 16) {
        return Err(CallError::BadField("hub_key has 16 bytes"));
    }
    let reporter = relay.0.reporters.of_hub(reporter, &reports.hub_key);
    let mut sessions = reports.sessions.iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    if reported.is_evicted() {
        return Ok(());
    }
    sessions.retain(|session| reported.note(&relay.0.reporters.sessions, caller, group, session));
    let Some(GroupPhase::Serving(serving)) = relay.0.directory.phase(group) else { return Ok(()) };
    let command = WorkerCommand::Sessions(SessionsReport { group, log: LogId(reports.log_id), reporter, sessions });
    serving.worker.send_wait(command).await.map_err(|_| CallError::Stopping)
}

fn checked(report: &pb::SessionReport) -> Result<SessionReport, CallError> {
    let device = if report.device_id.is_empty() { DeviceId::NONE } else { DeviceId::try_from(&report.device_id[..])? };
    let name: Option<DisplayName> = if report.silent { report.name.parse().ok() } else { None };
    Ok(SessionReport {
        member: ClientId::try_from(&report.client_id[..])?.into(),
        device,
        name: name.map_or_else(String::new, |name| name.as_str().to_owned()),
        delivered: (!report.silent).then_some(Seq(report.delivered_seq)),
        owner: report.owner,
        cookie: Cookie(report.cookie),
        gone: report.gone,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::IpAddr;

    use super::*;

    fn session(number: u64, gone: bool) -> SessionReport {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        let member = ClientId(id).into();
        let (device, name, cookie) = (DeviceId::NONE, String::new(), Cookie(0));
        SessionReport { member, device, name, delivered: None, owner: 0, cookie, gone }
    }

    fn caller(last: u8) -> Caller {
        Caller::Remote(IpAddr::from([10, 0, 0, last]).into())
    }

    #[test]
    fn a_caller_makes_up_no_more_sessions_than_its_share() {
        let pool = SharePool::new(4 * STEP, 3 * STEP);
        let mut eve = ReportedSessions::default();
        let groups = [1, 2].map(|group| GroupId([group; 16]));
        let report = |from: u8, of: &mut ReportedSessions, group, number, gone| {
            of.note(&pool, caller(from), group, &session(number, gone))
        };
        let taken = (0..2 * STEP).flat_map(|number| groups.map(|group| report(1, &mut eve, group, number, false)));
        assert_eq!(taken.filter(|taken| *taken).count() as u64, 3 * STEP, "in all groups together");
        assert!(report(1, &mut eve, groups[0], 0, false), "a known one is told on");
        assert!(report(1, &mut eve, groups[0], 1, true) && report(1, &mut eve, groups[1], 5 * STEP, false));
        let mut hub = ReportedSessions::default();
        let taken = (0..2 * STEP).all(|number| report(2, &mut hub, groups[0], number, false));
        assert!(taken && eve.is_evicted() && !hub.is_evicted(), "who has fewer gets room");
        hub.forget(groups[0]);
        assert_eq!(hub.count, 0);
    }
}
