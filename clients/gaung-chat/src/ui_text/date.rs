//! Dates and times for people, in their time zone.

use chrono::{DateTime, Datelike as _, FixedOffset, Local, NaiveDateTime, Timelike as _};

use super::{Lang, UiText};

/// The time zone of the clock that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// The zone of this machine.
    Local,
    /// A fixed zone, for tests.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests must not depend on the machine's zone"))]
    Fixed(FixedOffset),
}

impl Zone {
    fn at(self, at_us: u64) -> NaiveDateTime {
        let us = i64::try_from(at_us).unwrap_or(i64::MAX);
        // A time that the calendar does not reach is shown as 1970.
        let utc = DateTime::from_timestamp_micros(us).unwrap_or_default();
        match self {
            Self::Local => utc.with_timezone(&Local).naive_local(),
            Self::Fixed(offset) => utc.with_timezone(&offset).naive_local(),
        }
    }

    /// Returns a time such as `14:05`.
    pub(crate) fn clock(self, at_us: u64) -> String {
        let at = self.at(at_us);
        format!("{:02}:{:02}", at.hour(), at.minute())
    }

    /// Returns a time such as `14:05:09`.
    pub(crate) fn clock_s(self, at_us: u64) -> String {
        format!("{}:{:02}", self.clock(at_us), self.at(at_us).second())
    }
}

/// Returns whether two times are on the same day in this zone.
pub(crate) fn same_day(zone: Zone, one_us: u64, other_us: u64) -> bool {
    zone.at(one_us).date() == zone.at(other_us).date()
}

/// Returns a date such as `Thursday, 26 November 2026`.
pub(crate) fn day_name(lang: Lang, zone: Zone, at_us: u64) -> String {
    let date = zone.at(at_us).date();
    let nth = |word: UiText, index: u32| lang.text(word).split(' ').nth(index as usize).unwrap_or_default();
    let weekday = nth(UiText::Weekdays, date.weekday().num_days_from_monday());
    format!("{weekday}, {} {} {}", date.day(), nth(UiText::Months, date.month0()), date.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_zone() {
        let jakarta = Zone::Fixed(FixedOffset::east_opt(7 * 3600).expect("within a day"));
        let late = 1_772_391_600_000_000; // 2026-03-01T19:00:00Z
        assert_eq!(day_name(Lang::Id, jakarta, late), "Senin, 2 Maret 2026");
        assert_eq!(day_name(Lang::En, jakarta, late), "Monday, 2 March 2026");
        assert_eq!(jakarta.clock_s(late), "02:00:00");
        assert!(!same_day(jakarta, late - 7_200_000_001, late));
        assert_eq!(jakarta.clock(u64::MAX).len(), 5);
    }
}
