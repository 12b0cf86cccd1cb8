//! Reading one group: scrolling through its conversation, selecting messages, loading pages of its log.

use gaung_client::HistoryPage;
use gaung_proto::Seq;

use crate::{
    effect::{Effect, PAGE},
    incoming::IncomingMessage,
    layout::scroll::{LowerEdge, NearEnd},
    model::{
        context::ChatContext,
        room::{Room, RoomState, Scroll},
        timeline::ItemKey,
    },
    rows::viewport::Viewport,
    theme::Theme,
    ui_text::UiText,
};

impl Room {
    /// Scrolls by so many rows, down if positive, and loads the next page where its edge is near.
    pub(super) fn scroll(&mut self, rows: isize, context: &mut ChatContext) {
        let (edge, near) = self.viewport(context).scrolled(rows);
        self.scrolled(edge, near, context);
    }

    /// Scrolls by so many screens less two rows.
    pub(super) fn scroll_pages(&mut self, pages: isize, context: &mut ChatContext) {
        let rows = self.viewport(context).height().saturating_sub(2).max(1);
        self.scroll(pages * isize::try_from(rows).unwrap_or(1), context);
    }

    /// Returns the area in which this group is shown. Colours take no room.
    fn viewport<'a>(&'a self, context: &'a ChatContext) -> Viewport<'a> {
        Viewport::of(self, context, Theme::plain())
    }

    fn scrolled(&mut self, edge: LowerEdge, near: NearEnd, context: &mut ChatContext) {
        self.scroll_to(edge);
        match near {
            NearEnd::Top => self.load_older(context),
            NearEnd::Bottom => self.load_newer(context),
            NearEnd::Neither => {}
        }
        self.mark_seen(context);
        context.touch();
    }

    fn load_older(&mut self, context: &mut ChatContext) {
        if let Some(before) = self.timeline.before().filter(|_| !self.loading && self.state != RoomState::Gone) {
            self.read(HistoryPage::Before(before), None, context);
        }
    }

    fn load_newer(&mut self, context: &mut ChatContext) {
        if !self.timeline.is_live() && !self.loading {
            self.read(HistoryPage::From(self.timeline.after()), None, context);
        }
    }

    fn read(&mut self, page: HistoryPage, jump: Option<Seq>, context: &mut ChatContext) {
        self.loading = true;
        context.effect(Effect::Read { group: self.name.clone(), page, session: self.session, jump });
    }

    /// Returns whether the newest message is seen, provided that this group is in view.
    pub(super) fn is_seen(&self, context: &ChatContext) -> bool {
        context.focused != Some(false) && self.at_end()
    }

    /// Counts everything as read if the newest message is seen. This group is in view.
    pub(super) fn mark_seen(&mut self, context: &mut ChatContext) {
        if self.is_seen(context) && self.read_all() {
            context.touch();
        }
    }

    /// Goes to the newest message, whose page is read again if it has left the window.
    pub(super) fn go_to_latest(&mut self, context: &mut ChatContext) {
        self.scroll = Scroll::Latest;
        self.selected = None;
        if !self.timeline.is_live() {
            self.timeline.clear(None);
            self.read(HistoryPage::NEWEST, None, context);
        }
        self.mark_seen(context);
        context.touch();
    }

    /// Goes to the oldest message that the log keeps.
    pub(super) fn go_to_oldest(&mut self, context: &mut ChatContext) {
        if self.timeline.before().is_some() {
            self.read(HistoryPage::From(Seq::ZERO), Some(Seq::FIRST), context);
        } else {
            self.show_oldest(context);
        }
    }

    /// Scrolls to the upper end of the window.
    fn show_oldest(&mut self, context: &mut ChatContext) {
        let edge = self.viewport(context).topmost();
        self.scrolled(edge, NearEnd::Neither, context);
    }

    /// Goes to a message anywhere in the log.
    pub(super) fn jump(&mut self, seq: Seq, context: &mut ChatContext) {
        if self.timeline.entry(seq).is_some() {
            self.show(seq, context);
            return;
        }
        // Half a page before it, so that it is not at the edge.
        let from = Seq(seq.0.saturating_sub(PAGE / 2).max(1));
        self.read(HistoryPage::From(from), Some(seq), context);
    }

    /// Scrolls to a message of the window so that it is in the middle, and selects it.
    fn show(&mut self, seq: Seq, context: &mut ChatContext) {
        if let Some(edge) = self.viewport(context).centred(self.index_near(seq)) {
            self.scroll_to(edge);
        }
        self.selected = self.timeline.entry(seq).map(|entry| entry.seq);
        context.touch();
    }

    /// Replaces the window by a page that was read to show a message, or the oldest one if `None`.
    pub(super) fn land(
        &mut self,
        seq: Option<Seq>,
        messages: Vec<IncomingMessage>,
        is_current: bool,
        context: &mut ChatContext,
    ) {
        let Some(first) = messages.first().map(|incoming| incoming.seq) else {
            return context.warn(UiText::NoSuchMessage, &[("seq", &seq.unwrap_or(Seq::FIRST).to_string())]);
        };
        self.timeline.clear(Some(first));
        self.timeline.extend(messages);
        match seq {
            Some(seq) if is_current => self.show(seq.max(first), context),
            None if is_current => self.show_oldest(context),
            Some(_) | None => {}
        }
    }

    /// Adds a page that begins at `from` to the lower end of the window, unless that has moved meanwhile.
    pub(super) fn extend(&mut self, from: Seq, messages: Vec<IncomingMessage>) {
        if self.timeline.after() != from {
            return;
        }
        let empty = messages.is_empty();
        if self.timeline.extend(messages) || empty {
            return;
        }
        // The person reads at its end, and shall not be moved by the page after it.
        if let (Scroll::Latest, Some(last)) = (self.scroll, self.timeline.items().back()) {
            self.scroll = Scroll::At { key: last.key, below: 0 };
        }
    }

    /// Selects the message above or below the selected one; at first the lowest one that is seen.
    pub(super) fn select(&mut self, above: bool, context: &mut ChatContext) {
        let items = self.timeline.items();
        let seqs =
            |range: std::ops::Range<usize>| items.range(range).filter_map(|item| item.entry()).map(|entry| entry.seq);
        let at = self.selected.map(|seq| self.timeline.find(ItemKey::of(seq)).unwrap_or_else(|index| index));
        let next = match (at, above) {
            (None, true) => seqs(0..self.lowest()).next_back(),
            (None, false) => None,
            (Some(index), true) => seqs(0..index).next_back(),
            (Some(index), false) => seqs((index + 1).min(items.len())..items.len()).next(),
        };
        match (next, above) {
            (Some(seq), _) => {
                self.selected = Some(seq);
                self.reveal(seq, context);
            }
            (None, true) => self.load_older(context),
            (None, false) => self.go_to_latest(context),
        }
    }

    /// Returns the index after the lowest item that is seen.
    fn lowest(&self) -> usize {
        match self.scroll {
            Scroll::Latest => self.timeline.items().len(),
            Scroll::At { key, .. } => self.timeline.find(key).map_or_else(|index| index, |index| index + 1),
        }
    }

    /// Scrolls to a message unless all of it is seen.
    fn reveal(&mut self, seq: Seq, context: &mut ChatContext) {
        let Ok(index) = self.timeline.find(ItemKey::of(seq)) else { return };
        if let Some((edge, near)) = self.viewport(context).revealed(index) {
            self.scrolled(edge, near, context);
        }
    }
}
