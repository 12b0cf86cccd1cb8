//! Counters of an interface.

use std::{fs, ops::Sub};

use anyhow::Context as _;

use super::{INTERFACE, Machine};

/// Bytes with Ethernet headers, and frames, since the interface was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Came in.
    pub received_bytes: u64,
    /// Came in.
    pub received_frames: u64,
    /// Left.
    pub sent_bytes: u64,
    /// Left.
    pub sent_frames: u64,
}

impl Sub for Counters {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self {
            received_bytes: self.received_bytes - before.received_bytes,
            received_frames: self.received_frames - before.received_frames,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            sent_frames: self.sent_frames - before.sent_frames,
        }
    }
}

impl Machine {
    /// Reads the counters of its interface.
    ///
    /// # Errors
    /// What the system says.
    pub fn counters(&self) -> anyhow::Result<Counters> {
        self.within(|| Counters::read("/proc/thread-self/net/dev"))
    }
}

impl Counters {
    /// Reads the counters of a host's interface from the kernel's table at `path`.
    ///
    /// # Errors
    /// If there is no such table or interface.
    pub(crate) fn read(path: &str) -> anyhow::Result<Self> {
        let table = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&table).with_context(|| format!("{path} has no {INTERFACE}"))
    }

    /// Sixteen columns behind the name: eight of what came in, eight of what left, bytes and frames first.
    fn parse(table: &str) -> Option<Self> {
        let row = table.lines().find_map(|line| line.trim_start().strip_prefix(INTERFACE)?.strip_prefix(':'))?;
        let columns: Vec<u64> = row.split_whitespace().map_while(|column| column.parse().ok()).collect();
        Some(Self {
            received_bytes: *columns.first()?,
            received_frames: *columns.get(1)?,
            sent_bytes: *columns.get(8)?,
            sent_frames: *columns.get(9)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n\
            \x20   lo:     100       2    0    0    0     0          0         0      300       4    0    0    0     0       0          0\n\
            \x20 eth0: 1234567    1000    0    0    0     0          0        20   7654321    2000    0    0    0     0       0          0\n";
        let read =
            Counters { received_bytes: 1_234_567, received_frames: 1000, sent_bytes: 7_654_321, sent_frames: 2000 };
        assert_eq!(Counters::parse(table), Some(read));
        assert_eq!(Counters::parse("eth0: 1 2"), None);
    }
}
