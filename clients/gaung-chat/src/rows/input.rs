//! The rows that the line being typed takes.

use gaung_terminal::wrap::{columns, rows, shortened};

use crate::{
    layout::areas::ScreenAreas,
    model::{Model, composer::Intent},
};

/// Returns how many rows the line would take of a screen with so many columns.
pub(crate) fn wanted_rows(model: &Model, width: usize) -> usize {
    let Some(room) = model.room() else { return 1 };
    if room.composer.editor.text().len() > width * usize::from(ScreenAreas::input_limit(model.size.1)) {
        return usize::from(ScreenAreas::input_limit(model.size.1));
    }
    let lead = columns(&prompt(model, width));
    rows(room.composer.editor.text(), text_width(width, lead), text_width(width, lead)).len()
}

/// Returns what stands before the line: the group's name, and a sign that tells what the line is for.
pub(crate) fn prompt(model: &Model, width: usize) -> String {
    let Some(room) = model.room() else { return String::new() };
    let sign = match room.composer.intent {
        Intent::Say => "> ",
        Intent::Reply(_) => "↩ ",
        Intent::Edit(_) => "✎ ",
    };
    format!("{}{sign}", shortened(room.name.as_str(), (width / 4).max(4)))
}

/// Returns the columns of the text; one is left for the cursor behind the last character.
pub(crate) fn text_width(width: usize, lead: usize) -> usize {
    width.saturating_sub(lead + 1).max(1)
}
