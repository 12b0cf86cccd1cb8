//! What is entered, on its way to the group.

use gaung_proto::{Kind, Seq};

use super::command::Command;
use crate::{
    effect::{Effect, Said},
    model::{Model, composer::Intent, room::RoomState, timeline::Body},
    words::Word,
};

impl Model {
    /// Enter: says what stands there, or obeys it.
    pub(super) fn enter(&mut self) {
        let lang = self.lang;
        let Some(room) = self.room_mut() else { return };
        if room.composer.editor.text().trim().is_empty() && room.composer.intent == Intent::Say {
            return;
        }
        let text = room.composer.editor.text().trim_end().to_owned();
        match Command::of(&text, lang) {
            // What is wrong stays, to be mended.
            Err(wrong) => self.flash(wrong, true),
            Ok(Command::Say(words)) => {
                if self.say(&words)
                    && let Some(room) = self.room_mut()
                {
                    room.composer.editor.enter();
                }
            }
            Ok(command) => {
                room.composer.editor.enter();
                self.unflash();
                self.obey(command);
            }
        }
    }

    /// Words for the group, or for the message that they answer or replace.
    fn say(&mut self, words: &str) -> bool {
        let Some(room) = self.room_mut() else { return false };
        let kind = room.composer.kind_of(words);
        if words.trim().is_empty() || !self.publish(kind) {
            return false;
        }
        if let Some(room) = self.room_mut() {
            room.composer.intent = Intent::Say;
            room.marks.new_from = None;
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
        if room.composer.is_full() {
            self.warn(Word::TooMuchUnderWay, &[]);
            return false;
        }
        room.composer.sent(number, &kind);
        let group = room.name.clone();
        self.effect(Effect::Publish { group, number, kind });
        self.touch();
        true
    }

    /// What became of own words.
    pub(super) fn said(&mut self, group: &gaung_proto::GroupName, number: u64, outcome: Said) {
        self.touch();
        let Some(index) = self.rooms.index_of(group) else { return };
        let room = &mut self.rooms[index];
        match outcome {
            Said::Late => room.composer.late(number),
            Said::Logged(seq) => {
                let was_shown = room.composer.logged(number, seq, room.timeline.head() >= seq);
                // Edits and reactions have receipts too, which nobody looks at.
                if was_shown || room.timeline.entry(seq).is_some() {
                    self.effect(Effect::Receipts { group: group.clone(), seq });
                }
            }
            Said::Failed(why) => {
                if let Err(why) = room.composer.failed(number, why) {
                    self.warn(Word::NotSent, &[("why", &why)]);
                }
            }
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
        room.composer.intent = Intent::Reply(seq);
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
        room.composer.intent = Intent::Edit(seq);
        if words.is_empty() {
            room.composer.editor.set(&said);
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
