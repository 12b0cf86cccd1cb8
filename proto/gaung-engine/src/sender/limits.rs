//! How much repair may be asked for and sent: a share of what is sent, and little in a silent group, so that neither a
//! lossy member nor a stranger makes the relay a source of floods.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

/// Datagrams asked for by one host, from proven addresses, that are served in one second in any case: some 5 Mbit/s. A host
/// has as many ports as it likes, so they share this.
pub(super) const MAX_ASKED_PER_HOST: u32 = 512;
/// Datagrams asked for from all unproven addresses together in one second.
pub(super) const MAX_ASKED_UNPROVEN: u32 = 128;
/// Repairs and parity sent in one second in any case: some 45 Mbit/s, 1000 messages a second lost by somebody each time.
pub(super) const MAX_REPAIRS: u32 = 4096;
/// Above these, at most so many for each datagram that was sent: half of the rate is kept for what is new.
const REPAIRS_FOR_DATA: u32 = 1;
/// Where several members ask, together for one datagram in so many, a repair for one of them heals others who have
/// not asked yet.
const DATA_FOR_A_COMMON_LOSS: u32 = 3;
/// Members that are told in one second that the group has moved, each as often as it speaks; others a second later.
const MAX_MOVES_TOLD: u32 = 256;
/// Hosts that are counted apart in one second; more are refused.
const MAX_COUNTED_HOSTS: usize = 8192;

/// Counts of the current second, forgotten at its end.
#[derive(Debug)]
pub(super) struct Limits {
    began: Instant,
    data: u32,
    repairs: u32,
    by_host: BTreeMap<Ipv4Addr, u32>,
    unproven: u32,
    moves_told: u32,
}

impl Limits {
    pub(super) const fn new(now: Instant) -> Self {
        Self { began: now, data: 0, repairs: 0, by_host: BTreeMap::new(), unproven: 0, moves_told: 0 }
    }

    /// A first-sent DATA left for the group's address.
    pub(super) fn count_data(&mut self, now: Instant) {
        self.roll(now);
        self.data += 1;
    }

    /// Whether one more datagram asked for is served. `proven`: the address, if its cookie proves it.
    pub(super) fn may_ask(&mut self, now: Instant, proven: Option<SocketAddrV4>) -> bool {
        self.roll(now);
        let (count, limit) = match proven {
            None => (&mut self.unproven, MAX_ASKED_UNPROVEN),
            Some(addr) => {
                let host = *addr.ip();
                if self.by_host.len() >= MAX_COUNTED_HOSTS && !self.by_host.contains_key(&host) {
                    return false;
                }
                let limit = MAX_ASKED_PER_HOST.max(self.data.saturating_mul(REPAIRS_FOR_DATA));
                (self.by_host.entry(host).or_default(), limit)
            }
        };
        let allowed = *count < limit;
        *count += u32::from(allowed);
        allowed
    }

    /// Whether one more repair or parity may leave.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        self.roll(now);
        let allowed = self.repairs < MAX_REPAIRS.max(self.data.saturating_mul(REPAIRS_FOR_DATA));
        self.repairs += u32::from(allowed);
        allowed
    }

    /// Whether one more member may be told that the group has moved.
    pub(super) fn may_tell_move(&mut self, now: Instant) -> bool {
        self.roll(now);
        let allowed = self.moves_told < MAX_MOVES_TOLD;
        self.moves_told += u32::from(allowed);
        allowed
    }

    /// Whether several members lose so much that a repair is of use to more than who asked.
    pub(super) fn is_loss_common(&self) -> bool {
        let asked: u32 = self.by_host.values().sum();
        self.by_host.len() > 1 && asked.saturating_mul(DATA_FOR_A_COMMON_LOSS) >= self.data
    }

    fn roll(&mut self, now: Instant) {
        if now.saturating_duration_since(self.began) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(host: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), port)
    }

    #[test]
    fn a_silent_group_gives_little_and_a_busy_one_its_share() {
        let now = Instant::now();
        let mut limits = Limits::new(now);
        let asked = |limits: &mut Limits, who| (0..100_000).filter(|_| limits.may_ask(now, who)).count() as u32;
        assert_eq!(asked(&mut limits, Some(addr(1, 1))), MAX_ASKED_PER_HOST);
        assert_eq!(asked(&mut limits, Some(addr(1, 2))), 0, "all ports of a host have one share");
        assert_eq!(asked(&mut limits, None), MAX_ASKED_UNPROVEN);
        assert_eq!((0..100_000).filter(|_| limits.may_send(now)).count() as u32, MAX_REPAIRS);
        (0..20_000).for_each(|_| limits.count_data(now));
        assert_eq!(asked(&mut limits, Some(addr(2, 1))), 20_000);
        assert_eq!(asked(&mut limits, Some(addr(1, 3))), 20_000 - MAX_ASKED_PER_HOST);
        assert_eq!(asked(&mut limits, None), 0, "strangers have no share");
        assert_eq!((0..100_000).filter(|_| limits.may_send(now)).count() as u32, 20_000 - MAX_REPAIRS);
        assert!(limits.is_loss_common());
        let later = now + Duration::from_secs(1);
        assert!(limits.may_ask(later, None) && limits.may_send(later));
    }
}
