//! Formats numbers as each language writes them.

use super::Language;

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    Count,
    /// A factor.
    Times,
    /// Percent.
    Percent,
    /// Bytes, shown as kB of 1000.
    Bytes,
    /// Milliseconds.
    Millis,
    /// Messages a second.
    PerSecond,
    /// Frames for each message.
    Frames,
}

impl Unit {
    /// Formats a value with its unit.
    #[must_use]
    pub fn show(self, value: f64, language: Language) -> String {
        match self {
            Self::Count => number(value, places_of(value), language),
            Self::Times => number(value, 2, language),
            Self::Frames => number(value, 2, language),
            Self::Percent => format!("{} %", number(value, places_of(value), language)),
            Self::Bytes => format!("{} kB", number(value / 1000.0, 1, language)),
            Self::Millis => format!("{} ms", number(value, 2, language)),
            Self::PerSecond => {
                let unit = if language == Language::Id { "pesan/detik" } else { "messages/s" };
                format!("{} {unit}", number(value, 0, language))
            }
        }
    }
}

/// Returns the decimals to show: none for a whole number.
fn places_of(value: f64) -> usize {
    if (value - value.round()).abs() < 1e-9 { 0 } else { 1 }
}

/// Formats a number with so many decimals and thousands separators: 1,234.5 or 1.234,5.
#[must_use]
pub(crate) fn number(value: f64, places: usize, language: Language) -> String {
    let (thousands, point) = match language {
        Language::En => (',', '.'),
        Language::Id => ('.', ','),
    };
    let plain = format!("{:.places$}", value.abs());
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(thousands);
        }
        text.push(digit);
    }
    if places > 0 {
        text.push(point);
        text.push_str(part);
    }
    // A rounded zero has no sign.
    if value < 0.0 && plain.chars().any(|c| c.is_ascii_digit() && c != '0') { format!("−{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_its_point() {
        assert_eq!(number(1_234_567.891, 1, Language::En), "1,234,567.9");
        assert_eq!(number(1_234_567.891, 1, Language::Id), "1.234.567,9");
        assert_eq!(number(999.0, 0, Language::Id), "999");
        assert_eq!(number(-0.001, 1, Language::En), "0.0");
        assert_eq!(number(-1234.0, 0, Language::En), "−1,234");
        assert_eq!(Unit::Bytes.show(66_688.0, Language::Id), "66,7 kB");
        assert_eq!(Unit::Count.show(4.0, Language::En), "4");
        assert_eq!([20.0, 79.84].map(|part| Unit::Percent.show(part, Language::Id)), ["20 %", "79,8 %"]);
    }
}
