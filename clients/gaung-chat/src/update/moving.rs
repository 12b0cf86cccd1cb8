//! From group to group, and through what was said.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gaung_client::HistoryPage;
use gaung_proto::Seq;

use crate::{
    effect::Effect,
    layout::scroll::{LowerEdge, NEAR_TOP, NearEnd},
    model::{
        Model,
        room::{RoomState, Scroll},
        timeline::{Entry, ItemKey},
    },
    rows::{self, conversation::item_rows},
    theme::Theme,
    words::Word,
};

/// Messages of one page.
pub(crate) const PAGE: u64 = 200;

impl Model {
    /// Keys that move; true if it was one.
    pub(super) fn move_key(&mut self, key: KeyEvent, control: bool, alt: bool) -> bool {
        let page = isize::try_from(self.talk_height().saturating_sub(2).max(1)).unwrap_or(1);
        match (key.code, control, alt) {
            (KeyCode::PageUp, false, false) => self.scroll(-page),
            (KeyCode::PageDown, false, false) => self.scroll(page),
            (KeyCode::Up, true, false) => self.scroll(-1),
            (KeyCode::Down, true, false) => self.scroll(1),
            (KeyCode::Up, false, _) if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.select(true),
            (KeyCode::Down, false, _) if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.select(false),
            (KeyCode::Home, true, _) => self.go_to_oldest(),
            (KeyCode::End, true, _) => self.go_to_latest(),
            (KeyCode::Char('n'), true, _) | (KeyCode::PageDown, true, _) => self.step(1),
            (KeyCode::Char('p'), true, _) | (KeyCode::PageUp, true, _) => self.step(self.rooms.len().saturating_sub(1)),
            (KeyCode::Char('a'), false, true) => self.next_activity(),
            (KeyCode::Char('/'), false, true) => self.go(self.rooms.former_index()),
            (KeyCode::Char(digit @ '1'..='9'), false, true) => self.go(digit as usize - '1' as usize),
            _ => return false,
        }
        true
    }

    /// Goes to a group by its index.
    pub(crate) fn go(&mut self, index: usize) {
        if !self.rooms.turn_to(index) {
            return;
        }
        self.completion = None;
        self.look();
        let room = &self.rooms[index];
        if room.id.is_some() {
            self.effect(Effect::Members(room.name.clone()));
        }
        self.effect(Effect::Save);
        self.touch();
    }

    fn step(&mut self, by: usize) {
        if self.rooms.len() > 0 {
            self.go((self.rooms.current_index() + by) % self.rooms.len());
        }
    }

    /// The next group in which the person is named, else in which something is new, else the former one.
    fn next_activity(&mut self) {
        match self.rooms.next_activity() {
            Some(index) if index != self.rooms.current_index() => self.go(index),
            Some(_) => self.go_to_latest(),
            None => self.tell(Word::NothingNew, &[]),
        }
    }

    /// Rows of the conversation seen at once.
    pub(crate) fn talk_height(&self) -> usize {
        usize::from(rows::arranged(self).talk.height)
    }

    /// Moves through the conversation; asks for the next page where it is near.
    pub(super) fn scroll(&mut self, rows: isize) {
        let height = self.talk_height();
        // Colours take no room.
        let Some(formatter) = rows::formatter(self, Theme::plain()) else { return };
        let (from, steps) = (formatter.room.lower_edge(), rows.unsigned_abs());
        let (edge, near) = match rows < 0 {
            true => item_rows(&formatter).up(from, steps, height),
            false => item_rows(&formatter).down(from, steps),
        };
        self.scrolled(edge, near);
    }

    fn scrolled(&mut self, edge: LowerEdge, near: NearEnd) {
        if let Some(room) = self.room_mut() {
            room.scroll_to(edge);
        }
        match near {
            NearEnd::Top => self.load_older(),
            NearEnd::Bottom => self.load_newer(),
            NearEnd::Neither => {}
        }
        self.look();
        self.touch();
    }

    pub(super) fn load_older(&mut self) {
        let Some(room) = self.room_mut() else { return };
        let Some(before) = room.timeline.before().filter(|_| !room.loading && room.state != RoomState::Gone) else {
            return;
        };
        self.read(HistoryPage::Before(before), None);
    }

    fn load_newer(&mut self) {
        let Some(room) = self.room_mut() else { return };
        if !room.timeline.is_live() && !room.loading {
            let after = room.timeline.after();
            self.read(HistoryPage::From(after), None);
        }
    }

