//! What one receiver got: how often, in what order, how late, by which lane.

use gaung_proto::net::Lane;
use serde_json::{Value, json};

use gaung_tests::{clock, histogram::Histogram};

/// The number of messages that only warm up.
pub(super) const WARM_UP: u64 = u64::MAX;
/// Bytes of the number and the time at the beginning of each payload.
const STAMP: usize = 16;

/// Writes number and time into a payload.
pub(super) fn stamp(payload: &mut [u8], number: u64, at_ns: u64) {
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload[8..STAMP].copy_from_slice(&at_ns.to_le_bytes());
}

fn stamped(payload: &[u8]) -> Option<(u64, u64)> {
    let number = payload.first_chunk::<8>()?;
    let at_ns = payload.get(8..STAMP)?.first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), u64::from_le_bytes(*at_ns)))
}

/// Counts what is delivered.
#[derive(Debug, Default)]
pub(super) struct Tally {
    seen: Vec<u64>,
    unique: u64,
    duplicates: u64,
    out_of_order: u64,
    next: u64,
    history: u64,
    lost: u64,
    last_ns: u64,
    latencies: Histogram,
}

impl Tally {
    /// One message, delivered now.
    pub(super) fn deliver(&mut self, now_ns: u64, payload: &[u8], lane: Lane) {
        let Some((number, at_ns)) = stamped(payload) else { return };
        if number == WARM_UP {
            return;
        }
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.seen.len() {
            self.seen.resize((word + 1).next_power_of_two(), 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.unique += 1;
        } else {
            self.duplicates += 1;
        }
        self.out_of_order += u64::from(number < self.next);
        self.next = self.next.max(number + 1);
        self.history += u64::from(lane == Lane::History);
        self.last_ns = now_ns;
        self.latencies.add(now_ns.saturating_sub(at_ns));
    }

    /// Messages that were given up.
    pub(super) fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    /// How many different messages came.
    pub(super) const fn unique(&self) -> u64 {
        self.unique
    }

    /// For the `RX` line.
    pub(super) fn to_json(&self) -> Value {
        let share = if self.unique == 0 { 0.0 } else { self.history as f64 / self.unique as f64 };
        json!({
            "uniq": self.unique, "dup": self.duplicates, "ooo": self.out_of_order, "last": self.last_ns,
            "max": self.latencies.max(), "hist": self.latencies.sparse(), "cpu": clock::cpu_seconds(),
            "history": self.history, "history_share": share, "lost": self.lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(tally: &mut Tally, number: u64, lane: Lane) {
        let mut payload = [0; 20];
        stamp(&mut payload, number, 100);
        tally.deliver(170, &payload, lane);
    }

    #[test]
    fn repeats_disorder_and_the_log_are_counted() {
        let mut tally = Tally::default();
        for number in [0, 1, 3, 2, 3, WARM_UP, 200_000] {
            deliver(&mut tally, number, if number == 2 { Lane::History } else { Lane::Multicast });
        }
        let json = tally.to_json();
        let figure = |name: &str| json[name].as_u64();
        assert_eq!(
            (figure("uniq"), figure("dup"), figure("ooo"), figure("history")),
            (Some(5), Some(1), Some(2), Some(1))
        );
        assert_eq!((json["hist"].as_str(), figure("max")), (Some("70:6"), Some(70)));
    }
}
