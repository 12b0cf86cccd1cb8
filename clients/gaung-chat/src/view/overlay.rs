//! What lies over the conversation: the keys, a message's story, a list.

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use super::{
    fill, put,
    rows::{SHOWN, marks::heard},
    theme::Theme,
};
use crate::{
    model::{
        Model,
        overlay::{List, Overlay},
        room::Room,
    },
    words::{Word, day_name, lane_word},
};
use gaung_client::MissingMember;
use gaung_proto::Seq;
use gaung_terminal::wrap::{columns, fitted, rows, shortened};

/// Widest that it gets.
const WIDEST: u16 = 84;

/// Draws it over `area`.
pub(super) fn draw(model: &Model, theme: Theme, overlay: &Overlay, area: Rect, buffer: &mut Buffer) {
    let width = area.width.min(WIDEST);
    let inner = usize::from(width.saturating_sub(4));
    let (title, lines, top, chosen) = match overlay {
        Overlay::Help { top } => (model.lang.say(Word::HelpTitle).to_owned(), help(model, inner), *top, None),
        Overlay::Info { seq, top } => (format!("#{seq}"), info(model, *seq, inner), *top, None),
        Overlay::List(list) => {
            let chosen = list.is_choice().then_some(list.at);
            (list.title.clone(), listed(model, list, inner), list.at, chosen)
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
        let style = if chosen == Some(index) { theme.chosen() } else { ratatui::style::Style::new() };
        put(buffer, body, row, &Line::styled(fitted(line, inner), style));
    }
}

fn border(theme: Theme, title: &str, more: &str, frame: Rect, buffer: &mut Buffer) {
    let width = usize::from(frame.width);
    let title = shortened(title, width.saturating_sub(6));
    let head = format!("╭─ {title} {}", "─".repeat(width.saturating_sub(5 + columns(&title))));
    put(buffer, frame, 0, &Line::styled(format!("{}╮", fitted(&head, width.saturating_sub(1))), theme.fresh()));
    for row in 1..usize::from(frame.height.saturating_sub(1)) {
        put(buffer, frame, row, &Line::styled(format!("│{}│", " ".repeat(width.saturating_sub(2))), theme.fresh()));
    }
    let foot = format!("╰{}{more}╯", "─".repeat(width.saturating_sub(3)));
    put(buffer, frame, usize::from(frame.height.saturating_sub(1)), &Line::styled(foot, theme.fresh()));
}

/// How many rows it has on this screen, for scrolling.
pub(crate) fn rows_of(model: &Model, overlay: &Overlay) -> usize {
    let width = usize::from(model.size.0.min(WIDEST).saturating_sub(4));
    match overlay {
        Overlay::Help { .. } => help(model, width).len(),
        Overlay::Info { seq, .. } => info(model, *seq, width).len(),
        Overlay::List(list) => list.rows.len(),
    }
}

fn help(model: &Model, width: usize) -> Vec<String> {
    wrapped(model.lang.say(Word::Help), width)
}

fn listed(model: &Model, list: &List, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = list.rows.iter().map(|row| shortened(&row.text, width)).collect();
    match (list.busy, lines.is_empty()) {
        (true, _) => lines.push(model.lang.say(Word::Looking).to_owned()),
        (false, true) => lines.push(model.lang.say(Word::NothingFound).to_owned()),
        (false, false) => {}
    }
    lines
}

fn info(model: &Model, seq: Seq, width: usize) -> Vec<String> {
    let Some(room) = model.room() else { return Vec::new() };
    let lang = model.lang;
    let Ok(index) = room.timeline.find(crate::model::timeline::ItemKey::of(seq)) else {
        return vec![lang.say(Word::NotLoaded).to_owned()];
    };
    let item = &room.timeline.items()[index];
    let Some(entry) = item.entry() else { return Vec::new() };
    let when = format!("{}, {}", day_name(lang, model.zone, item.at_us), model.zone.clock_s(item.at_us));
    let mut lines = vec![
        format!("{} · {when}", entry.name),
        lang.fill(Word::CameBy, &[("lane", lang.say(lane_word(entry.lane))), ("device", &entry.device.to_string())]),
    ];
    for reaction in &entry.reactions {
        let names: Vec<_> = reaction.by.iter().map(|(_, name)| name.as_str()).collect();
        lines.push(format!("{}  {}", reaction.emoji, names.join(", ")));
    }
    if let Some(receipt) = room.receipts.get(&seq) {
        lines.push(String::new());
        lines.push(format!("✓ {}", heard(lang, receipt)));
        let missing: Vec<_> = receipt.missing.iter().map(|missing| name_of(room, missing)).collect();
        if !missing.is_empty() {
            lines.push(lang.fill(Word::NotYet, &[("names", &missing.join(", "))]));
        }
        if receipt.absent > 0 {
            lines.push(lang.fill(Word::WereAway, &[("count", &receipt.absent.to_string())]));
        }
    }
    if let Some(words) = entry.words().filter(|words| words.len() > SHOWN) {
        lines.extend([String::new(), words.to_owned()]);
    }
    lines.iter().flat_map(|line| wrapped(line, width)).collect()
}

fn name_of(room: &Room, missing: &MissingMember) -> String {
    if !missing.name.is_empty() {
        return gaung_terminal::sanitise::one_line(&missing.name).into_owned();
    }
    room.roster.name_of(missing.device)
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    rows(text, width, width).into_iter().map(|range| text[range].to_owned()).collect()
}
