//! The lists that cover the conversation, and what fills them.

use gaung_client::{LogStatus, MemberLane, ServerStatus, ServiceInfo, ServiceKind};
use gaung_terminal::sanitise::{one_line, one_line_bytes};

use crate::{
    incoming::IncomingMessage,
    model::{
        context::ChatContext,
        overlay::{List, ListRow},
        roster::Roster,
    },
    people::{member_name, sorted_members},
    ui_text::{Lang, UiText, day_name},
};

impl List {
    /// Makes an empty list whose rows are requested under this number.
    pub(super) const fn requested(title: String, number: u64) -> Self {
        Self { title, rows: Vec::new(), at: 0, busy: true, number: Some(number) }
    }

    /// Makes the list of a group's members, those who are present first.
    pub(super) fn of_members(title: String, roster: &Roster, lang: Lang) -> Self {
        let members = sorted_members(&roster.members).into_iter().map(|member| {
            let dot = if member.present { "●" } else { "○" };
            format!("{dot} {}  {}", member_name(member), member.lane)
        });
        let lane = lang.text(UiText::LaneText);
        let texts = roster.text_sessions.iter().map(|name| format!("● {name}  {lane}"));
        let rows = members.chain(texts).map(ListRow::text).collect();
        Self { title, rows, at: 0, busy: false, number: None }
    }

    /// Adds messages that a search found; `end`: whether the search is over, and why it failed if it did.
    pub(super) fn add_found(
        &mut self,
        messages: &[IncomingMessage],
        end: Option<Result<(), String>>,
        context: &mut ChatContext,
    ) {
        let (lang, zone) = (context.lang, context.zone);
        self.rows.extend(messages.iter().filter_map(|message| {
            let body = message.kind.text_body()?;
            let when = format!("{} {}", day_name(lang, zone, message.at_us), zone.clock(message.at_us));
            let text = format!("{when}  {}: {}", message.name, one_line_bytes(&body));
            Some(ListRow { text, seq: Some(message.seq) })
        }));
        self.busy = end.is_none();
        if let Some(Err(why)) = end {
            context.warn(UiText::CannotRead, &[("why", &why)]);
        }
        context.touch();
    }

    /// Fills the list with the state of the services and of a group's log; `roster`: the group's, for names.
    pub(super) fn set_status(
        &mut self,
        server: Result<ServerStatus, String>,
        log: Result<LogStatus, String>,
        roster: Option<&Roster>,
        context: &mut ChatContext,
    ) {
        let mut rows = server.map_or_else(|why| vec![why], |server| service_rows(&server, context.lang));
        rows.extend(log.map_or_else(|why| vec![why], |log| log_rows(&log, roster, context.lang)));
        self.rows = rows.into_iter().map(ListRow::text).collect();
        self.busy = false;
        context.touch();
    }
}

fn service_rows(server: &ServerStatus, lang: Lang) -> Vec<String> {
    let row = |service: &ServiceInfo| {
        let kind = match service.kind {
            ServiceKind::Relay => UiText::Relay,
            ServiceKind::Hub => UiText::Hub,
        };
        let state = lang.text(if service.alive { UiText::Alive } else { UiText::Away });
        format!("{} {}:{}  {state}", lang.text(kind), one_line(&service.host), service.grpc_port)
    };
    server.services.iter().map(row).collect()
}

fn log_rows(log: &LogStatus, roster: Option<&Roster>, lang: Lang) -> Vec<String> {
    let durable = lang.text(if log.durable { UiText::OnDisk } else { UiText::InMemory });
    let values = [("oldest", &*log.oldest.to_string()), ("head", &*log.head.to_string()), ("durable", durable)];
    let mut rows = vec![lang.fill(UiText::LogRange, &values), String::new()];
    rows.extend(log.members.iter().map(|member| {
        let known = roster.and_then(|roster| roster.members.iter().find(|known| known.device == member.device));
        let name = known.map(member_name).unwrap_or_else(|| match member.name.as_str() {
            "" => member.device.to_string()[..8].to_owned(),
            name => one_line(name).into_owned(),
        });
        let lane = member.lane.map_or("?", MemberLane::as_str);
        let behind = log.head.0.saturating_sub(member.delivered.0);
        let (lost, repaired) = (member.lost_datagrams.to_string(), member.repaired_datagrams.to_string());
        let values = [
            ("name", &*name),
            ("lane", lane),
            ("behind", &*behind.to_string()),
            ("lost", &*lost),
            ("repaired", &*repaired),
        ];
        lang.fill(UiText::MemberStatus, &values)
    }));
    rows
}
