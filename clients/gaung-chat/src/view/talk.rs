//! The rows of a conversation that are seen.

use ratatui::text::Line;

use super::rows::Look;
use crate::{layout::scroll::ItemRows, model::room::Scroll};

/// The rows seen, from above to below, at most `height`.
pub(crate) fn visible(look: &Look<'_>, height: usize) -> Vec<Line<'static>> {
    // From below to above, for the lowest is where the person stands.
    let mut rows: Vec<Line<'static>> = Vec::with_capacity(height);
    let (mut index, below) = position(look);
    let mut hidden = below;
    if look.room.scroll == Scroll::Latest {
        for pending in look.room.composer.pending.iter().rev() {
            rows.extend(look.pending(pending).into_iter().rev());
        }
    }
    while rows.len() < height && index > 0 {
        index -= 1;
        rows.extend(item(look, index).into_iter().rev().skip(hidden));
        hidden = 0;
    }
    rows.truncate(height);
    rows.reverse();
    rows
}

/// The items of the conversation, measured as they are drawn.
pub(crate) fn item_rows<'a>(look: &'a Look<'a>) -> ItemRows<impl Fn(usize) -> usize + 'a> {
    ItemRows { count: look.room.timeline.items().len(), rows: |index| item(look, index).len() }
}

/// How many items are not below the edge, and rows of the last of them that are.
fn position(look: &Look<'_>) -> (usize, usize) {
    match look.room.scroll {
        Scroll::Latest => (look.room.timeline.items().len(), 0),
        Scroll::At { key, below } => match look.room.timeline.find(key) {
            Ok(index) => (index + 1, below),
            Err(index) => (index, 0),
        },
    }
}

fn item(look: &Look<'_>, index: usize) -> Vec<Line<'static>> {
    let items = look.room.timeline.items();
    look.item(&items[index], index.checked_sub(1).map(|before| &items[before]))
}
