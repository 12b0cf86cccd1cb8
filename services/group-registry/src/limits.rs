//! Limits on what one address may take of the registry. This machine is not limited; what its hub requests on behalf of a
//! browser counts for the browser (`service_kit::rpc::charged_address`).

use std::{hash::Hash, net::IpAddr, time::Instant};

use gaung_proto::DeviceId;
use service_kit::share::{Origin, RateLimit, TooSoon};

/// Most groups of one address. A class makes a few; 65 280 addresses and 45 536 ports last for some hundred such hosts.
pub const GROUPS_PER_ADDRESS: usize = 512;

/// Most groups of one device: more than a teacher has classes and projects.
pub const GROUPS_PER_DEVICE: usize = 100;

/// How many groups one caller may have made at a time. Those made on this machine are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// Groups of one address, whatever devices made them; 0 for any number.
    pub per_address: usize,
    /// Groups of one device, from whatever addresses; 0 for any number.
    pub per_device: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { per_address: GROUPS_PER_ADDRESS, per_device: GROUPS_PER_DEVICE }
    }
}

/// Calls a second, and calls at once.
type Rate = (f64, f64);

/// Rate of CreateGroup. A script that makes groups for some dozens of classes is not delayed.
const CREATES: Rate = (1.0, 128.0);
/// Rate of new members and presences: a school behind one address joins at once.
const JOINS: Rate = (100.0, 5000.0);
/// Rate of signed calls, which are remembered for two minutes: one address fills a tenth of the table at most.
const SIGNED: Rate = (40.0, 400.0);

/// Rate of CreateInvite: each invite is a record in the store.
const INVITES: Rate = (1.0, 128.0);

/// Redeemed invites a minute that may fail for one device.
pub(crate) const REDEEM_FAILURES_PER_MINUTE: u32 = 5;
/// How many times as many may fail for one address: a class behind one router mistypes, and devices cost nothing to make.
const DEVICES_THAT_FAIL: u32 = 10;

/// The limits of one address, and the calls that it made lately.
#[derive(Debug)]
pub struct Limits {
    /// Groups that one caller may have made at a time.
    pub(crate) groups: GroupLimits,
    pub(crate) creates: RateLimit<Origin>,
    pub(crate) joins: RateLimit<Origin>,
    pub(crate) signed: RateLimit<Origin>,
    pub(crate) invites: RateLimit<Origin>,
    pub(crate) redeem_failures: RedeemFailures,
}

/// The redeemed invites that failed lately, by the device that signed and by its address.
#[derive(Debug)]
pub(crate) struct RedeemFailures {
    devices: RateLimit<DeviceId>,
    addresses: RateLimit<Origin>,
}

impl RedeemFailures {
    fn new(per_minute: u32) -> Self {
        fn at_once<K: Copy + Eq + Hash>(per_minute: u32) -> RateLimit<K> {
            RateLimit::new(f64::from(per_minute) / 60.0, f64::from(per_minute))
        }
        Self { devices: at_once(per_minute), addresses: at_once(per_minute.saturating_mul(DEVICES_THAT_FAIL)) }
    }

    /// Checks that neither `device` nor its address has failed too often. Calls of this machine count for nobody.
    pub(crate) fn check(&self, device: DeviceId, from: Option<IpAddr>, now: Instant) -> Result<(), TooSoon> {
        let Some(origin) = origin(from) else { return Ok(()) };
        self.devices.check(device, now)?;
        self.addresses.check(origin, now)
    }

    /// Counts a failure. The caller has checked that there is room for it.
    pub(crate) fn count(&self, device: DeviceId, from: Option<IpAddr>, now: Instant) {
        if let Some(origin) = origin(from) {
            // An empty bucket refuses the next call as well, so there is nothing to say here.
            let _ = (self.devices.take(device, now), self.addresses.take(origin, now));
        }
    }
}

impl Limits {
    /// Returns the defaults with other limits of groups.
    #[must_use]
    pub fn of_groups(groups: GroupLimits) -> Self {
        Self { groups, ..Self::default() }
    }

    /// Sets how many redeemed invites a minute may fail for one device, and ten times as many for one address; 0 for any number.
    #[must_use]
    pub fn redeem_failures(self, per_minute: u32) -> Self {
        Self { redeem_failures: RedeemFailures::new(per_minute), ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let rate = |(per_second, burst)| RateLimit::new(per_second, burst);
        Self {
            groups: GroupLimits::default(),
            creates: rate(CREATES),
            joins: rate(JOINS),
            signed: rate(SIGNED),
            invites: rate(INVITES),
            redeem_failures: RedeemFailures::new(REDEEM_FAILURES_PER_MINUTE),
        }
    }
}

/// Returns the address that is charged for a call; `None` for this process and this machine.
pub(crate) fn origin(from: Option<IpAddr>) -> Option<Origin> {
    from.filter(|ip| !ip.is_loopback()).map(Origin::from)
}

/// Counts one call of `from` against `rate`.
pub(crate) fn take(rate: &RateLimit<Origin>, from: Option<IpAddr>, now: Instant) -> Result<(), TooSoon> {
    origin(from).map_or(Ok(()), |origin| rate.take(origin, now))
}
