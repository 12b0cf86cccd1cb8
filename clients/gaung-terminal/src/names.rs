//! Authors and seq ranges as they are written for people.

use gaung_proto::{DeviceId, SeqRange};

use crate::sanitise::one_line;

/// A name made harmless; where there is none, the beginning of the device's id, or `?`.
pub fn author_name(name: &str, device: DeviceId) -> String {
    match name {
        "" if device.is_none() => "?".to_owned(),
        "" => device.to_string()[..8].to_owned(),
        name => one_line(name).into_owned(),
    }
}

/// `4–6`, or `4` alone.
pub fn range(range: SeqRange) -> String {
    if range.first == range.last { range.first.to_string() } else { format!("{}–{}", range.first, range.last) }
}
