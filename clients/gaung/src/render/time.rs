//! Times as people and programs read them: RFC 3339 in UTC.

use gaung_proto::block::SentAt;

const DAY_US: u64 = 86_400_000_000;

/// `2026-03-01T12:00:00.000250Z`: always six digits of a second, always UTC.
pub(crate) fn rfc3339_us(at: SentAt) -> String {
    let us = at.0 % DAY_US;
    let (year, month, day) = civil(at.0 / DAY_US);
    let seconds = us / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", us % 1_000_000)
}

/// The same of milliseconds since 1970, without fractions: `2026-03-01T12:00:00Z`. Times before 1970 become 1970.
pub(crate) fn rfc3339_s(unix_ms: i64) -> String {
    let us = u64::try_from(unix_ms).unwrap_or(0).saturating_mul(1000);
    let text = rfc3339_us(SentAt(us));
    format!("{}Z", text.split('.').next().unwrap_or(&text))
}

/// Year, month and day of a day since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

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
