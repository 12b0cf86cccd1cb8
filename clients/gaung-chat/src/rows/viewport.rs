//! The part of a conversation that the screen shows, and how it scrolls.

use ratatui::text::Line;

use super::{RowFormatter, areas};
use crate::{
    layout::scroll::{ItemRows, LowerEdge, NEAR_TOP, NearEnd},
    model::{
        context::ChatContext,
        room::{Room, Scroll},
    },
    theme::Theme,
};

/// The area of the screen in which one group's conversation is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewport<'a> {
    formatter: RowFormatter<'a>,
    height: usize,
}

impl<'a> Viewport<'a> {
    /// Makes the area for a group that is in view.
    pub(crate) fn of(room: &'a Room, context: &'a ChatContext, theme: Theme) -> Self {
        let talk = areas(context, Some(room)).talk;
        let (lang, zone, width) = (context.lang, context.zone, usize::from(talk.width));
        let (me, people) = (&context.me, &context.people);
        let formatter = RowFormatter { lang, zone, theme, people, me, room, width };
        Self { formatter, height: usize::from(talk.height) }
    }

    /// Returns its height in rows.
    pub(crate) const fn height(&self) -> usize {
        self.height
    }

    /// Returns the rows that are seen, from above to below; fewer than its height if there are no more.
    pub(crate) fn rows(&self) -> Vec<Line<'static>> {
        let room = self.formatter.room;
        // From below to above, so that the cost does not depend on what is above the upper edge.
        let mut rows: Vec<Line<'static>> = Vec::with_capacity(self.height);
        let (mut index, below) = self.lowest();
        let mut hidden = below;
        if room.scroll == Scroll::Latest {
            for pending in room.composer.pending.iter().rev() {
                rows.extend(self.formatter.pending(pending).into_iter().rev());
            }
        }
        while rows.len() < self.height && index > 0 {
            index -= 1;
            rows.extend(self.item(index).into_iter().rev().skip(hidden));
            hidden = 0;
        }
        rows.truncate(self.height);
        rows.reverse();
        rows
    }

    /// Returns the lower edge after scrolling by so many rows, down if positive, and which end of the window is near.
    pub(crate) fn scrolled(&self, rows: isize) -> (LowerEdge, NearEnd) {
        let (from, steps) = (self.formatter.room.lower_edge(), rows.unsigned_abs());
        if rows < 0 { self.items().up(from, steps, self.height) } else { self.items().down(from, steps) }
    }

    /// Returns the lower edge with the first item at the upper edge.
    pub(crate) fn topmost(&self) -> LowerEdge {
        self.items().topmost(self.height)
    }

    /// Returns the lower edge with an item in the middle; `None` if there are no items.
    pub(crate) fn centred(&self, index: usize) -> Option<LowerEdge> {
        self.items().centred(index, self.height)
    }

    /// Returns where to scroll so that an item is seen; `None` if all of it is seen already.
    pub(crate) fn revealed(&self, index: usize) -> Option<(LowerEdge, NearEnd)> {
        if self.items().is_visible(index, self.formatter.room.lower_edge(), self.height) {
            return None;
        }
        let near = if index < NEAR_TOP { NearEnd::Top } else { NearEnd::Neither };
        Some((self.centred(index).unwrap_or(LowerEdge::End), near))
    }

    /// Returns the items of the conversation, measured as they are drawn.
    fn items(&self) -> ItemRows<impl Fn(usize) -> usize> {
        ItemRows { count: self.formatter.room.timeline.items().len(), rows: |index| self.item(index).len() }
    }

    /// Returns how many items are not below the lower edge, and how many rows of the last of them are.
    fn lowest(&self) -> (usize, usize) {
        let timeline = &self.formatter.room.timeline;
        match self.formatter.room.scroll {
            Scroll::Latest => (timeline.items().len(), 0),
            Scroll::At { key, below } => match timeline.find(key) {
                Ok(index) => (index + 1, below),
                Err(index) => (index, 0),
            },
        }
    }

    fn item(&self, index: usize) -> Vec<Line<'static>> {
        let items = self.formatter.room.timeline.items();
        self.formatter.item(&items[index], index.checked_sub(1).map(|before| &items[before]))
    }
}
