//! What came of an effect.

use gaung_client::{HistoryPage, Member, Receipt};
use gaung_proto::{GroupName, Seq};

use crate::{
    effect::Effect,
    incoming::IncomingMessage,
    model::{Model, room::Scroll, timeline::What},
    words::Word,
};

impl Model {
    /// A page of the log.
    pub(super) fn page(
        &mut self,
        group: &GroupName,
        page: HistoryPage,
        session: u32,
        jump: Option<Seq>,
        answer: Result<Vec<IncomingMessage>, String>,
    ) {
        self.touch();
        let Some(index) = self.rooms.index_of(group).filter(|index| self.rooms[*index].session == session) else {
            return;
        };
        self.rooms[index].loading = false;
        let messages = match answer {
            Ok(messages) => messages,
            Err(why) => return self.warn(Word::CannotRead, &[("why", &why)]),
        };
        match (page, jump) {
            (HistoryPage::From(Seq::ZERO), Some(_)) => self.landed(index, None, messages),
            (_, Some(seq)) => self.landed(index, Some(seq), messages),
            (HistoryPage::Before(_), None) => self.rooms[index].timeline.prepend(messages),
            (HistoryPage::From(from), None) => self.extended(index, from, messages),
        }
        self.greet(index);
        self.look();
    }

    /// Another part of the log, to show one message of it, or its beginning.
    fn landed(&mut self, index: usize, seq: Option<Seq>, messages: Vec<IncomingMessage>) {
        let Some(first) = messages.first().map(|incoming| incoming.seq) else {
            return self.warn(Word::NoSuchMessage, &[("seq", &seq.unwrap_or(Seq::FIRST).to_string())]);
        };
        let room = &mut self.rooms[index];
        room.timeline.clear(Some(first));
        room.timeline.extend(messages);
        match seq {
            Some(seq) if index == self.rooms.current_index() => self.show(seq.max(first)),
            None if index == self.rooms.current_index() => self.show_oldest(),
            Some(_) | None => {}
        }
    }

    fn extended(&mut self, index: usize, from: Seq, messages: Vec<IncomingMessage>) {
        let room = &mut self.rooms[index];
        if room.timeline.after() != from {
            return;
        }
        let empty = messages.is_empty();
        if room.timeline.extend(messages) || empty {
            return;
        }
        // The person stands at its end and sees the next page as soon as it comes.
        if let (Scroll::Latest, Some(last)) = (room.scroll, room.timeline.items().back()) {
            room.scroll = Scroll::At { key: last.key, below: 0 };
        }
    }

    /// Who is there; who came and who went since is said in the conversation.
    pub(super) fn members(&mut self, group: &GroupName, members: Vec<Member>, text_sessions: Vec<String>) {
        let Some(index) = self.rooms.index_of(group) else { return };
        let (now_us, own) = (self.now_us, self.me.device);
        let room = &mut self.rooms[index];
        let Some(changes) = room.roster.replace(members, text_sessions, own) else { return };
        for presence in changes {
            room.timeline.note(What::Presence(presence), now_us);
        }
        self.touch();
    }

    /// Who has heard own words.
    pub(super) fn receipts(&mut self, group: &GroupName, receipts: Vec<Receipt>) {
        let Some(index) = self.rooms.index_of(group) else { return };
        receipts.into_iter().for_each(|receipt| self.rooms[index].receipt(receipt));
        self.touch();
    }

    /// An invite: shown where it can be copied, and said to nobody.
    pub(super) fn invited(&mut self, group: &GroupName, code: &str, until_ms: i64) {
        let Some(index) = self.rooms.index_of(group) else { return };
        let until_us = u64::try_from(until_ms).unwrap_or(0).saturating_mul(1000);
        let until =
            format!("{}, {}", crate::words::day_name(self.lang, self.zone, until_us), self.zone.clock(until_us));
        self.note(index, Word::Invited, &[("code", code), ("until", &until)], false);
    }

    /// A group was made, or an invite opened one.
    pub(super) fn created(&mut self, group: GroupName) {
        self.join(group);
        self.effect(Effect::Groups);
    }
}
