//! A chat on a stage: people, groups and a clock that tests hold in their hands.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use chrono::FixedOffset;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gaung_client::{Event, Format, GroupInfo, Lane, LaneChoice, Member, Receipt};
use gaung_proto::{
    ClientId, ClientSeq, Content, DeviceId, Generation, GroupAddr, GroupId, Kind, LogId, RelayId, Scope, Seq,
    block::{Author, Message, SentAt},
};

use super::{
    effect::{Effect, Input},
    model::{
        Model,
        context::{ChatContext, LocalUser},
        rooms::Rooms,
    },
    settings::Settings,
    ui_text::{Lang, Zone},
};

/// Who sits at the screen.
pub(super) const ANI: u8 = 1;
/// Somebody else.
pub(super) const BUDI: u8 = 2;
/// Somebody else again.
pub(super) const CITRA: u8 = 3;

/// 2026-11-26T02:05:00Z, 09:05 in Jakarta.
const NOW_US: u64 = 1_795_658_700_000_000;
const MINUTE_US: u64 = 60_000_000;

/// A model with open groups, and what it wants done so far.
pub(super) struct TestChat {
    /// The chat of Ani.
    pub(super) model: Model,
    /// What it wanted done.
    pub(super) effects: Vec<Effect>,
    seqs: Vec<u64>,
}

impl TestChat {
    /// Groups that are open and empty, the first one looked at.
    pub(super) fn with(groups: &[&str]) -> Self {
        let jakarta = Zone::Fixed(FixedOffset::east_opt(7 * 3600).unwrap());
        let me = LocalUser { device: device(ANI), client: ClientId([ANI; 16]), name: name(ANI).to_owned() };
        let mut context = ChatContext::new(Lang::En, jakarta, me, Settings::default());
        context.tick(NOW_US);
        let model = Model::new(context, "192.168.1.10:7400".to_owned(), Rooms::new(LaneChoice::Auto));
        let mut chat = Self { model, effects: Vec::new(), seqs: vec![0; groups.len()] };
        for group in groups {
            let index = chat.open(group);
            let session = chat.model.rooms[index].session;
            chat.input(Input::Entered { session, group: Box::new(info(group)) });
            chat.listener_event(
                index,
                Event::Ready { group: Arc::new(info(group)), next_seq: Seq(1), lane: Lane::Multicast },
            );
        }
        chat.effects.clear();
        chat
    }

    /// Opens a group, which is then being entered.
    pub(super) fn open(&mut self, group: &str) -> usize {
        let index = self.model.rooms.open(group.parse().unwrap());
        self.model.rooms.enter(index, &mut self.model.context);
        index
    }

    /// Gives it an input and gathers what it wants done.
    pub(super) fn input(&mut self, input: Input) {
        self.model.handle(input);
        while let Some(effect) = self.model.context.next_effect() {
            self.effects.push(effect);
        }
    }

    /// A second passes.
    pub(super) fn next_second(&mut self) {
        self.input(Input::Tick(self.model.context.now_us + 1_000_000));
    }

    /// A group's listener tells.
    pub(super) fn listener_event(&mut self, index: usize, event: Event) {
        let session = self.model.rooms[index].session;
        self.input(Input::ListenerEvent { session, event: Box::new(event) });
    }

    /// Somebody says something in a group; gives its seq.
    pub(super) fn send(&mut self, index: usize, who: u8, kind: Kind) -> Seq {
        self.seqs[index] += 1;
        let seq = Seq(self.seqs[index]);
        let event = self.message(index, who, seq, kind);
        self.listener_event(index, event);
        seq
    }

    /// Somebody says words in a group.
    pub(super) fn write(&mut self, index: usize, who: u8, words: &str) -> Seq {
        self.send(index, who, text(words))
    }

    fn message(&self, index: usize, who: u8, seq: Seq, kind: Kind) -> Event {
        let content = Content { author_name: name(who).to_owned(), kind };
        let (content_type, payload) = content.encode();
        let author = Author { device: device(who), client: ClientId([who; 16]) };
        let sent_at = SentAt(NOW_US + seq.0 * MINUTE_US);
        let message = Message { seq, author, client_seq: ClientSeq(seq.0), content_type, sent_at, payload };
        let group = Arc::new(info(self.model.rooms[index].name.as_str()));
        Event::Message { group, message, content, lane: Lane::Multicast }
    }

    /// Presses a key.
    pub(super) fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.input(Input::Key(KeyEvent::new(code, modifiers)));
    }

    /// Types, and presses Enter where there is a newline.
    pub(super) fn type_keys(&mut self, keys: &str) {
        for c in keys.chars() {
            let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
            self.press(code, KeyModifiers::NONE);
        }
    }

    /// What stands in the line.
    pub(super) fn line(&self) -> &str {
        self.model.room().unwrap().composer.editor.text()
    }

    /// What was published, in order.
    pub(super) fn published(&self) -> Vec<Kind> {
        let kind = |effect: &Effect| {
            let Effect::Publish { kind, .. } = effect else { return None };
            Some(kind.clone())
        };
        self.effects.iter().filter_map(kind).collect()
    }
}

/// Somebody's device.
pub(super) fn device(who: u8) -> DeviceId {
    DeviceId([who; 16])
}

/// Somebody's name.
pub(super) fn name(who: u8) -> &'static str {
    match who {
        ANI => "Ani",
        BUDI => "Budi",
        CITRA => "Citra",
        _ => "Dewi",
    }
}

/// Plain words.
pub(super) fn text(words: &str) -> Kind {
    Kind::Text(Bytes::copy_from_slice(words.as_bytes()))
}

/// A member as the registry tells.
pub(super) fn member(who: u8, present: bool, lane: &str) -> Member {
    let (name, lane) = (name(who).to_owned(), lane.to_owned());
    Member { device: device(who), name, present, lane, joined_unix_ms: 0 }
}

/// Heard by some of those who were present.
pub(super) fn receipt(seq: Seq, heard: u32, present: u32) -> Receipt {
    Receipt { seq, heard, present, silent: 0, absent: 0, missing: Vec::new(), complete: heard == present }
}

/// A group.
pub(super) fn info(name: &str) -> GroupInfo {
    GroupInfo {
        id: GroupId([name.len() as u8; 16]),
        name: name.parse().unwrap(),
        scope: Scope::Site,
        format: Format::Proto,
        private: false,
        addr: GroupAddr::new([239, 255, 3, 7].into(), 20_000).unwrap(),
        generation: Generation(1),
        lapsed: false,
        log: LogId(7),
        relay: RelayId([8; 16]),
        owner: None,
        ttl: 1,
        reserved: false,
        created_unix_ms: 0,
        keep: gaung_proto::GroupRetention::default(),
    }
}
