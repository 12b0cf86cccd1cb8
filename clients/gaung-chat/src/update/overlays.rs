//! Keys while something lies over the conversation, and what fills it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gaung_client::{LogStatus, ServerStatus, ServiceKind};

use crate::{
    incoming::IncomingMessage,
    model::{
        Model,
        overlay::{List, ListRow, Overlay},
    },
    rows::{arranged, overlay::rows_of},
    words::{Word, day_name},
};
use gaung_proto::Kind;
use gaung_terminal::sanitise::one_line;

impl Model {
    /// True if the key is used up; a key that means nothing here closes it and is typed.
    pub(super) fn overlay_key(&mut self, key: KeyEvent) -> bool {
        let page = self.talk_height().saturating_sub(2).max(1);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let rows = match &self.overlay {
            Some(Overlay::List(list)) => list.rows.len(),
            Some(shown) => rows_of(self, shown),
            None => 0,
        };
        let choice = matches!(&self.overlay, Some(Overlay::List(list)) if list.is_choice());
        // Its frame takes two of the rows above the status line.
        let seen = usize::from(arranged(self).status.y).saturating_sub(2);
        let chosen = match &mut self.overlay {
            Some(Overlay::Help { top } | Overlay::Info { top, .. }) => Some(top),
            Some(Overlay::List(list)) => Some(&mut list.at),
            None => None,
        };
        let last = if choice { rows.saturating_sub(1) } else { rows.saturating_sub(seen) };
        match (key.code, chosen) {
            (KeyCode::Up, Some(at)) => *at = at.saturating_sub(1),
            (KeyCode::Char('p'), Some(at)) if control => *at = at.saturating_sub(1),
            (KeyCode::Down, Some(at)) => *at = (*at + 1).min(last),
            (KeyCode::Char('n'), Some(at)) if control => *at = (*at + 1).min(last),
            (KeyCode::PageUp, Some(at)) => *at = at.saturating_sub(page),
            (KeyCode::PageDown | KeyCode::Char(' '), Some(at)) => *at = (*at + page).min(last),
            (KeyCode::Home, Some(at)) => *at = 0,
            (KeyCode::End, Some(at)) => *at = last,
            (KeyCode::Enter, _) => self.choose(),
            (KeyCode::Esc | KeyCode::Char('q'), _) => self.overlay = None,
            (KeyCode::Char('c'), _) if control => self.overlay = None,
            // On the help it was meant to be typed.
            (KeyCode::Char('?'), _) => {
                self.overlay = None;
                self.type_text("?");
            }
            _ => {
                self.overlay = None;
                return !matches!(key.code, KeyCode::Char(_)) || control;
            }
        }
        true
    }

    fn choose(&mut self) {
        let Some(Overlay::List(list)) = self.overlay.take() else { return };
        if let Some(seq) = list.rows.get(list.at).and_then(|row| row.seq) {
            self.jump(seq);
        }
    }

    fn list(&mut self, number: u64) -> Option<&mut List> {
        match &mut self.overlay {
            Some(Overlay::List(list)) if list.number == number => Some(list),
            Some(Overlay::Help { .. } | Overlay::Info { .. } | Overlay::List(_)) | None => None,
        }
    }

    /// Messages with the words sought.
    pub(super) fn found(&mut self, number: u64, messages: Vec<IncomingMessage>, end: Option<Result<(), String>>) {
        let (lang, zone) = (self.lang, self.zone);
        let Some(list) = self.list(number) else { return };
        list.rows.extend(messages.iter().filter_map(|message| {
            let (Kind::Text(body) | Kind::Reply { body, .. }) = &message.kind else { return None };
            let when = format!("{} {}", day_name(lang, zone, message.at_us), zone.clock(message.at_us));
            let text = format!("{when}  {}: {}", message.name, one_line(&String::from_utf8_lossy(body)));
            Some(ListRow { text, seq: Some(message.seq) })
        }));
        list.busy = end.is_none();
        if let Some(Err(why)) = end {
            self.warn(Word::CannotRead, &[("why", &why)]);
        }
        self.touch();
    }

    /// How the services are.
    pub(super) fn status(&mut self, number: u64, server: Result<ServerStatus, String>, log: Result<LogStatus, String>) {
        let lang = self.lang;
        let names: Vec<(gaung_proto::DeviceId, String)> = self
            .room()
            .map(|room| room.roster.members.iter().map(|m| (m.device, crate::people::member_name(m))).collect())
            .unwrap_or_default();
        let mut rows = Vec::new();
        match server {
            Ok(server) => rows.extend(server.services.iter().map(|service| {
                let kind = match service.kind {
                    ServiceKind::Relay => Word::Relay,
                    ServiceKind::Hub => Word::Hub,
                };
                let state = lang.say(if service.alive { Word::Alive } else { Word::Away });
                format!("{} {}:{}  {state}", lang.say(kind), one_line(&service.host), service.grpc_port)
            })),
            Err(why) => rows.push(why),
        }
        match log {
            Ok(log) => rows.extend(log_rows(lang, &log, &names)),
            Err(why) => rows.push(why),
        }
        let Some(list) = self.list(number) else { return };
        list.rows = rows.into_iter().map(|text| ListRow { text, seq: None }).collect();
        list.busy = false;
        self.touch();
    }
}

fn log_rows(lang: crate::words::Lang, log: &LogStatus, names: &[(gaung_proto::DeviceId, String)]) -> Vec<String> {
    let durable = lang.say(if log.durable { Word::OnDisk } else { Word::InMemory });
    let values = [("oldest", &*log.oldest.to_string()), ("head", &*log.head.to_string()), ("durable", durable)];
    let mut rows = vec![lang.fill(Word::LogRange, &values), String::new()];
    rows.extend(log.members.iter().map(|member| {
        let known = names.iter().find(|(device, _)| *device == member.device).map(|(_, name)| name.clone());
        let name = known.unwrap_or_else(|| match member.name.as_str() {
            "" => member.device.to_string()[..8].to_owned(),
            name => one_line(name).into_owned(),
        });
        let lane = member.lane.map_or("?", gaung_client::MemberLane::as_str);
        let behind = log.head.0.saturating_sub(member.delivered.0);
        let (lost, repaired) = (member.lost_datagrams.to_string(), member.repaired_datagrams.to_string());
        let values = [
            ("name", &*name),
            ("lane", lane),
            ("behind", &*behind.to_string()),
            ("lost", &*lost),
            ("repaired", &*repaired),
        ];
        lang.fill(Word::MemberStatus, &values)
    }));
    rows
}
