//! What each part of the screen shows, as rows of text, and the areas that it takes.
//!
//! It stands between the model and the two that need rows: the update scrolls by them, the view draws them.

pub(crate) mod conversation;
pub(crate) mod input;
mod item;
pub(crate) mod overlay;
pub(crate) mod receipt;

pub(crate) use item::{RowFormatter, SHOWN};

use crate::{layout::areas::ScreenAreas, model::Model, theme::Theme};

/// Divides the screen into its areas.
pub(crate) fn arranged(model: &Model) -> ScreenAreas {
    let rows = input::wanted_rows(model, usize::from(model.size.0));
    ScreenAreas::of(model.size, u16::try_from(rows).unwrap_or(u16::MAX))
}

/// Returns what formats the items of the current group; `None` if no group is open.
pub(crate) fn formatter(model: &Model, theme: Theme) -> Option<RowFormatter<'_>> {
    let room = model.room()?;
    let width = usize::from(arranged(model).talk.width);
    Some(RowFormatter { lang: model.lang, zone: model.zone, theme, me: &model.me, room, width })
}
