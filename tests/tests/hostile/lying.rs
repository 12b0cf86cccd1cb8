//! Reports that are not true.

use gaung_proto::pb::{
    registry::{GroupReport, ReportGroupsRequest},
    relay::{FollowGroup, FollowRequest, SessionReport, SessionReports, follow_request::Change},
};
use gaung_tests::hostile::GROUP;
use tokio_stream::StreamExt as _;

use crate::suffer;

#[test]
fn a_made_up_head_closes_no_group() {
    suffer("a_made_up_head_closes_no_group", |attacker| {
        attacker.run(async || {
            let group = attacker.group(GROUP).await;
            let mut registry = attacker.registry();
            let report = GroupReport {
                group_id: group.id.clone(),
                log_id: group.log_id,
                head_seq: 1_000_000_000,
                ..Default::default()
            };
            let another = GroupReport { log_id: group.log_id ^ 1, ..report.clone() };
            while attacker.goes_on() {
                for report in [&report, &another] {
                    let request = ReportGroupsRequest {
                        relay_id: group.relay_id.clone(),
                        reports: vec![report.clone()],
                        ..Default::default()
                    };
                    let _ = registry.report_groups(request).await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        });
    });
}

#[test]
fn made_up_sessions_fill_no_table() {
    suffer("made_up_sessions_fill_no_table", |attacker| {
        attacker.run(async || {
            let group = attacker.group(GROUP).await;
            let add = FollowGroup { group_id: group.id.clone(), ..Default::default() };
            let sessions = |_| {
                let session = |_| SessionReport {
                    client_id: rand::random::<[u8; 16]>().to_vec().into(),
                    silent: true,
                    ..Default::default()
                };
                let sessions = (0..1024).map(session).collect();
                let reports =
                    SessionReports { group_id: group.id.clone(), log_id: group.log_id, sessions, ..Default::default() };
                FollowRequest { change: Some(Change::Sessions(reports)) }
            };
            let requests: Vec<_> =
                [FollowRequest { change: Some(Change::Add(add)) }].into_iter().chain((0..16).map(sessions)).collect();
            let follow =
                attacker.relay(1 << 20).follow(tokio_stream::iter(requests).chain(tokio_stream::pending())).await;
            attacker.hold().await;
            drop(follow);
        });
    });
}
