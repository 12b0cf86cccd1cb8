//! The wheel scrolls, a click opens a group.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use crate::{
    model::{context::ChatContext, rooms::Rooms},
    rows::areas,
};

/// How many rows one notch of the wheel scrolls.
const NOTCH: isize = 3;

/// Handles an event of the mouse.
pub(super) fn mouse(rooms: &mut Rooms, event: MouseEvent, context: &mut ChatContext) {
    let Some(room) = rooms.current_mut() else { return };
    match event.kind {
        MouseEventKind::ScrollUp => room.scroll(-NOTCH, context),
        MouseEventKind::ScrollDown => room.scroll(NOTCH, context),
        MouseEventKind::Down(MouseButton::Left) => {
            let Some(groups) = areas(context, Some(room)).groups else { return };
            if groups.contains(Position::new(event.column, event.row)) {
                let first = (rooms.current_index() + 1).saturating_sub(usize::from(groups.height));
                rooms.go(first + usize::from(event.row - groups.y), context);
            }
        }
        MouseEventKind::Down(_)
        | MouseEventKind::Up(_)
        | MouseEventKind::Drag(_)
        | MouseEventKind::Moved
        | MouseEventKind::ScrollLeft
        | MouseEventKind::ScrollRight => {}
    }
}
