//! The title above the conversation, and the status line below it.

use gaung_terminal::wrap::{columns, fitted, shortened};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::put;
use crate::{
    model::{
        Model,
        composer::ComposeIntent,
        room::{Room, RoomState, Scroll},
    },
    theme::Theme,
    ui_text::{UiText, lane_name},
};

/// Draws the title: the group, its lane, how many are present, and the person's name.
pub(super) fn title(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let (left, right) = match model.room() {
        Some(room) => (about(model, room), format!("{} ", model.context.me.name)),
        None => (String::new(), String::new()),
    };
    let right = shortened(&right, width / 3);
    let left = fitted(&left, width.saturating_sub(columns(&right)));
    put(buffer, area, 0, &Line::styled(format!("{left}{right}"), theme.selected()));
}

fn about(model: &Model, room: &Room) -> String {
    let lang = model.context.lang;
    let mut parts = vec![format!(" {}", room.name)];
    match room.state {
        RoomState::Entering => parts.push(lang.text(UiText::Entering).to_owned()),
        RoomState::Away => parts.push(lang.text(UiText::Reconnecting).to_owned()),
        RoomState::Gone => parts.push(lang.text(UiText::GroupGone).to_owned()),
        RoomState::Open => {
            if let Some(lane) = room.lane {
                parts.push(lang.fill(UiText::ByLane, &[("lane", lang.text(lane_name(lane)))]));
            }
        }
    }
    if room.private {
        parts.push(lang.text(UiText::Private).to_owned());
    }
    let here = room.roster.present_count();
    if room.roster.known {
        parts.push(lang.fill(UiText::PeopleHere, &[("count", &here.to_string())]));
    }
    if !room.address.is_empty() {
        parts.push(room.address.clone());
    }
    parts.join(" · ")
}

/// Draws the status line: the status message, what is selected or being written, or a hint; on the right what is below
/// the lower edge.
pub(super) fn status(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let right = below(model);
    let room_left = width.saturating_sub(columns(&right) + 1);
    let (text, style) = match (model.context.status_message(), activity(model)) {
        (Some(status), _) => (status.text.clone(), if status.is_error { theme.error() } else { theme.bold() }),
        (None, Some(activity)) => (activity, theme.accent()),
        (None, None) => (model.context.lang.text(UiText::Hint).to_owned(), theme.dim()),
    };
    let left = fitted(&format!(" {text}"), room_left);
    let line = Line::from(vec![Span::styled(left, style), Span::raw(" "), Span::styled(right, theme.accent())]);
    put(buffer, area, 0, &line);
}

fn activity(model: &Model) -> Option<String> {
    let room = model.room()?;
    let of = |seq| match room.timeline.entry(seq) {
        Some(entry) => format!("{}: {}", entry.name, entry.text().unwrap_or_default().replace('\n', " ")),
        None => format!("#{seq}"),
    };
    match (room.selected, room.composer.intent) {
        (Some(seq), _) => Some(model.context.lang.fill(UiText::SelectedHint, &[("seq", &seq.to_string())])),
        (None, ComposeIntent::Reply(seq)) => {
            Some(model.context.lang.fill(UiText::ReplyingTo, &[("message", &of(seq))]))
        }
        (None, ComposeIntent::Edit(seq)) => Some(model.context.lang.fill(UiText::Editing, &[("message", &of(seq))])),
        (None, ComposeIntent::Say) => None,
    }
}

fn below(model: &Model) -> String {
    let Some(room) = model.room() else { return String::new() };
    if room.loading {
        return format!("{} ", model.context.lang.text(UiText::Loading));
    }
    match (room.scroll, room.marks.unread) {
        (Scroll::Latest, _) if room.timeline.is_live() => String::new(),
        (_, 0) => format!("{} ", model.context.lang.text(UiText::MoreBelow)),
        (_, count) => format!("{} ", model.context.lang.fill(UiText::NewBelow, &[("count", &count.to_string())])),
    }
}
