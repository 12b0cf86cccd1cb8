//! The groups on the left and the members on the right.

use gaung_client::Member;
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
        room::{Room, RoomState},
    },
    people::{colour_key, member_name, sorted_members},
    theme::Theme,
    ui_text::UiText,
};

/// Draws the open groups, each with its number for Alt and its unread messages.
pub(super) fn groups(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let height = usize::from(area.height);
    // The current group is always visible.
    let first = (model.rooms.current_index() + 1).saturating_sub(height);
    for (row, (index, room)) in model.rooms.iter().enumerate().skip(first).take(height).enumerate() {
        put(buffer, area, row, &group(model, theme, index, room, usize::from(area.width)));
    }
}

fn group(model: &Model, theme: Theme, index: usize, room: &Room, width: usize) -> Line<'static> {
    let number = if index < 9 { format!("{} ", index + 1) } else { "  ".to_owned() };
    let (count, style) = match (room.marks.mentions, room.marks.unread) {
        (0, 0) => (String::new(), theme.dim()),
        (0, unread) => (format!(" {}", short(unread)), theme.accent()),
        (mentions, unread) => (format!(" @{} {}", short(mentions), short(unread)), theme.mention()),
    };
    let mark = match room.state {
        RoomState::Open | RoomState::Entering => "",
        RoomState::Away => "? ",
        RoomState::Gone => "× ",
    };
    let space = width.saturating_sub(columns(&number) + columns(&count) + columns(mark));
    let name = fitted(room.name.as_str(), space);
    let name_style = match (index == model.rooms.current_index(), room.marks.unread) {
        (_, 1..) => theme.bold(),
        (_, 0) => ratatui::style::Style::new(),
    };
    let line = Line::from(vec![
        Span::styled(format!("{number}{mark}"), theme.dim()),
        Span::styled(name, name_style),
        Span::styled(count, style),
    ]);
    if index == model.rooms.current_index() { line.style(theme.selected()) } else { line }
}

/// Draws the members of the group in view, those who are present first.
pub(super) fn members(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let Some(room) = model.room() else { return };
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let mut lines: Vec<Line<'static>> =
        sorted_members(&room.roster.members).into_iter().map(|member| person(model, theme, member, width)).collect();
    let here = room.roster.members.iter().filter(|member| member.present).count();
    let texts = room.roster.text_sessions.iter().map(|name| {
        let badge = model.context.lang.text(UiText::LaneText);
        let name = fitted(name, width.saturating_sub(columns(badge) + 4));
        Line::from(vec![Span::raw(format!(" ● {name} ")), Span::styled(badge, theme.dim())])
    });
    lines.splice(here..here, texts);
    let hidden = lines.len().saturating_sub(height);
    if hidden > 0 && height > 0 {
        lines.truncate(height - 1);
        lines.push(Line::styled(
            model.context.lang.fill(UiText::MoreMembers, &[("count", &(hidden + 1).to_string())]),
            theme.dim(),
        ));
    }
    lines.iter().enumerate().for_each(|(row, line)| put(buffer, area, row, line));
}

fn person(model: &Model, theme: Theme, member: &Member, width: usize) -> Line<'static> {
    let name = member_name(member);
    let (badge, good) = badge(member);
    let badge = badge.map_or("", |word| model.context.lang.text(word));
    let (dot, style) = match member.present {
        true => (" ● ", theme.name(colour_key(member.device.as_bytes(), &name))),
        false => (" ○ ", theme.dim()),
    };
    let space = width.saturating_sub(3 + columns(badge) + 1);
    let own = if member.device == model.context.me.device { model.context.lang.text(UiText::You) } else { "" };
    let own = if columns(&name) + columns(own) > space { "" } else { own };
    let shown = shortened(&name, space.saturating_sub(columns(own)));
    let padding = " ".repeat(space.saturating_sub(columns(&shown) + columns(own)));
    Line::from(vec![
        Span::styled(dot, if member.present { theme.good() } else { theme.dim() }),
        Span::styled(shown, style),
        Span::styled(format!("{own}{padding} "), theme.dim()),
        Span::styled(badge, if good { theme.good() } else { theme.dim() }),
    ])
}

fn badge(member: &Member) -> (Option<UiText>, bool) {
    match (member.present, member.lane.as_str()) {
        (true, "multicast") => (Some(UiText::LaneMulticastShort), true),
        (true, "tcp") => (Some(UiText::LaneTcp), false),
        (true, "broadcast") => (Some(UiText::LaneBroadcastShort), false),
        _ => (None, false),
    }
}

/// Returns a count of at most four characters.
fn short(count: u64) -> String {
    if count > 999 { "999+".to_owned() } else { count.to_string() }
}