    fn read(&mut self, page: HistoryPage, jump: Option<Seq>) {
        let Some(room) = self.room_mut() else { return };
        room.loading = true;
        let (group, session) = (room.name.clone(), room.session);
        self.effect(Effect::Read { group, page, session, jump });
    }

    /// To the newest message, which may have to be read again.
    pub(crate) fn go_to_latest(&mut self) {
        let Some(room) = self.room_mut() else { return };
        room.scroll = Scroll::Latest;
        room.selected = None;
        if !room.timeline.is_live() {
            room.timeline.clear(None);
            self.read(HistoryPage::NEWEST, None);
        }
        self.look();
        self.touch();
    }

    /// To the oldest message that the log keeps.
    pub(super) fn go_to_oldest(&mut self) {
        let Some(room) = self.room_mut() else { return };
        if room.timeline.before().is_some() {
            self.read(HistoryPage::From(Seq::ZERO), Some(Seq::FIRST));
            return;
        }
        self.show_oldest();
    }

    /// The upper end of the window.
    pub(super) fn show_oldest(&mut self) {
        let height = self.talk_height();
        let Some(formatter) = rows::formatter(self, Theme::plain()) else { return };
        let edge = item_rows(&formatter).topmost(height);
        self.scrolled(edge, NearEnd::Neither);
    }

    /// To a message, wherever in the log it is.
    pub(crate) fn jump(&mut self, seq: Seq) {
        let Some(room) = self.room() else { return };
        if room.timeline.entry(seq).is_some() {
            self.show(seq);
            return;
        }
        // Half a page before it, so that it is not at the edge.
        let from = Seq(seq.0.saturating_sub(PAGE / 2).max(1));
        self.read(HistoryPage::From(from), Some(seq));
    }

    /// A message of the window, in the middle and selected.
    pub(crate) fn show(&mut self, seq: Seq) {
        let height = self.talk_height();
        let Some(formatter) = rows::formatter(self, Theme::plain()) else { return };
        let edge = item_rows(&formatter).centred(formatter.room.index_near(seq), height);
        let Some(room) = self.room_mut() else { return };
        if let Some(edge) = edge {
            room.scroll_to(edge);
        }
        room.selected = room.timeline.entry(seq).map(|entry| entry.seq);
        self.touch();
    }

    /// Selects the message above or below the selected one; the newest first.
    pub(super) fn select(&mut self, above: bool) {
        let Some(room) = self.room() else { return };
        let items = room.timeline.items();
        let seqs = |range: std::ops::Range<usize>| {
            items.range(range).filter_map(|item| item.entry()).map(|entry: &Entry| entry.seq)
        };
        let at = room.selected.map(|seq| room.timeline.find(ItemKey::of(seq)).unwrap_or_else(|index| index));
        let next = match (at, above) {
            (None, true) => seqs(0..self.lowest()).next_back(),
            (None, false) => None,
            (Some(index), true) => seqs(0..index).next_back(),
            (Some(index), false) => seqs((index + 1).min(items.len())..items.len()).next(),
        };
        match (next, above) {
            (Some(seq), _) => {
                if let Some(room) = self.room_mut() {
                    room.selected = Some(seq);
                }
                self.keep_in_sight(seq);
            }
            (None, true) => self.load_older(),
            (None, false) => {
                if let Some(room) = self.room_mut() {
                    room.selected = None;
                }
                self.go_to_latest();
            }
        }
    }

    /// Index after the lowest item seen.
    fn lowest(&self) -> usize {
        let Some(room) = self.room() else { return 0 };
        match room.scroll {
            Scroll::Latest => room.timeline.items().len(),
            Scroll::At { key, .. } => room.timeline.find(key).map_or_else(|index| index, |index| index + 1),
        }
    }

    fn keep_in_sight(&mut self, seq: Seq) {
        let height = self.talk_height();
        let Some(formatter) = rows::formatter(self, Theme::plain()) else { return };
        let Ok(index) = formatter.room.timeline.find(ItemKey::of(seq)) else { return };
        if item_rows(&formatter).is_visible(index, formatter.room.lower_edge(), height) {
            return;
        }
        let edge = item_rows(&formatter).centred(index, height).unwrap_or(LowerEdge::End);
        self.scrolled(edge, if index < NEAR_TOP { NearEnd::Top } else { NearEnd::Neither });
    }
}
