//! Draws what covers the conversation: the help, a message with its receipt, or a list.

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use super::{fill, put};
use crate::{
    model::{Model, overlay::Overlay},
    rows::overlay::{WIDEST, help, info, listed},
    theme::Theme,
    ui_text::UiText,
};
use gaung_terminal::wrap::{columns, fitted, shortened};

/// Draws an overlay in the middle of `area`.
pub(super) fn draw(model: &Model, theme: Theme, overlay: &Overlay, area: Rect, buffer: &mut Buffer) {
    let (context, room) = (&model.context, model.room());
    let width = area.width.min(WIDEST);
    let inner = usize::from(width.saturating_sub(4));
    let (title, lines, top, chosen) = match overlay {
        Overlay::Help { top } => {
            (context.lang.text(UiText::HelpTitle).to_owned(), help(context.lang, inner), *top, None)
        }
        Overlay::Info { seq, top } => (format!("#{seq}"), info(context, room, *seq, inner), *top, None),
        Overlay::List(list) => {
            let chosen = list.is_choice().then_some(list.at);
            (list.title.clone(), listed(context.lang, list, inner), list.at, chosen)
        }
    };
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2).min(area.height);
    let frame = Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height);
    fill(buffer, frame, ratatui::style::Style::new());
    let seen = usize::from(height.saturating_sub(2));
    let last_top = lines.len().saturating_sub(seen);
    let top = if chosen.is_some() { (top + 1).saturating_sub(seen) } else { top }.min(last_top);
    let more = if top < last_top { "▼" } else { "─" };
    border(theme, &title, more, frame, buffer);
    let body = Rect::new(frame.x + 2, frame.y + 1, frame.width.saturating_sub(4), frame.height.saturating_sub(2));
    for (row, (index, line)) in lines.iter().enumerate().skip(top).take(seen).enumerate() {
        let style = if chosen == Some(index) { theme.selected() } else { ratatui::style::Style::new() };
        put(buffer, body, row, &Line::styled(fitted(line, inner), style));
    }
}

fn border(theme: Theme, title: &str, more: &str, frame: Rect, buffer: &mut Buffer) {
    let width = usize::from(frame.width);
    let title = shortened(title, width.saturating_sub(6));
    let head = format!("╭─ {title} {}", "─".repeat(width.saturating_sub(5 + columns(&title))));
    put(buffer, frame, 0, &Line::styled(format!("{}╮", fitted(&head, width.saturating_sub(1))), theme.accent()));
    for row in 1..usize::from(frame.height.saturating_sub(1)) {
        put(buffer, frame, row, &Line::styled(format!("│{}│", " ".repeat(width.saturating_sub(2))), theme.accent()));
    }
    let foot = format!("╰{}{more}╯", "─".repeat(width.saturating_sub(3)));
    put(buffer, frame, usize::from(frame.height.saturating_sub(1)), &Line::styled(foot, theme.accent()));
}
