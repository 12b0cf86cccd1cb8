//! The rows of a conversation that are seen.

use ratatui::text::Line;

use super::RowFormatter;
use crate::{layout::scroll::ItemRows, model::room::Scroll};

/// The rows seen, from above to below, at most `height`.
pub(crate) fn visible(formatter: &RowFormatter<'_>, height: usize) -> Vec<Line<'static>> {
    // From below to above, for the lowest is where the person stands.
    let mut rows: Vec<Line<'static>> = Vec::with_capacity(height);
    let (mut index, below) = position(formatter);
    let mut hidden = below;
    if formatter.room.scroll == Scroll::Latest {
        for pending in formatter.room.composer.pending.iter().rev() {
            rows.extend(formatter.pending(pending).into_iter().rev());
        }
    }
    while rows.len() < height && index > 0 {
        index -= 1;
        rows.extend(item(formatter, index).into_iter().rev().skip(hidden));
        hidden = 0;
    }
    rows.truncate(height);
    rows.reverse();
    rows
}

/// The items of the conversation, measured as they are drawn.
pub(crate) fn item_rows<'a>(formatter: &'a RowFormatter<'a>) -> ItemRows<impl Fn(usize) -> usize + 'a> {
    ItemRows { count: formatter.room.timeline.items().len(), rows: |index| item(formatter, index).len() }
}

/// How many items are not below the edge, and rows of the last of them that are.
fn position(formatter: &RowFormatter<'_>) -> (usize, usize) {
    match formatter.room.scroll {
        Scroll::Latest => (formatter.room.timeline.items().len(), 0),
        Scroll::At { key, below } => match formatter.room.timeline.find(key) {
            Ok(index) => (index + 1, below),
            Err(index) => (index, 0),
        },
    }
}

fn item(formatter: &RowFormatter<'_>, index: usize) -> Vec<Line<'static>> {
    let items = formatter.room.timeline.items();
    formatter.item(&items[index], index.checked_sub(1).map(|before| &items[before]))
}
