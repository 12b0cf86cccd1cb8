//! The line that is being typed.

use gaung_terminal::{
    sanitise::one_line,
    wrap::{columns, rows},
};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    text::{Line, Span},
};

use super::put;
use crate::{
    model::Model,
    rows::input::{prompt, text_width},
    theme::Theme,
};

/// Draws the line; returns the position of the cursor.
pub(super) fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let room = model.room()?;
    let prompt = prompt(room, usize::from(area.width));
    let lead = columns(&prompt);
    let (text, cursor) = (room.composer.editor.text(), room.composer.editor.cursor());
    let width = text_width(usize::from(area.width), lead);
    let ranges = rows(text, width, width);
    let at = ranges.iter().rposition(|range| range.start <= cursor).unwrap_or(0);
    // The row of the cursor is always visible.
    let first = (at + 1).saturating_sub(usize::from(area.height));
    for (row, (index, range)) in ranges.iter().enumerate().skip(first).take(usize::from(area.height)).enumerate() {
        let lead = if index == 0 { prompt.clone() } else { " ".repeat(lead) };
        let spans = vec![Span::styled(lead, theme.bold()), Span::raw(one_line(&text[range.clone()]).into_owned())];
        put(buffer, area, row, &Line::from(spans));
    }
    let column = lead + columns(&one_line(&text[ranges[at].start..cursor.min(ranges[at].end)]));
    let x = area.x + u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    Some(Position::new(x, area.y + u16::try_from(at - first).unwrap_or(0)))
}
