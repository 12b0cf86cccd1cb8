//! What each part of the screen shows, as rows of text, and the areas that it takes.
//!
//! It lies between the model and the two that need rows: the update scrolls by them, the view draws them.

pub(crate) mod input;
mod item;
pub(crate) mod overlay;
pub(crate) mod receipt;
pub(crate) mod viewport;

pub(crate) use item::{RowFormatter, SHOWN};

use crate::{
    layout::areas::ScreenAreas,
    model::{context::ChatContext, room::Room},
};

/// Divides the screen into its areas; the line that is typed in the group in view takes some of them.
pub(crate) fn areas(context: &ChatContext, room: Option<&Room>) -> ScreenAreas {
    let rows = room.map_or(1, |room| input::wanted_rows(room, context.size));
    ScreenAreas::of(context.size, u16::try_from(rows).unwrap_or(u16::MAX))
}
