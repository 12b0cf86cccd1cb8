//! What a command does.

use gaung_client::LaneChoice;
use gaung_proto::{DisplayName, Seq};

use super::command::{Command, NotifyChange};
use crate::{
    effect::Effect,
    model::{
        Model,
        overlay::{List, ListRow, Overlay},
        timeline::Entry,
    },
    people::{in_order, member_name},
    settings::{Desktop, Notify},
    words::{Word, lane_word},
};

impl Model {
    /// Obeys a command.
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Say(_) => unreachable!("words are said, not obeyed"),
            Command::Help => self.overlay = Some(Overlay::Help { top: 0 }),
            Command::Join(group) => self.join(group),
            Command::Redeem(code) => self.effect(Effect::Redeem(code)),
            Command::Leave(group) => self.leave(group),
            Command::Create { group, private } => self.effect(Effect::Create { group, private }),
            Command::Invite { uses, expires } => self.invite(uses, expires),
            Command::Members => self.list_members(),
            Command::Nick(name) => self.nick(name),
            Command::Reply(to, words) => self.reply_to(to, &words),
            Command::Edit(seq, words) => self.edit(seq, &words),
            Command::Delete(seq) => self.delete(seq),
            Command::React { to, emoji, remove } => self.react(to, emoji, remove),
            Command::Search(words) => self.search(words),
            Command::History(Some(seq)) => self.jump(seq),
            Command::History(None) => self.go_to_oldest(),
            Command::Heard(seq) => self.who_heard(seq),
            Command::Lane(choice) => self.lane(choice),
            Command::Status => self.ask_status(),
            Command::Notify(change) => self.notify(change),
            Command::Mouse(on) => self.hear_mouse(on),
            Command::Quit => self.quit = true,
        }
    }

    fn invite(&mut self, uses: Option<u32>, expires: Option<std::time::Duration>) {
        let Some(room) = self.room() else { return };
        if room.private {
            let group = room.name.clone();
            self.effect(Effect::Invite { group, uses, expires });
        } else {
            self.warn(Word::InviteNotNeeded, &[]);
        }
    }

    fn nick(&mut self, name: DisplayName) {
        name.as_str().clone_into(&mut self.me.name);
        self.tell(Word::CalledNow, &[("name", name.as_str())]);
        self.effect(Effect::Rename(name));
    }

    fn list_members(&mut self) {
        let number = self.number();
        let Some(room) = self.room() else { return };
        let mut rows: Vec<String> = in_order(&room.roster.members)
            .into_iter()
            .map(|member| {
                let dot = if member.present { "●" } else { "○" };
                format!("{dot} {}  {}", member_name(member), member.lane)
            })
            .collect();
        let text = self.lang.say(Word::LaneText);
        rows.extend(room.roster.text_sessions.iter().map(|name| format!("● {name}  {text}")));
        let rows = rows.into_iter().map(|text| ListRow { text, seq: None }).collect();
        let title = self.lang.fill(Word::MembersOf, &[("group", room.name.as_str())]);
        self.overlay = Some(Overlay::List(List { title, rows, at: 0, busy: false, number }));
    }

    fn search(&mut self, words: String) {
        let number = self.number();
        let Some(room) = self.room() else { return };
        let group = room.name.clone();
        let title = self.lang.fill(Word::SearchOf, &[("words", &words), ("group", group.as_str())]);
        self.overlay = Some(Overlay::List(List { title, rows: Vec::new(), at: 0, busy: true, number }));
        self.effect(Effect::Search { group, words, number });
    }

    /// Opens a message's story, own last one if none is named, and asks for its receipt if it is an own one.
    pub(super) fn who_heard(&mut self, seq: Option<Seq>) {
        let own = self.me.device;
        let Some(room) = self.room() else { return };
        let wanted = |entry: &&Entry| seq.map_or(entry.device == own, |seq| entry.seq == seq);
        let found = room.timeline.newest().find(wanted).map(|entry| (entry.seq, entry.device));
        let group = room.name.clone();
        let Some((seq, author)) = found else { return self.warn(Word::NothingSaidYet, &[]) };
        if author == own {
            self.effect(Effect::Receipts { group, seq });
        }
        self.overlay = Some(Overlay::Info { seq, top: 0 });
        self.touch();
    }

    fn lane(&mut self, choice: Option<LaneChoice>) {
        match (choice, self.room().and_then(|room| room.lane)) {
            (Some(choice), _) => self.change_lane(choice),
            (None, Some(lane)) => {
                let lane = self.lang.say(lane_word(lane));
                self.tell(Word::ByLane, &[("lane", lane)]);
            }
            (None, None) => self.tell(Word::Entering, &[]),
        }
    }

    fn ask_status(&mut self) {
        let number = self.number();
        let Some(room) = self.room() else { return };
        let group = room.name.clone();
        let title = self.lang.fill(Word::StatusOf, &[("server", &self.server)]);
        self.overlay = Some(Overlay::List(List { title, rows: Vec::new(), at: 0, busy: true, number }));
        self.effect(Effect::Status { group, number });
    }

    fn notify(&mut self, change: Option<NotifyChange>) {
        match change {
            Some(NotifyChange::Of(notify)) => self.settings.notify = notify,
            Some(NotifyChange::Bell(on)) => self.settings.bell = on,
            Some(NotifyChange::Desktop(desktop)) => self.settings.desktop = desktop,
            None => {}
        }
        let of = match self.settings.notify {
            Notify::Mentions => Word::NotifyMentions,
            Notify::All => Word::NotifyAll,
            Notify::Off => Word::NotifyOff,
        };
        let switch = |on| self.lang.say(if on { Word::On } else { Word::Off });
        let desktop = match self.settings.desktop {
            Desktop::Auto => switch(true),
            Desktop::Osc9 => "OSC 9",
            Desktop::Osc777 => "OSC 777",
            Desktop::Off => switch(false),
        };
        let values = [("of", self.lang.say(of)), ("bell", switch(self.settings.bell)), ("desktop", desktop)];
        self.tell(Word::NotifyNow, &values);
        self.effect(Effect::Save);
    }

    fn hear_mouse(&mut self, on: bool) {
        self.settings.mouse = on;
        self.effect(Effect::Mouse(on));
        self.effect(Effect::Save);
        self.tell(if on { Word::MouseOn } else { Word::MouseOff }, &[]);
    }
}
