//! What hubs report of their sessions, on the stream that they follow by.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use gaung_engine::{Reporter, SessionReport};
use gaung_proto::{
    ClientId, DeviceId, DisplayName, GroupId, LogId, Seq, body::Cookie, limits::MAX_SESSION_REPORTS, pb::relay as pb,
};

use super::{CallError, Relay};
use crate::{
    directory::Phase,
    worker::{Command, Sessions},
};

/// Tells hubs and the streams of their reports apart.
#[derive(Debug, Default)]
pub(crate) struct Reporters {
    next: AtomicU64,
    hubs: RandomState,
}

/// Numbers of hubs that say who they are have this bit, numbers of streams do not.
const NAMED: u64 = 1 << 63;

impl Reporters {
    /// A new stream.
    pub(super) fn next(&self) -> Reporter {
        let stream = self.next.fetch_add(1, Ordering::Relaxed);
        Reporter { hub: stream, stream }
    }

    /// The same stream of a hub with a key of its own.
    fn of_hub(&self, reporter: Reporter, key: &[u8]) -> Reporter {
        if key.is_empty() { reporter } else { Reporter { hub: self.hubs.hash_one(key) | NAMED, ..reporter } }
    }
}

/// Hands a report to the group's worker; one of a group that is not served now is dropped, for the hub tells all anew
/// when it is.
pub(super) async fn report(
    relay: &Relay,
    group: GroupId,
    reporter: Reporter,
    reports: pb::SessionReports,
) -> Result<(), CallError> {
    if reports.sessions.len() > MAX_SESSION_REPORTS {
        return Err(CallError::BadField("a report has at most 1024 sessions"));
    }
    if !matches!(reports.hub_key.len(), 0 | 16) {
        return Err(CallError::BadField("hub_key has 16 bytes"));
    }
    let reporter = relay.0.reporters.of_hub(reporter, &reports.hub_key);
    let sessions = reports.sessions.iter().map(checked).collect::<Result<_, _>>()?;
    let Some(Phase::Serving(serving)) = relay.0.directory.phase(group) else { return Ok(()) };
    let command = Command::Sessions(Sessions { group, log: LogId(reports.log_id), reporter, sessions });
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
