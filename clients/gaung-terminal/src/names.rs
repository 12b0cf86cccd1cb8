//! Texts for authors and seq ranges.

use gaung_proto::{DeviceId, SeqRange};

use crate::sanitise::one_line;

/// Returns a name without control characters; if it is empty, the beginning of the device's id, or `?` if there is none.
pub fn author_name(name: &str, device: DeviceId) -> String {
    match name {
        "" if device.is_none() => "?".to_owned(),
        "" => device.to_string()[..8].to_owned(),
        name => one_line(name).into_owned(),
    }
}

/// Returns a text such as `4–6`, or `4` for a single seq.
pub fn range(range: SeqRange) -> String {
    if range.first == range.last { range.first.to_string() } else { format!("{}–{}", range.first, range.last) }
}
