//! What is entered, on its way to the group.

use bytes::Bytes;
use gaung_proto::{Kind, Seq};

use super::command::Command;
use crate::chat::screen::{
    effect::{Effect, Said},
    model::{
        Model,
        room::{Intent, Pending, RoomState, Stage},
        timeline::Body,
    },
    words::Word,
};
use crate::render::sanitise::lines_of_bytes;

/// Most messages of one group that may be under way.
const UNDER_WAY: usize = 64;

impl Model {
    /// Enter: says what stands there, or obeys it.
    pub(super) fn enter(&mut self) {
        let lang = self.lang;
        let Some(room) = self.room_mut() else { return };
        if room.editor.text().trim().is_empty() && room.intent == Intent::Say {
            return;
        }
        let text = room.editor.text().trim_end().to_owned();
        match Command::of(&text, lang) {
            // What is wrong stays, to be mended.
            Err(wrong) => self.flash(wrong, true),
            Ok(Command::Say(words)) => {
                if self.say(&words)
                    && let Some(room) = self.room_mut()
                {
                    room.editor.enter();
                }
            }
            Ok(command) => {
                room.editor.enter();
                self.unflash();
                self.obey(command);
            }
        }
    }

    /// Words for the group, or for the message that they answer or replace.
    fn say(&mut self, words: &str) -> bool {
        let Some(room) = self.room_mut() else { return false };
        let body = Bytes::copy_from_slice(words.as_bytes());
        let kind = match room.intent {
            Intent::Say => Kind::Text(body),
            Intent::Reply(to) => Kind::Reply { to, body },
            Intent::Edit(seq) => Kind::Edit { seq, body },
        };
        if words.trim().is_empty() || !self.publish(kind) {
            return false;
        }
        if let Some(room) = self.room_mut() {
            room.intent = Intent::Say;
            room.new_from = None;
        }
        self.unflash();
        self.go_to_latest();
        true
    }

    /// Hands a message over, and shows it until it comes back.
    pub(super) fn publish(&mut self, kind: Kind) -> bool {
        let number = self.number();
        let Some(room) = self.room_mut() else { return false };
        if matches!(room.state, RoomState::Gone) {
            self.warn(Word::NothingCanBeSent, &[]);
            return false;
        }
        if room.pending.iter().filter(|pending| !matches!(pending.stage, Stage::Failed(_))).count() >= UNDER_WAY {
            self.warn(Word::TooMuchUnderWay, &[]);
            return false;
        }
        room.pending.retain(|pending| !matches!(pending.stage, Stage::Failed(_)));
        let group = room.name.clone();
        if let Kind::Text(body) | Kind::Reply { body, .. } = &kind {
            let words = lines_of_bytes(body);
            room.pending.push(Pending { number, words, kind: kind.clone(), stage: Stage::Sending });
        }
        self.effect(Effect::Publish { group, number, kind });
        self.touch();
        true
    }

    /// What became of own words.
    pub(super) fn said(&mut self, group: &gaung_proto::GroupName, number: u64, outcome: Said) {
        self.touch();
        let Some(index) = self.index_of(group) else { return };
        let room = &mut self.rooms[index];
        let at = room.pending.iter().position(|pending| pending.number == number);
        match (outcome, at) {
            (Said::Late, Some(at)) => room.pending[at].stage = Stage::Late,
            (Said::Late, None) => {}
            (Said::Logged(seq), at) => {
                match at {
                    Some(at) if room.timeline.head() >= seq => drop(room.pending.remove(at)),
                    Some(at) => room.pending[at].stage = Stage::Logged(seq),
                    None => {}
                }
                // Edits and the like are heard too, and nobody asks who heard them.
                if at.is_some() || room.timeline.entry(seq).is_some() {
                    self.effect(Effect::Receipts { group: group.clone(), seq });
                }
            }
            (Said::Failed(why), Some(at)) => {
                let words = room.pending[at].words.clone();
                room.pending[at].stage = Stage::Failed(why);
                if room.editor.is_empty() {
                    room.editor.set(&words);
                }
            }
            (Said::Failed(why), None) => self.warn(Word::NotSent, &[("why", &why)]),
        }
    }

    /// `/reply`: answers at once, or makes the next words an answer.
    pub(super) fn reply_to(&mut self, to: Option<Seq>, words: &str) {
        let own = self.me.device;
        let Some(room) = self.room_mut() else { return };
        let last = || room.timeline.newest().find(|entry| entry.device != own && entry.words().is_some());
        let Some(seq) = to.or_else(|| last().map(|entry| entry.seq)) else {
            return self.warn(Word::NothingToReply, &[]);
        };
        room.intent = Intent::Reply(seq);
        room.selected = None;
        if !words.is_empty() {
            self.say(words);
        }
    }

    /// `/edit`: replaces own words at once, or puts them into the line.
    pub(super) fn edit(&mut self, seq: Option<Seq>, words: &str) {
        let Some((seq, said)) = self.own(seq) else { return self.warn(Word::NotYours, &[]) };
        let Some(room) = self.room_mut() else { return };
        room.selected = None;
        room.intent = Intent::Edit(seq);
        if words.is_empty() {
            room.editor.set(&said);
        } else {
            self.say(words);
        }
    }

    /// `/delete`: takes own words back.
    pub(super) fn delete(&mut self, seq: Option<Seq>) {
        let Some((seq, _)) = self.own(seq) else { return self.warn(Word::NotYours, &[]) };
        if let Some(room) = self.room_mut() {
            room.selected = None;
        }
        self.publish(Kind::Delete { seq });
    }

    /// `/react`.
    pub(super) fn react(&mut self, to: Option<Seq>, emoji: String, remove: bool) {
        let own = self.me.device;
        let Some(room) = self.room() else { return };
        let last = || {
            let mut newest = room.timeline.newest();
            newest.find(|entry| entry.body != Body::Deleted && (remove || entry.device != own)).map(|entry| entry.seq)
        };
        match to.or_else(last) {
            Some(seq) => drop(self.publish(Kind::React { seq, emoji, remove })),
            None => self.warn(Word::NothingToReply, &[]),
        }
    }

    /// A message of this device with its words: the one asked for, or the last one.
    fn own(&self, seq: Option<Seq>) -> Option<(Seq, String)> {
        let room = self.room()?;
        let mut newest = room.timeline.newest();
        let entry = newest.find(|entry| {
            entry.device == self.me.device && entry.words().is_some() && seq.is_none_or(|seq| entry.seq == seq)
        })?;
        Some((entry.seq, entry.words()?.to_owned()))
    }
}
