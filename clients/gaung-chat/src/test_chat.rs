//! A chat for tests, whose people, groups and clock the test controls.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use chrono::FixedOffset;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ed25519_dalek::SigningKey;
use gaung_client::{Event, Format, GroupInfo, Lane, LaneChoice, Member, Receipt};
use gaung_proto::{
    ClientId, ClientSeq, Content, DeviceId, Generation, GroupAddr, GroupId, Kind, LogId, RelayId, Scope, Seq,
    authorship::{self, SeenCheckpoint, SignedContext, TRAILER_BYTES},
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

/// The person at the screen.
pub(super) const ANI: u8 = 1;
/// Another person.
pub(super) const BUDI: u8 = 2;
/// Another device with Budi's name.
pub(super) const IMPOSTOR: u8 = 22;
/// A third person.
pub(super) const CITRA: u8 = 3;

/// 2026-11-26T02:05:00Z, 09:05 in Jakarta.
const NOW_US: u64 = 1_795_658_700_000_000;
const MINUTE_US: u64 = 60_000_000;

/// A model with open groups, and the effects that it has queued so far.
pub(super) struct TestChat {
    /// The model.
    pub(super) model: Model,
    /// All effects so far.
    pub(super) effects: Vec<Effect>,
    seqs: Vec<u64>,
}

impl TestChat {
    /// Makes a chat of Ani with groups that are open and empty, the first one in view.
    pub(super) fn with(groups: &[&str]) -> Self {
        let jakarta = Zone::Fixed(FixedOffset::east_opt(7 * 3600).unwrap());
        let (device, public_key) = (device(ANI), key(ANI).verifying_key().to_bytes());
        let me = LocalUser { device, client: ClientId([ANI; 16]), public_key, name: name(ANI).to_owned() };
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

    /// Handles an input, and collects the effects.
    pub(super) fn input(&mut self, input: Input) {
        self.model.handle(input);
        while let Some(effect) = self.model.context.next_effect() {
            self.effects.push(effect);
        }
    }

    /// Advances the clock by one second.
    pub(super) fn next_second(&mut self) {
        self.input(Input::Tick(self.model.context.now_us + 1_000_000));
    }

    /// Delivers an event of a group's listener.
    pub(super) fn listener_event(&mut self, index: usize, event: Event) {
        let session = self.model.rooms[index].session;
        self.input(Input::ListenerEvent { session, event: Box::new(event) });
    }

    /// Delivers a message of somebody; returns its seq.
    pub(super) fn send(&mut self, index: usize, who: u8, kind: Kind) -> Seq {
        self.seqs[index] += 1;
        let seq = Seq(self.seqs[index]);
        let event = self.message(index, who, seq, kind);
        self.listener_event(index, event);
        seq
    }

    /// Delivers a text message of somebody; returns its seq.
    pub(super) fn write(&mut self, index: usize, who: u8, words: &str) -> Seq {
        self.send(index, who, text(words))
    }

    /// Delivers a text message that nobody has signed.
    pub(super) fn write_unsigned(&mut self, index: usize, who: u8, words: &str) {
        self.send_unsigned(index, who, text(words));
    }

    /// Delivers a message that nobody has signed.
    pub(super) fn send_unsigned(&mut self, index: usize, who: u8, kind: Kind) {
        self.send_changed(index, who, kind, |message| {
            message.payload = message.payload.slice(..message.payload.len() - TRAILER_BYTES)
        });
    }

    /// Delivers a message that was changed after its author had signed it.
    pub(super) fn send_changed(&mut self, index: usize, who: u8, kind: Kind, change: impl FnOnce(&mut Message)) {
        self.seqs[index] += 1;
        let mut event = self.message(index, who, Seq(self.seqs[index]), kind);
        if let Event::Message { message, .. } = &mut event {
            change(message);
        }
        self.listener_event(index, event);
    }

    /// Makes a message that its author has signed.
    fn message(&self, index: usize, who: u8, seq: Seq, kind: Kind) -> Event {
        let content = Content { author_name: name(who).to_owned(), kind };
        let (content_type, payload) = content.encode();
        let author = Author { device: device(who), client: ClientId([who; 16]) };
        let sent_at = SentAt(NOW_US + seq.0 * MINUTE_US);
        let mut message = Message { seq, author, client_seq: ClientSeq(seq.0), content_type, sent_at, payload };
        let group = Arc::new(info(self.model.rooms[index].name.as_str()));
        let context = SignedContext::of(group.id, group.log, &message);
        message.payload = authorship::sign(&key(who), &context, &message.payload, SeenCheckpoint::NONE);
        Event::Message { group, message, content, lane: Lane::Multicast }
    }

    /// Presses a key.
    pub(super) fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.input(Input::Key(KeyEvent::new(code, modifiers)));
    }

    /// Types text; a newline is Enter.
    pub(super) fn type_keys(&mut self, keys: &str) {
        for c in keys.chars() {
            let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
            self.press(code, KeyModifiers::NONE);
        }
    }

    /// Returns the text of the line.
    pub(super) fn line(&self) -> &str {
        self.model.room().unwrap().composer.editor.text()
    }

    /// Returns what was published, in order.
    pub(super) fn published(&self) -> Vec<Kind> {
        let kind = |effect: &Effect| {
            let Effect::Publish { kind, .. } = effect else { return None };
            Some(kind.clone())
        };
        self.effects.iter().filter_map(kind).collect()
    }
}

/// Returns the device of a person.
pub(super) fn device(who: u8) -> DeviceId {
    DeviceId::of_public_key(key(who).verifying_key().as_bytes())
}

fn key(who: u8) -> SigningKey {
    SigningKey::from_bytes(&[who; 32])
}

/// Returns the name of a person.
pub(super) fn name(who: u8) -> &'static str {
    match who {
        ANI => "Ani",
        BUDI | IMPOSTOR => "Budi",
        CITRA => "Citra",
        _ => "Dewi",
    }
}

/// Makes the content of a text message.
pub(super) fn text(words: &str) -> Kind {
    Kind::Text(Bytes::copy_from_slice(words.as_bytes()))
}

/// Makes a member as the registry lists it.
pub(super) fn member(who: u8, present: bool, lane: &str) -> Member {
    let (name, lane) = (name(who).to_owned(), lane.to_owned());
    Member { device: device(who), name, present, lane, joined_unix_ms: 0 }
}

/// Makes a receipt with so many acknowledgements of those who were present.
pub(super) fn receipt(seq: Seq, heard: u32, present: u32) -> Receipt {
    Receipt { seq, heard, present, silent: 0, absent: 0, missing: Vec::new(), complete: heard == present }
}

/// Makes a group.
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
        policy_version: 0,
    }
}
