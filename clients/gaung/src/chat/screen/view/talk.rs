//! Which rows of a conversation are seen, and how to move among them.

use ratatui::text::Line;

use super::rows::Look;
use crate::chat::screen::model::{room::Scroll, timeline::Place};

/// The rows seen, from above to below, at most `height`.
pub(crate) fn visible(look: &Look<'_>, height: usize) -> Vec<Line<'static>> {
    // From below to above, for the lowest is where the person stands.
    let mut rows: Vec<Line<'static>> = Vec::with_capacity(height);
    let (mut index, below) = position(look);
    let mut hidden = below;
    if look.room.scroll == Scroll::Latest {
        for pending in look.room.pending.iter().rev() {
            rows.extend(look.pending(pending).into_iter().rev());
        }
    }
    while rows.len() < height && index > 0 {
        index -= 1;
        rows.extend(of(look, index).into_iter().rev().skip(hidden));
        hidden = 0;
    }
    rows.truncate(height);
    rows.reverse();
    rows
}

/// So many rows up or down from where the person stands; where that ends, and whether an end of the window is near.
pub(crate) fn moved(look: &Look<'_>, rows: isize, height: usize) -> (Scroll, Edge) {
    let (count, below) = position(look);
    let last = look.room.timeline.items().len();
    if last == 0 {
        return (Scroll::Latest, Edge::Top);
    }
    let steps = rows.unsigned_abs();
    if rows < 0 { up(look, count.max(1) - 1, below, steps, height) } else { down(look, count.max(1) - 1, below, steps) }
}

/// The oldest item at the upper edge.
pub(crate) fn topmost(look: &Look<'_>, height: usize) -> Scroll {
    let items = look.room.timeline.items();
    let mut filled = 0;
    for (index, item) in items.iter().enumerate() {
        filled += of(look, index).len();
        if filled >= height && index + 1 < items.len() {
            return Scroll::At { place: item.place, below: filled - height };
        }
    }
    Scroll::Latest
}

/// A message in the middle, if it is in the window.
pub(crate) fn centred(look: &Look<'_>, place: Place, height: usize) -> Option<Scroll> {
    let items = look.room.timeline.items();
    let found = look.room.timeline.find(place).unwrap_or_else(|index| index.min(items.len().saturating_sub(1)));
    let mut rows = 0;
    for (index, item) in items.iter().enumerate().skip(found) {
        rows += of(look, index).len();
        if rows >= height / 2 {
            return Some(Scroll::At { place: item.place, below: 0 });
        }
    }
    (!items.is_empty()).then_some(Scroll::Latest)
}

/// What is near after a movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Little is left above.
    Top,
    /// Nothing is left below.
    Bottom,
    /// There is room both ways.
    Neither,
}

/// So few items above mean that the next page is wanted.
const NEAR: usize = 60;

fn up(look: &Look<'_>, mut index: usize, mut below: usize, mut steps: usize, height: usize) -> (Scroll, Edge) {
    loop {
        let rows = of(look, index).len();
        if below + steps < rows || index == 0 {
            below = (below + steps).min(rows.saturating_sub(1));
            break;
        }
        steps -= rows - below;
        (index, below) = (index - 1, 0);
    }
    let edge = if index < NEAR { Edge::Top } else { Edge::Neither };
    let top = topmost(look, height);
    let scroll = Scroll::At { place: look.room.timeline.items()[index].place, below };
    // Not above the first row.
    let above_all = match top {
        Scroll::Latest => true,
        Scroll::At { place, below: top_below } => {
            let top_index = look.room.timeline.find(place).unwrap_or_else(|index| index);
            index < top_index || (index == top_index && below > top_below)
        }
    };
    (if above_all { top } else { scroll }, edge)
}

fn down(look: &Look<'_>, mut index: usize, mut below: usize, mut steps: usize) -> (Scroll, Edge) {
    let last = look.room.timeline.items().len() - 1;
    while steps > below {
        steps -= below;
        if index == last {
            return (Scroll::Latest, Edge::Bottom);
        }
        index += 1;
        below = of(look, index).len();
    }
    below -= steps;
    if index == last && below == 0 {
        return (Scroll::Latest, Edge::Bottom);
    }
    (Scroll::At { place: look.room.timeline.items()[index].place, below }, Edge::Neither)
}

/// How many items are not below the edge, and rows of the last of them that are.
fn position(look: &Look<'_>) -> (usize, usize) {
    match look.room.scroll {
        Scroll::Latest => (look.room.timeline.items().len(), 0),
        Scroll::At { place, below } => match look.room.timeline.find(place) {
            Ok(index) => (index + 1, below),
            Err(index) => (index, 0),
        },
    }
}

fn of(look: &Look<'_>, index: usize) -> Vec<Line<'static>> {
    let items = look.room.timeline.items();
    look.item(&items[index], index.checked_sub(1).map(|before| &items[before]))
}

/// True if all of an item is seen.
pub(crate) fn is_visible(look: &Look<'_>, place: Place, height: usize) -> bool {
    let (count, below) = position(look);
    let Ok(wanted) = look.room.timeline.find(place) else { return false };
    if wanted >= count || (wanted + 1 == count && below > 0) {
        return false;
    }
    let mut rows = 0;
    for index in (wanted..count).rev() {
        rows += of(look, index).len();
        if rows > height + below {
            return false;
        }
    }
    true
}
