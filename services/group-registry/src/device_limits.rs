//! Limits on what one proven device may take of the registry, beside those of its address ([`crate::limits`]).
//!
//! A device costs nothing to make, so it is its address's limits that protect the registry. These keep one device of a school or
//! a house behind one router from using up what its address has for all.

use std::time::Instant;

use clap::Args;
use gaung_proto::DeviceId;
use gaung_site::PeerIdentity;
use service_kit::{
    rpc::charged_address,
    share::{RateLimit, TooSoon},
};
use tonic::Request;

use crate::limits;

/// How many calls a minute one device may make; 0 for any number.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DeviceRates {
    /// Groups that one device may make a minute in the long run, ten of them at once; 0 for any number.
    #[arg(long, env = "GAUNG_REGISTRY_CREATES_PER_MINUTE", default_value_t = Self::default().creates_per_minute, value_name = "N")]
    pub creates_per_minute: u32,
    /// Invites that one device may make a minute; 0 for any number.
    #[arg(long, env = "GAUNG_REGISTRY_INVITES_PER_MINUTE", default_value_t = Self::default().invites_per_minute, value_name = "N")]
    pub invites_per_minute: u32,
    /// Groups that one device may become a lasting member of a minute; 0 for any number.
    #[arg(long, env = "GAUNG_REGISTRY_JOINS_PER_MINUTE", default_value_t = Self::default().joins_per_minute, value_name = "N")]
    pub joins_per_minute: u32,
    /// Invites that one device may redeem or try to redeem a minute; 0 for any number.
    #[arg(long, env = "GAUNG_REGISTRY_REDEEMS_PER_MINUTE", default_value_t = Self::default().redeems_per_minute, value_name = "N")]
    pub redeems_per_minute: u32,
    /// Redeemed invites a minute that may fail for one device, and ten times as many for one address; 0 for any number.
    #[arg(long, env = "GAUNG_REGISTRY_REDEEM_FAILURES_PER_MINUTE", default_value_t = Self::default().redeem_failures_per_minute, value_name = "N")]
    pub redeem_failures_per_minute: u32,
    /// Nonces for signed calls that one device may get a minute; 0 for any number.
    #[arg(long, env = "GAUNG_REGISTRY_CHALLENGES_PER_MINUTE", default_value_t = Self::default().challenges_per_minute, value_name = "N")]
    pub challenges_per_minute: u32,
}

impl Default for DeviceRates {
    fn default() -> Self {
        Self {
            creates_per_minute: 1,
            invites_per_minute: 10,
            joins_per_minute: 120,
            redeems_per_minute: 20,
            redeem_failures_per_minute: limits::REDEEM_FAILURES_PER_MINUTE,
            challenges_per_minute: 60,
        }
    }
}

/// Groups that a device may make at once: one lesson's, where one a minute would be a wait.
const CREATES_AT_ONCE: u32 = 10;

/// The calls that devices made lately.
#[derive(Debug)]
pub(crate) struct DeviceLimits {
    pub(crate) creates: RateLimit<DeviceId>,
    pub(crate) invites: RateLimit<DeviceId>,
    pub(crate) joins: RateLimit<DeviceId>,
    pub(crate) redeems: RateLimit<DeviceId>,
    pub(crate) challenges: RateLimit<DeviceId>,
}

impl DeviceLimits {
    /// Makes limits of `rates`, of which all but groups may be used up at once.
    pub(crate) fn new(rates: &DeviceRates) -> Self {
        let rate = |per_minute: u32, at_once: u32| RateLimit::new(f64::from(per_minute) / 60.0, f64::from(at_once));
        let at_once = |per_minute| rate(per_minute, per_minute);
        Self {
            creates: rate(rates.creates_per_minute, CREATES_AT_ONCE.max(rates.creates_per_minute)),
            invites: at_once(rates.invites_per_minute),
            joins: at_once(rates.joins_per_minute),
            redeems: at_once(rates.redeems_per_minute),
            challenges: at_once(rates.challenges_per_minute),
        }
    }
}

/// Counts a call against the `rate` of the device that made it. Calls of this machine and of callers that have proven no device
/// count for nobody.
pub(crate) fn take<T>(rate: &RateLimit<DeviceId>, request: &Request<T>, now: Instant) -> Result<(), TooSoon> {
    let device = request.extensions().get::<PeerIdentity>().map_or(DeviceId::NONE, PeerIdentity::device);
    if device.is_none() || limits::origin(charged_address(request)).is_none() {
        return Ok(());
    }
    rate.take(device, now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{net::SocketAddr, time::Duration};

    use tonic::transport::server::TcpConnectInfo;

    use super::*;

    fn call(from: &str, peer: Option<PeerIdentity>) -> Request<()> {
        let from: SocketAddr = from.parse().unwrap();
        let mut request = Request::new(());
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr: Some(from) });
        peer.map(|peer| request.extensions_mut().insert(peer));
        request
    }

    fn device(byte: u8) -> Option<PeerIdentity> {
        Some(PeerIdentity::Device { id: DeviceId([byte; 16]), public_key: [byte; 32] })
    }

    #[test]
    fn a_device_has_its_own_share_of_its_address() {
        let limits = DeviceLimits::new(&DeviceRates::default());
        let now = Instant::now();
        let create = |device, now| take(&limits.creates, &call("10.0.0.66:1", device), now);
        for _ in 0..CREATES_AT_ONCE {
            create(device(1), now).unwrap();
        }
        let refused = create(device(1), now).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(60));
        create(device(2), now).expect("another one at the same address");
        create(device(1), now + refused.retry_after).expect("as it was said");
        take(&limits.invites, &call("10.0.0.66:1", device(1)), now).expect("each kind of call has its own limit");
    }

    #[test]
    fn this_machine_and_the_unproven_count_for_nobody() {
        let limits = DeviceLimits::new(&DeviceRates::default());
        for _ in 0..1000 {
            for request in [
                call("127.0.0.1:1", device(1)),
                call("10.0.0.1:1", None),
                call("10.0.0.1:1", Some(PeerIdentity::Unproven)),
            ] {
                take(&limits.invites, &request, Instant::now()).unwrap();
            }
        }
    }

    #[test]
    fn zero_is_any_number() {
        let limits = DeviceLimits::new(&DeviceRates { creates_per_minute: 0, ..DeviceRates::default() });
        for _ in 0..1000 {
            take(&limits.creates, &call("10.0.0.66:1", device(1)), Instant::now()).unwrap();
        }
    }
}
