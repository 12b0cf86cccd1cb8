//! Limits how much repair may be requested and sent: a share of what is sent, and little in a silent group, so that
//! neither a lossy member nor a stranger makes the relay a source of floods.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Datagrams requested by one host, from proven addresses, that are served in one second in any case: some 5 Mbit/s. A
/// host has as many ports and groups as it likes, so they share this.
pub(super) const MAX_REQUESTED_PER_HOST: u32 = 512;
/// Datagrams requested from all unproven addresses together in one second, in all groups.
pub(super) const MAX_REQUESTED_UNPROVEN: u32 = 128;
/// Repairs and parity sent in one second in any case: some 45 Mbit/s, 1000 messages a second lost by somebody each time.
pub(super) const MAX_REPAIRS: u32 = 4096;
/// Above these, at most so many for each datagram that was sent: half of the rate is kept for what is new.
const REPAIRS_FOR_DATA: u32 = 1;
/// Where several members request, together one datagram in so many, a repair for one of them is of use to others that have
/// not requested it yet.
const DATA_FOR_A_COMMON_LOSS: u32 = 3;
/// Most hosts counted separately in one second; further ones are refused.
const MAX_COUNTED_HOSTS: usize = 8192;
const SECOND: Duration = Duration::from_secs(1);

/// What hosts may request besides a share of what is sent, in all groups of a process together; clones share one count.
#[derive(Debug, Clone, Default)]
pub struct RepairShares(Arc<Mutex<SharesTaken>>);

/// Counts of the current second.
#[derive(Debug, Default)]
struct SharesTaken {
    began: Option<Instant>,
    by_host: BTreeMap<Ipv4Addr, u32>,
    unproven: u32,
}

impl RepairShares {
    /// Counts one more datagram requested by `host` (`None`: an unproven address); returns whether it is served.
    fn take(&self, now: Instant, host: Option<Ipv4Addr>) -> bool {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.began.is_none_or(|began| now.saturating_duration_since(began) >= SECOND) {
            *taken = SharesTaken { began: Some(now), ..SharesTaken::default() };
        }
        let is_room = taken.by_host.len() < MAX_COUNTED_HOSTS;
        let (count, limit) = match host {
            None => (&mut taken.unproven, MAX_REQUESTED_UNPROVEN),
            Some(host) if is_room || taken.by_host.contains_key(&host) => {
                (taken.by_host.entry(host).or_default(), MAX_REQUESTED_PER_HOST)
            }
            Some(_) => return false,
        };
        let allowed = *count < limit;
        *count += u32::from(allowed);
        allowed
    }
}

/// Counters of the current second, reset at its end.
#[derive(Debug)]
pub(super) struct RequestLimits {
    began: Instant,
    data: u32,
    repairs: u32,
    by_host: BTreeMap<Ipv4Addr, u32>,
    shares: RepairShares,
}

impl RequestLimits {
    pub(super) const fn new(now: Instant, shares: RepairShares) -> Self {
        Self { began: now, data: 0, repairs: 0, by_host: BTreeMap::new(), shares }
    }

    /// Counts a first-sent DATA that left for the group's address.
    pub(super) fn count_data(&mut self, now: Instant) {
        self.roll(now);
        self.data += 1;
    }

    /// Counts one more requested datagram; returns whether it is served. `proven`: the address, if its cookie proves
    /// it.
    pub(super) fn may_request(&mut self, now: Instant, proven: Option<SocketAddrV4>) -> bool {
        self.roll(now);
        let Some(addr) = proven else { return self.shares.take(now, None) };
        let host = *addr.ip();
        if self.by_host.len() >= MAX_COUNTED_HOSTS && !self.by_host.contains_key(&host) {
            return false;
        }
        let count = self.by_host.entry(host).or_default();
        let of_data = self.data.saturating_mul(REPAIRS_FOR_DATA);
        let allowed = *count < of_data || (*count < MAX_REQUESTED_PER_HOST && self.shares.take(now, Some(host)));
        *count += u32::from(allowed);
        allowed
    }

    /// Counts one more repair or parity shard; returns whether it may leave.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        self.roll(now);
        let allowed = self.repairs < MAX_REPAIRS.max(self.data.saturating_mul(REPAIRS_FOR_DATA));
        self.repairs += u32::from(allowed);
        allowed
    }

    /// Whether several members lose so much that a repair is of use to more than the requester.
    pub(super) fn is_loss_common(&self) -> bool {
        let requested: u32 = self.by_host.values().sum();
        self.by_host.len() > 1 && requested.saturating_mul(DATA_FOR_A_COMMON_LOSS) >= self.data
    }

    fn roll(&mut self, now: Instant) {
        if now.saturating_duration_since(self.began) >= SECOND {
            *self = Self::new(now, self.shares.clone());
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
    fn silent_groups_give_little_and_a_busy_one_its_share() {
        let (now, shares) = (Instant::now(), RepairShares::default());
        let mut limits = RequestLimits::new(now, shares.clone());
        let mut another = RequestLimits::new(now, shares);
        let granted =
            |limits: &mut RequestLimits, who| (0..100_000).filter(|_| limits.may_request(now, who)).count() as u32;
        assert_eq!(granted(&mut limits, Some(addr(1, 1))), MAX_REQUESTED_PER_HOST);
        assert_eq!(granted(&mut limits, Some(addr(1, 2))), 0, "all ports of a host have one share");
        assert_eq!(granted(&mut another, Some(addr(1, 1))), 0, "in all groups");
        assert_eq!(granted(&mut another, None), MAX_REQUESTED_UNPROVEN);
        assert_eq!(granted(&mut limits, None), 0, "strangers have one too");
        assert_eq!((0..100_000).filter(|_| limits.may_send(now)).count() as u32, MAX_REPAIRS);
        (0..20_000).for_each(|_| limits.count_data(now));
        assert_eq!(granted(&mut limits, Some(addr(2, 1))), 20_000);
        assert_eq!(granted(&mut limits, Some(addr(1, 3))), 20_000 - MAX_REQUESTED_PER_HOST);
        assert_eq!(
            granted(&mut another, Some(addr(2, 1))),
            MAX_REQUESTED_PER_HOST,
            "what is sent elsewhere counts there"
        );
        assert_eq!((0..100_000).filter(|_| limits.may_send(now)).count() as u32, 20_000 - MAX_REPAIRS);
        assert!(limits.is_loss_common());
        let later = now + SECOND;
        assert!(
            limits.may_request(later, None) && limits.may_send(later) && another.may_request(later, Some(addr(1, 1)))
        );
    }
}
