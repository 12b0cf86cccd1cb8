//! The wheel scrolls, a click opens a group.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use crate::{model::Model, rows};

/// Rows that one notch of the wheel scrolls.
const NOTCH: isize = 3;

impl Model {
    pub(super) fn mouse(&mut self, event: MouseEvent) {
        match event.kind {
            MouseEventKind::ScrollUp => self.scroll(-NOTCH),
            MouseEventKind::ScrollDown => self.scroll(NOTCH),
            MouseEventKind::Down(MouseButton::Left) => {
                let Some(groups) = rows::arranged(self).groups else { return };
                if groups.contains(Position::new(event.column, event.row)) {
                    let first = (self.rooms.current_index() + 1).saturating_sub(usize::from(groups.height));
                    self.go(first + usize::from(event.row - groups.y));
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
}
