//! What arrives for a group: the events of its listener, and the answers to requests.

use gaung_client::{Event, HistoryPage, Lane, Member, Receipt};
use gaung_proto::{DeviceId, GroupName, Seq};
use gaung_terminal::sanitise::{lines_of_bytes, one_line};

use super::news::News;
use crate::{
    effect::Effect,
    incoming::IncomingMessage,
    model::{
        context::ChatContext,
        room::RoomState,
        rooms::Rooms,
        timeline::{ItemContent, Notice},
    },
    people::member_name,
    ui_text::{UiText, day_name, lane_name},
};

impl Rooms {
    /// Handles an event of a listener. One of a former listener is ignored: the lane was changed or the group left.
    pub(super) fn listener_event(&mut self, session: u32, event: Event, context: &mut ChatContext) {
        let Some(index) = self.index_of_session(session) else { return };
        let (room, now_us) = (&mut self[index], context.now_us);
        match event {
            Event::Message { group, message, content, lane } => {
                self.message(index, IncomingMessage::of(&group, group.log, &message, content, lane), context);
            }
            Event::Ready { next_seq, lane, .. } => self.ready(index, next_seq, lane, context),
            // Pages of the log are read instead of what is missing at the start.
            Event::Gap { .. } if room.state == RoomState::Entering => {}
            Event::Gap { range, .. } => room.timeline.missing(range, now_us),
            Event::GapFilled { range, .. } => room.timeline.filled(range),
            Event::Lost { range, .. } => room.timeline.lost(range, now_us),
            Event::Forged { range, .. } => {
                room.timeline.go_back(range.first);
                let (first, last) = (range.first.to_string(), range.last.to_string());
                self.note(index, UiText::WereForged, &[("first", &first), ("last", &last)], true, context);
            }
            Event::LaneChanged { lane, why, .. } => {
                room.lane = Some(lane);
                let lane = context.lang.text(lane_name(lane));
                self.note(index, UiText::LaneChanged, &[("lane", lane), ("why", &one_line(&why))], false, context);
            }
            Event::Reconnecting { why, .. } if room.state != RoomState::Away => {
                room.state = RoomState::Away;
                self.note(index, UiText::CannotBeReached, &[("why", &one_line(&why))], true, context);
            }
            Event::Reconnected { .. } if room.state == RoomState::Away => {
                room.state = RoomState::Open;
                self.note(index, UiText::ReachedAgain, &[], false, context);
            }
            Event::Reconnecting { .. } | Event::Reconnected { .. } => {}
            Event::HistoryLost { group, .. } => {
                room.restart(group.log);
                self.note(index, UiText::HistoryLost, &[], true, context);
            }
            Event::GroupGone { why, .. } => {
                room.state = RoomState::Gone;
                self.note(index, UiText::IsGone, &[("why", &one_line(&why))], true, context);
                context.effect(Effect::Save);
            }
        }
        context.touch();
    }

    /// The listener delivers everything from `next` on; the newest page before it is read.
    fn ready(&mut self, index: usize, next: Seq, lane: Lane, context: &mut ChatContext) {
        let is_current = index == self.current_index();
        let room = &mut self[index];
        room.state = RoomState::Open;
        room.lane = Some(lane);
        room.timeline.set_head(Seq(next.0.saturating_sub(1)));
        let head = room.timeline.head();
        room.marks.begin(head);
        let (group, session) = (room.name.clone(), room.session);
        if room.timeline.is_unread() && head > Seq::ZERO {
            room.loading = true;
            context.effect(Effect::Read { group: group.clone(), page: HistoryPage::NEWEST, session, jump: None });
        } else {
            self.greet(index, context.now_us);
            self.mark_seen(context);
        }
        if is_current {
            context.effect(Effect::Members(group));
        }
    }

    /// Shows the greeting in the group in view, once.
    fn greet(&mut self, index: usize, now_us: u64) {
        if index == self.current_index()
            && let Some(text) = self.greeting.take()
        {
            self[index].timeline.note(ItemContent::Notice(Notice { text, is_error: false }), now_us);
        }
    }

    fn message(&mut self, index: usize, mut incoming: IncomingMessage, context: &mut ChatContext) {
        let is_shown_apart = context.introduce(&mut incoming);
        let name = incoming.name.clone();
        self.introduced(index, incoming, context);
        if is_shown_apart {
            self.note(index, UiText::ShownApart, &[("name", &name)], true, context);
        }
    }

