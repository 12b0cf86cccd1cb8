//! Times for people and programs: RFC 3339 in UTC.

use chrono::{DateTime, SecondsFormat, Utc};
use gaung_proto::block::SentAt;

/// Writes a time as `2026-03-01T12:00:00.000250Z`: always six digits of a second, always UTC.
pub(crate) fn rfc3339_us(at: SentAt) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(DateTime::from_timestamp_micros)
        .unwrap_or(FARTHEST)
        .to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Writes milliseconds since 1970 as `2026-03-01T12:00:00Z`. Times before 1970 become 1970.
pub(crate) fn rfc3339_s(unix_ms: i64) -> String {
    DateTime::from_timestamp_millis(unix_ms.max(0)).unwrap_or(FARTHEST).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Stands for times beyond the calendar, the year 262142, which a message can state.
const FARTHEST: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (1_772_366_400_000_250, "2026-03-01T12:00:00.000250Z"),
            (4_107_542_399_000_000, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(rfc3339_us(SentAt(us)), text);
        }
        assert_eq!(rfc3339_s(1_772_366_400_999), "2026-03-01T12:00:00Z");
        assert_eq!(rfc3339_s(-5), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn no_moment_panics() {
        assert!(rfc3339_us(SentAt(u64::MAX)).ends_with('Z'));
        assert!(rfc3339_s(i64::MAX).ends_with('Z'));
    }
}
