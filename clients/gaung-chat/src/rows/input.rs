//! The rows that the line being typed takes.

use gaung_terminal::wrap::{columns, rows, shortened};

use crate::{
    layout::areas::ScreenAreas,
    model::{composer::ComposeIntent, room::Room},
};

/// Returns how many rows the line would take of a screen of this size.
pub(crate) fn wanted_rows(room: &Room, (width, height): (u16, u16)) -> usize {
    let (width, limit) = (usize::from(width), usize::from(ScreenAreas::input_limit(height)));
    let text = room.composer.editor.text();
    if text.len() > width * limit {
        return limit;
    }
    let width = text_width(width, columns(&prompt(room, width)));
    rows(text, width, width).len()
}

/// Returns the prompt: the group's name, and a sign for what the line is for.
pub(crate) fn prompt(room: &Room, width: usize) -> String {
    let sign = match room.composer.intent {
        ComposeIntent::Say => "> ",
        ComposeIntent::Reply(_) => "↩ ",
        ComposeIntent::Edit(_) => "✎ ",
    };
    format!("{}{sign}", shortened(room.name.as_str(), (width / 4).max(4)))
}

/// Returns the columns of the text; one is left for the cursor behind the last character.
pub(crate) fn text_width(width: usize, lead: usize) -> usize {
    width.saturating_sub(lead + 1).max(1)
}