    fn introduced(&mut self, index: usize, incoming: IncomingMessage, context: &mut ChatContext) {
        if incoming.seq == Seq::ZERO {
            return self.message_without_log(index, incoming, context.now_us);
        }
        let me = &context.me;
        let news = News::of(&incoming, &self[index], me);
        // A publisher whose client id was taken goes on under another one; without a device only the id tells.
        let own = incoming.device == me.device && (incoming.client == me.client || !me.device.is_none());
        let room = &mut self[index];
        room.lane = Some(incoming.lane).filter(|lane| *lane != Lane::History).or(room.lane);
        let seq = incoming.seq;
        if own {
            room.composer.received(seq, &incoming.kind);
        }
        let keep = room.keep();
        room.timeline.append(incoming, keep);
        match news {
            None => room.marks.pass(seq),
            Some(news) => self.count(index, seq, news, context),
        }
    }

    /// Counts a message as unread unless it is seen, and notifies the person as the settings say.
    fn count(&mut self, index: usize, seq: Seq, news: News, context: &mut ChatContext) {
        let seen = index == self.current_index() && self[index].is_seen(context);
        let room = &mut self[index];
        if seen {
            room.read_all();
        } else {
            room.marks.count(seq, news.is_mention);
        }
        // Where the terminal does not report its focus, it may be behind another window.
        if context.settings.wants(news.is_mention) && !(seen && context.focused == Some(true)) {
            context.notify(news.title, news.body);
        }
    }

    /// Shows a message of a group that has no log.
    fn message_without_log(&mut self, index: usize, incoming: IncomingMessage, now_us: u64) {
        if let Some(body) = incoming.kind.text_body() {
            let content = ItemContent::Unlogged { name: incoming.name, words: lines_of_bytes(&body) };
            self[index].timeline.note(content, now_us);
        }
    }

    /// Handles a page of the log; one that was requested under a former listener is ignored.
    pub(super) fn page(
        &mut self,
        group: &GroupName,
        page: HistoryPage,
        session: u32,
        jump: Option<Seq>,
        answer: Result<Vec<IncomingMessage>, String>,
        context: &mut ChatContext,
    ) {
        context.touch();
        let Some(index) = self.index_of(group).filter(|index| self[*index].session == session) else { return };
        self[index].loading = false;
        let messages = match answer {
            Ok(mut messages) => {
                for message in &mut messages {
                    context.introduce(message);
                }
                messages
            }
            Err(why) => return context.warn(UiText::CannotRead, &[("why", &why)]),
        };
        let is_current = index == self.current_index();
        let room = &mut self[index];
        match (page, jump) {
            (HistoryPage::From(Seq::ZERO), Some(_)) => room.land(None, messages, is_current, context),
            (_, Some(seq)) => room.land(Some(seq), messages, is_current, context),
            (HistoryPage::Before(_), None) => room.timeline.prepend(messages),
            (HistoryPage::From(from), None) => room.extend(from, messages),
        }
        self.greet(index, context.now_us);
        self.mark_seen(context);
    }

    /// Replaces the members of a group, and says in its conversation who came and who left.
    pub(super) fn members(
        &mut self,
        group: &GroupName,
        mut members: Vec<Member>,
        text_sessions: Vec<String>,
        context: &mut ChatContext,
    ) {
        let text_sessions: Vec<_> = text_sessions.iter().map(|name| context.meet(name, DeviceId::NONE).name).collect();
        for member in &mut members {
            member.name = context.meet(&member_name(member), member.device).name;
        }
        let Some(index) = self.index_of(group) else { return };
        let room = &mut self[index];
        let Some(changes) = room.roster.replace(members, text_sessions, context.me.device) else { return };
        for presence in changes {
            room.timeline.note(ItemContent::Presence(presence), context.now_us);
        }
        context.touch();
    }

    /// Remembers receipts of own messages.
    pub(super) fn receipts(&mut self, group: &GroupName, receipts: Vec<Receipt>, context: &mut ChatContext) {
        let Some(index) = self.index_of(group) else { return };
        for mut receipt in receipts {
            for missing in receipt.missing.iter_mut().filter(|missing| !missing.name.is_empty()) {
                missing.name = context.meet(&one_line(&missing.name), missing.device).name;
            }
            self[index].receipt(receipt);
        }
        context.touch();
    }

    /// Shows an invite in the conversation, where it can be copied; nobody else sees it.
    pub(super) fn invited(&mut self, group: &GroupName, code: &str, until_ms: i64, context: &mut ChatContext) {
        let Some(index) = self.index_of(group) else { return };
        let until_us = u64::try_from(until_ms).unwrap_or(0).saturating_mul(1000);
        let until = format!("{}, {}", day_name(context.lang, context.zone, until_us), context.zone.clock(until_us));
        self.note(index, UiText::Invited, &[("code", code), ("until", &until)], false, context);
    }

    /// Adds a notice of the program to a conversation.
    fn note(&mut self, index: usize, word: UiText, values: &[(&str, &str)], is_error: bool, context: &mut ChatContext) {
        let text = context.lang.fill(word, values);
        self[index].timeline.note(ItemContent::Notice(Notice { text, is_error }), context.now_us);
        context.touch();
    }
}
