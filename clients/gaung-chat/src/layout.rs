//! Arithmetic of the screen: dividing it into areas, and scrolling a list of rows.
//!
//! It knows neither the model nor how anything looks, so that model, update and view can all use it.

pub(crate) mod areas;
pub(crate) mod scroll;
