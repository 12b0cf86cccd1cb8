//! The row above and the row below the conversation.

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
        composer::Intent,
        room::{Room, RoomState, Scroll},
    },
    theme::Theme,
    words::{Word, lane_word},
};

/// The group, how it comes, and who is here.
pub(super) fn title(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let (left, right) = match model.room() {
        Some(room) => (about(model, room), format!("{} ", model.context.me.name)),
        None => (String::new(), String::new()),
    };
    let right = shortened(&right, width / 3);
    let left = fitted(&left, width.saturating_sub(columns(&right)));
    put(buffer, area, 0, &Line::styled(format!("{left}{right}"), theme.chosen()));
}

fn about(model: &Model, room: &Room) -> String {
    let lang = model.context.lang;
    let mut parts = vec![format!(" {}", room.name)];
    match room.state {
        RoomState::Entering => parts.push(lang.say(Word::Entering).to_owned()),
        RoomState::Away => parts.push(lang.say(Word::Reconnecting).to_owned()),
        RoomState::Gone => parts.push(lang.say(Word::GroupGone).to_owned()),
        RoomState::Open => {
            if let Some(lane) = room.lane {
                parts.push(lang.fill(Word::ByLane, &[("lane", lang.say(lane_word(lane)))]));
            }
        }
    }
    if room.private {
        parts.push(lang.say(Word::Private).to_owned());
    }
    let here = room.roster.present_count();
    if room.roster.known {
        parts.push(lang.fill(Word::PeopleHere, &[("count", &here.to_string())]));
    }
    if !room.address.is_empty() {
        parts.push(room.address.clone());
    }
    parts.join(" · ")
}

/// What happens, what is being done, or else how to learn more; on the right what waits below.
pub(super) fn status(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let right = below(model);
    let room_left = width.saturating_sub(columns(&right) + 1);
    let (text, style) = match (model.context.status_message(), doing(model)) {
        (Some(status), _) => (status.text.clone(), if status.is_error { theme.trouble() } else { theme.strong() }),
        (None, Some(doing)) => (doing, theme.fresh()),
        (None, None) => (model.context.lang.say(Word::Hint).to_owned(), theme.quiet()),
    };
    let left = fitted(&format!(" {text}"), room_left);
    let line = Line::from(vec![Span::styled(left, style), Span::raw(" "), Span::styled(right, theme.fresh())]);
    put(buffer, area, 0, &line);
}

fn doing(model: &Model) -> Option<String> {
    let room = model.room()?;
    let of = |seq| match room.timeline.entry(seq) {
        Some(entry) => format!("{}: {}", entry.name, entry.words().unwrap_or_default().replace('\n', " ")),
        None => format!("#{seq}"),
    };
    match (room.selected, room.composer.intent) {
        (Some(seq), _) => Some(model.context.lang.fill(Word::SelectedHint, &[("seq", &seq.to_string())])),
        (None, Intent::Reply(seq)) => Some(model.context.lang.fill(Word::ReplyingTo, &[("message", &of(seq))])),
        (None, Intent::Edit(seq)) => Some(model.context.lang.fill(Word::Editing, &[("message", &of(seq))])),
        (None, Intent::Say) => None,
    }
}

fn below(model: &Model) -> String {
    let Some(room) = model.room() else { return String::new() };
    if room.loading {
        return format!("{} ", model.context.lang.say(Word::Loading));
    }
    match (room.scroll, room.marks.unread) {
        (Scroll::Latest, _) if room.timeline.is_live() => String::new(),
        (_, 0) => format!("{} ", model.context.lang.say(Word::MoreBelow)),
        (_, count) => format!("{} ", model.context.lang.fill(Word::NewBelow, &[("count", &count.to_string())])),
    }
}
