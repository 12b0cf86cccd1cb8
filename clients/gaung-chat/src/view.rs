//! Draws the model into a buffer; it changes nothing.

mod bars;
mod input;
mod overlay;
mod panes;

use ratatui::{
    buffer::{Buffer, CellDiffOption},
    layout::{Position, Rect},
    style::Style,
    text::Line,
};

use super::{
    model::{Model, room::RoomState},
    rows::{areas, viewport::Viewport},
    theme::Theme,
    ui_text::UiText,
};
use gaung_terminal::wrap::columns;

/// Draws the whole screen; returns the position of the cursor, or `None` if it is hidden.
pub(crate) fn draw(model: &Model, theme: Theme, buffer: &mut Buffer) -> Option<Position> {
    let areas = areas(&model.context, model.room());
    bars::title(model, theme, areas.title, buffer);
    if let Some(area) = areas.groups {
        panes::groups(model, theme, area, buffer);
        vertical_line(theme, area.right(), area, buffer);
    }
    if let Some(area) = areas.members {
        panes::members(model, theme, area, buffer);
        vertical_line(theme, area.x.saturating_sub(1), area, buffer);
    }
    if let Some(room) = model.room() {
        let rows = Viewport::of(room, &model.context, theme).rows();
        let empty = usize::from(areas.talk.height).saturating_sub(rows.len());
        for (index, row) in rows.iter().enumerate() {
            put(buffer, areas.talk, empty + index, row);
        }
        if rows.is_empty() && room.state == RoomState::Open && !room.loading {
            let hint = Line::styled(format!(" {}", model.context.lang.text(UiText::Empty)), theme.dim());
            put(buffer, areas.talk, usize::from(areas.talk.height).saturating_sub(1), &hint);
        }
    }
    bars::status(model, theme, areas.status, buffer);
    let cursor = input::draw(model, theme, areas.input, buffer);
    if let Some(shown) = &model.overlay {
        overlay::draw(model, theme, shown, Rect::new(0, 0, model.context.size.0, areas.status.y), buffer);
    }
    redraw_after_emoji(buffer);
    cursor.filter(|_| model.overlay.is_none())
}

/// Marks what is behind an emoji of several characters (flags, families, skin tones) to be written in every frame.
///
/// Terminals disagree on how many columns such an emoji takes, so that a part of it would stay on the screen otherwise.
fn redraw_after_emoji(buffer: &mut Buffer) {
    let area = buffer.area;
    for y in area.top()..area.bottom() {
        let disputed = |x: &u16| {
            let symbol = buffer[(*x, y)].symbol();
            symbol.chars().nth(1).is_some() && columns(symbol) > 1
        };
        if let Some(first) = (area.left()..area.right()).find(disputed) {
            (first..area.right()).for_each(|x| {
                buffer[(x, y)].set_diff_option(CellDiffOption::AlwaysUpdate);
            });
        }
    }
}

/// Draws one row of an area; what does not fit is cut off.
fn put(buffer: &mut Buffer, area: Rect, row: usize, line: &Line<'_>) {
    let Ok(row) = u16::try_from(row) else { return };
    if row < area.height {
        let place = Rect::new(area.x, area.y + row, area.width, 1);
        buffer.set_style(place, line.style);
        buffer.set_line(place.x, place.y, line, place.width);
    }
}

fn vertical_line(theme: Theme, x: u16, beside: Rect, buffer: &mut Buffer) {
    for y in beside.top()..beside.bottom() {
        if let Some(cell) = buffer.cell_mut((x, y)) {
            cell.set_symbol("│").set_style(theme.dim());
        }
    }
}

fn fill(buffer: &mut Buffer, area: Rect, style: Style) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.reset();
                cell.set_style(style);
            }
        }
    }
}

#[cfg(test)]
mod tests;
