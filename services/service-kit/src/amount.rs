//! Writes durations and sizes as the flags accept them: `30d`, `1h30m`, `1GiB`.

/// Returns a duration in the largest units that are exact, as [`parse_duration`](crate::config::parse_duration) reads it.
#[must_use]
pub fn duration_ms(ms: u64) -> String {
    let mut rest = ms;
    let mut text = String::new();
    for (unit_ms, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
        let count = rest / unit_ms;
        rest %= unit_ms;
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if text.is_empty() { "0".to_owned() } else { text }
}

/// Returns a size in the largest unit that is exact, as [`parse_bytes`](crate::config::parse_bytes) reads it.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let exact = units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{parse_bytes, parse_duration};

    #[test]
    fn what_is_written_can_be_parsed() {
        for (ms, text) in [(0, "0"), (2_592_000_000, "30d"), (5_400_000, "1h30m"), (61_001, "1m1s1ms")] {
            assert_eq!(duration_ms(ms), text);
            assert_eq!(u128::from(ms), parse_duration(text).unwrap().as_millis());
        }
        for (size, text) in [(1 << 30, "1GiB"), (1536, "1536B"), (3 << 20, "3MiB"), (0, "0B")] {
            assert_eq!(bytes(size), text);
            assert_eq!(parse_bytes(text).unwrap(), size);
        }
    }
}
