//! Keys while something covers the conversation.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use gaung_proto::Seq;

use crate::model::overlay::{List, Overlay};

/// What becomes of an overlay after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OverlayOutcome {
    /// It stays.
    Stays,
    /// It is closed.
    Closes,
    /// It is closed, and the conversation goes to this message.
    Jumps(Seq),
    /// It is closed, and the key counts as if there had been no overlay.
    Passes,
}

impl Overlay {
    /// Returns the list that waits for an answer of this number.
    pub(super) fn list_of(overlay: &mut Option<Self>, number: u64) -> Option<&mut List> {
        match overlay {
            Some(Self::List(list)) if list.number == Some(number) => Some(list),
            Some(Self::Help { .. } | Self::Info { .. } | Self::List(_)) | None => None,
        }
    }

    /// Scrolls by a key. `rows`: how many it has, of which so many are `seen` at once; `page`: rows that a page moves.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than mean anything")]
    pub(super) fn key(&mut self, key: KeyEvent, rows: usize, seen: usize, page: usize) -> OverlayOutcome {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let (at, last) = match self {
            Self::List(list) if list.is_choice() => (&mut list.at, rows.saturating_sub(1)),
            Self::List(list) => (&mut list.at, rows.saturating_sub(seen)),
            Self::Help { top } | Self::Info { top, .. } => (top, rows.saturating_sub(seen)),
        };
        match key.code {
            KeyCode::Up => *at = at.saturating_sub(1),
            KeyCode::Char('p') if control => *at = at.saturating_sub(1),
            KeyCode::Down => *at = (*at + 1).min(last),
            KeyCode::Char('n') if control => *at = (*at + 1).min(last),
            KeyCode::PageUp => *at = at.saturating_sub(page),
            KeyCode::PageDown | KeyCode::Char(' ') => *at = (*at + page).min(last),
            KeyCode::Home => *at = 0,
            KeyCode::End => *at = last,
            KeyCode::Enter => return self.chosen().map_or(OverlayOutcome::Closes, OverlayOutcome::Jumps),
            KeyCode::Esc | KeyCode::Char('q') => return OverlayOutcome::Closes,
            KeyCode::Char('c') if control => return OverlayOutcome::Closes,
            KeyCode::Char('?') => return OverlayOutcome::Passes,
            KeyCode::Char(_) if !control => return OverlayOutcome::Passes,
            _ => return OverlayOutcome::Closes,
        }
        OverlayOutcome::Stays
    }

    /// Returns the message of the chosen row.
    fn chosen(&self) -> Option<Seq> {
        match self {
            Self::List(list) => list.rows.get(list.at)?.seq,
            Self::Help { .. } | Self::Info { .. } => None,
        }
    }
}
