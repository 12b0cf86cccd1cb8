//! What a listener tells.

use gaung_client::{Event, GroupInfo, HistoryPage, Lane};
use gaung_proto::{Content, Kind, Seq, SeqRange, block::Message};
use gaung_terminal::sanitise::{lines_of_bytes, one_line};

use crate::{
    effect::Effect,
    incoming::IncomingMessage,
    model::{
        Model,
        room::{Room, RoomState},
        timeline::{Notice, What},
    },
    people::names,
    settings::Notify,
    words::{Word, lane_word},
};

/// Characters of a message that a notification shows.
const NOTIFIED: usize = 120;

impl Model {
    /// A listener tells something.
    pub(super) fn heard(&mut self, session: u32, event: Event) {
        // A listener of before a change of lane, or of a group that was left.
        let Some(index) = self.rooms.index_of_session(session) else { return };
        match event {
            Event::Message { message, content, lane, .. } => self.message(index, message, content, lane),
            Event::Ready { next_seq, lane, .. } => self.ready(index, next_seq, lane),
            // What was asked for at the door is read, not missing.
            Event::Gap { .. } if self.rooms[index].state == RoomState::Entering => {}
            Event::Gap { range, .. } => self.gap(index, range, |room, range, now| room.timeline.missing(range, now)),
            Event::GapFilled { range, .. } => self.gap(index, range, |room, range, _| room.timeline.filled(range)),
            Event::Lost { range, .. } => self.gap(index, range, |room, range, now| room.timeline.lost(range, now)),
            Event::Forged { range, .. } => {
                self.rooms[index].timeline.go_back(range.first);
                let (first, last) = (range.first.to_string(), range.last.to_string());
                self.note(index, Word::WereForged, &[("first", &first), ("last", &last)], true);
            }
            Event::LaneChanged { lane, why, .. } => {
                self.rooms[index].lane = Some(lane);
                let lane = self.lang.say(lane_word(lane));
                self.note(index, Word::LaneChanged, &[("lane", lane), ("why", &one_line(&why))], false);
            }
            Event::Reconnecting { why, .. } if self.rooms[index].state != RoomState::Away => {
                self.rooms[index].state = RoomState::Away;
                self.note(index, Word::CannotBeReached, &[("why", &one_line(&why))], true);
            }
            Event::Reconnected { .. } if self.rooms[index].state == RoomState::Away => {
                self.rooms[index].state = RoomState::Open;
                self.note(index, Word::ReachedAgain, &[], false);
            }
            Event::Reconnecting { .. } | Event::Reconnected { .. } => {}
            Event::HistoryLost { group, .. } => self.history_lost(index, &group),
            Event::GroupGone { why, .. } => {
                self.rooms[index].state = RoomState::Gone;
                self.note(index, Word::IsGone, &[("why", &one_line(&why))], true);
                self.effect(Effect::Save);
            }
        }
        self.touch();
    }

    /// From `next` on everything comes; what was said before is read.
    fn ready(&mut self, index: usize, next: Seq, lane: Lane) {
        let seen = index == self.rooms.current_index();
        let room = &mut self.rooms[index];
        room.state = RoomState::Open;
        room.lane = Some(lane);
        room.timeline.set_head(Seq(next.0.saturating_sub(1)));
        let head = room.timeline.head();
        room.marks.begin(head);
        let (group, session) = (room.name.clone(), room.session);
        if room.timeline.is_unread() && head > Seq::ZERO {
            room.loading = true;
            self.effect(Effect::Read { group: group.clone(), page: HistoryPage::NEWEST, session, jump: None });
        } else {
            self.greet(index);
            self.look();
        }
        if seen {
            self.effect(Effect::Members(group));
        }
    }

    /// Says what was to be said at the beginning.
    pub(super) fn greet(&mut self, index: usize) {
        if index == self.rooms.current_index()
            && let Some(text) = self.greeting.take()
        {
            let notice = What::Notice(Notice { text, trouble: false });
            let now_us = self.now_us;
            self.rooms[index].timeline.note(notice, now_us);
        }
    }

