//! Counted values, such as latencies, of which quantiles are wanted.

use std::cmp;

/// Log-linear: 64 parts in each power of two, so that no value is off by more than 1.6 %.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 64 * 64], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn add(&mut self, value: u64) {
        self.counts[part(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// The greatest value; 0 if nothing was added.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The value that a share of `quantile` (0 to 1) of all does not exceed, rounded up to its part's end; `None` if
    /// nothing was added.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let rank = cmp::max(1, (self.count as f64 * quantile).ceil() as u64);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map(|part| last_of(part).min(self.max))
    }

    /// `part:count` of all that are not empty, with commas between.
    #[must_use]
    pub fn sparse(&self) -> String {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(part, count)| format!("{part}:{count}")).collect::<Vec<_>>().join(",")
    }
}

fn part(value: u64) -> usize {
    match value.checked_ilog2() {
        None | Some(0..6) => value as usize,
        Some(power) => (power as usize - 5) * 64 + ((value >> (power - 6)) & 63) as usize,
    }
}

/// The greatest value of a part.
fn last_of(part: usize) -> u64 {
    let (power, within) = (part / 64, (part % 64) as u64);
    match power {
        0 => within,
        _ => ((64 + within + 1) << (power - 1)).wrapping_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_rise_without_a_hole() {
        let parts: Vec<usize> = (0..4096).map(part).collect();
        assert!(parts.is_sorted() && parts[64] == 64 && parts[4095] == part(4096) - 1, "{parts:?}");
        assert!(part(u64::MAX) < 64 * 64);
    }

    #[test]
    fn a_parts_last_value_is_in_it_and_the_next_is_not() {
        for part_index in 0..part(u64::MAX) {
            let last = last_of(part_index);
            assert_eq!((part(last), part(last + 1)), (part_index, part_index + 1));
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        let mut histogram = Histogram::default();
        (1..=1000).rev().for_each(|value| histogram.add(value));
        for (quantile, exact) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let found = histogram.quantile(quantile).unwrap_or_default();
            assert!(found >= exact && found as f64 <= exact as f64 * 1.016, "{quantile}: {found}, not {exact}");
        }
        assert_eq!(histogram.max(), 1000);
    }
}
