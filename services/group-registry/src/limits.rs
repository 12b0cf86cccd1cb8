//! How much of the registry one address may take. This machine itself is not counted; what its hub asks for on behalf of a
//! browser is that browser's (`service_kit::rpc::charged_address`).

use std::{net::IpAddr, time::Instant};

use service_kit::share::{Origin, RateLimit, TooSoon};

/// A class makes a few; the pool has 65 280 addresses and 45 536 ports for some hundred such hosts.
pub const GROUPS_PER_ADDRESS: usize = 512;

/// Calls a second, and at once.
type Rate = (f64, f64);

/// A script that makes a group for each of some dozens of classes is through at once.
const CREATES: Rate = (1.0, 128.0);
/// New members and presences: a school behind one address comes in at once.
const JOINS: Rate = (100.0, 5000.0);
/// Signed calls are remembered for two minutes (`challenge`): one address takes a tenth of that table at most.
const SIGNED: Rate = (40.0, 400.0);

/// Each invite is a record that lasts.
const INVITES: Rate = (1.0, 128.0);

/// See the module.
#[derive(Debug)]
pub struct Limits {
    /// Groups that one address may have made at a time.
    pub(crate) groups_per_address: usize,
    pub(crate) creates: RateLimit<Origin>,
    pub(crate) joins: RateLimit<Origin>,
    pub(crate) signed: RateLimit<Origin>,
    pub(crate) invites: RateLimit<Origin>,
}

impl Limits {
    /// The defaults with another share of groups.
    #[must_use]
    pub fn groups_per_address(groups_per_address: usize) -> Self {
        Self { groups_per_address, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let rate = |(per_second, burst)| RateLimit::new(per_second, burst);
        Self {
            groups_per_address: GROUPS_PER_ADDRESS,
            creates: rate(CREATES),
            joins: rate(JOINS),
            signed: rate(SIGNED),
            invites: rate(INVITES),
        }
    }
}

/// Who is charged; `None` for this process and this machine.
pub(crate) fn origin(from: Option<IpAddr>) -> Option<Origin> {
    from.filter(|ip| !ip.is_loopback()).map(Origin::from)
}

/// Counts one call of `from`.
pub(crate) fn take(rate: &RateLimit<Origin>, from: Option<IpAddr>, now: Instant) -> Result<(), TooSoon> {
    origin(from).map_or(Ok(()), |origin| rate.take(origin, now))
}