    fn message(&mut self, index: usize, message: Message, content: Content, lane: Lane) {
        let incoming = IncomingMessage::of(&message, content, lane);
        if incoming.seq == Seq::ZERO {
            return self.loose(index, incoming);
        }
        let news = self.news(index, &incoming);
        // A publisher whose client id was taken goes on under another one, and the device says nothing where there is none.
        let own = incoming.device == self.me.device && (incoming.client == self.me.client || !self.me.device.is_none());
        let room = &mut self.rooms[index];
        room.lane = Some(lane).filter(|lane| *lane != Lane::History).or(room.lane);
        let seq = incoming.seq;
        if own {
            room.composer.received(seq, &incoming.kind);
        }
        let keep = room.keep();
        room.timeline.append(incoming, keep);
        match news {
            News::None => room.marks.pass(seq),
            News::Words { mention, title, body } => self.count(index, seq, mention, title, body),
        }
    }

    /// New words of somebody else: counted unless they are seen, told of as the person wishes.
    fn count(&mut self, index: usize, seq: Seq, mention: bool, title: String, body: String) {
        let seen = self.is_seen(index);
        let room = &mut self.rooms[index];
        if seen {
            room.read_all();
        } else {
            room.marks.count(seq, mention);
        }
        let wanted = match self.settings.notify {
            Notify::All => true,
            Notify::Mentions => mention,
            Notify::Off => false,
        };
        // Whoever looks at it needs no bell; where the terminal does not say so, it may be behind another window.
        if wanted && !(seen && self.focused == Some(true)) {
            self.notify_person(title, body);
        }
    }

    fn news(&self, index: usize, incoming: &IncomingMessage) -> News {
        let room = &self.rooms[index];
        let (body, reply) = match &incoming.kind {
            Kind::Text(body) => (body, None),
            Kind::Reply { to, body } => (body, Some(*to)),
            Kind::Edit { .. } | Kind::Delete { .. } | Kind::React { .. } => return News::None,
            Kind::Join | Kind::Leave { .. } | Kind::Unknown { .. } => return News::None,
        };
        if incoming.device == self.me.device && !incoming.device.is_none() {
            return News::None;
        }
        let words = one_line(&String::from_utf8_lossy(&body[..body.len().min(4 * NOTIFIED)])).into_owned();
        let to_own = reply.and_then(|to| room.timeline.entry(to)).is_some_and(|entry| entry.device == self.me.device);
        let mention = to_own || names(&String::from_utf8_lossy(body), &self.me.name);
        let title = format!("{} · {}", incoming.name, room.name);
        News::Words { mention, title, body: words.chars().take(NOTIFIED).collect() }
    }

    /// Words without a place in any log.
    fn loose(&mut self, index: usize, incoming: IncomingMessage) {
        let now_us = self.now_us;
        if let Kind::Text(body) | Kind::Reply { body, .. } = &incoming.kind {
            let what = What::Loose { name: incoming.name.clone(), words: lines_of_bytes(body) };
            self.rooms[index].timeline.note(what, now_us);
        }
    }

    fn gap(&mut self, index: usize, range: SeqRange, change: impl FnOnce(&mut Room, SeqRange, u64)) {
        let now_us = self.now_us;
        change(&mut self.rooms[index], range, now_us);
    }

    fn history_lost(&mut self, index: usize, group: &GroupInfo) {
        self.rooms[index].restart(group.log);
        self.note(index, Word::HistoryLost, &[], true);
    }

    /// One quiet line in the conversation.
    pub(super) fn note(&mut self, index: usize, word: Word, values: &[(&str, &str)], trouble: bool) {
        let text = self.lang.fill(word, values);
        let now_us = self.now_us;
        self.rooms[index].timeline.note(What::Notice(Notice { text, trouble }), now_us);
        self.touch();
    }
}

/// What of a message is new to the person.
enum News {
    /// Nothing that needs a count.
    None,
    /// Words of somebody else.
    Words {
        /// The person is named or answered.
        mention: bool,
        /// Who and where.
        title: String,
        /// Their beginning, harmless.
        body: String,
    },
}
