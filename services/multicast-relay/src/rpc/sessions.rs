//! What hubs report of their sessions, on the stream that they follow by.

use std::sync::atomic::{AtomicU64, Ordering};

use gaung_engine::{Reporter, SessionReport};
use gaung_proto::{ClientId, DeviceId, DisplayName, GroupId, LogId, Seq, limits::MAX_SESSION_REPORTS, pb::relay as pb};

use super::{CallError, Relay};
use crate::{
    directory::Phase,
    worker::{Command, Sessions},
};

/// Tells the streams of reports apart.
#[derive(Debug, Default)]
pub(crate) struct Reporters(AtomicU64);

impl Reporters {
    pub(super) fn next(&self) -> Reporter {
        Reporter(self.0.fetch_add(1, Ordering::Relaxed))
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
        gone: report.gone,
    })
}
