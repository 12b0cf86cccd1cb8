//! The device of a connection's peer: the one that it proved, and not the one that it names.

use gaung_proto::DeviceId;
use gaung_site::{PeerIdentity, Role};
use tonic::Request;

use super::PlaintextPolicy;

/// The device of a connection's peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerDevice {
    /// The peer has proven the key of this device and speaks for no other.
    Proven(DeviceId),
    /// Any device that the peer names is believed: the peer is this process or a hub of the site, which speaks for the devices that
    /// its sessions proved, or it comes from anywhere and plaintext is taken from everywhere.
    Believed,
    /// The peer has proven nothing and has no device, whichever it names.
    Absent,
}

/// The peer named another device than the one whose key it has proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the device id is not that of this connection's device key; send the id of your own device, or none, and for another device \
     connect with its key"
)]
pub struct OtherDevice;

impl PeerDevice {
    /// Judges a connection by who its peer has proven to be and by the policy of the port that it came to. Where plaintext is taken
    /// from everywhere, who proves nothing is believed, because nobody there can be kept from changing what others say.
    #[must_use]
    pub const fn of_peer(peer: PeerIdentity, plaintext: PlaintextPolicy) -> Self {
        match (peer, plaintext) {
            (PeerIdentity::Device { id, .. }, _) => Self::Proven(id),
            (PeerIdentity::Service(Role::Hub(_)), _) | (PeerIdentity::Unproven, PlaintextPolicy::Any) => Self::Believed,
            (PeerIdentity::Service(Role::Registry | Role::Relay(_)) | PeerIdentity::Unproven, _) => Self::Absent,
        }
    }

    /// Judges the connection of a call; one within the process is believed.
    #[must_use]
    pub fn of_call<T>(request: &Request<T>, plaintext: PlaintextPolicy) -> Self {
        let peer = request.extensions().get::<PeerIdentity>();
        peer.map_or(Self::Believed, |peer| Self::of_peer(*peer, plaintext))
    }

    /// Returns the device of the peer, which names `named`; [`DeviceId::NONE`] if it has none.
    ///
    /// # Errors
    /// [`OtherDevice`] if it named another device than its own.
    pub fn device(self, named: DeviceId) -> Result<DeviceId, OtherDevice> {
        match self {
            Self::Proven(device) if named.is_none() || named == device => Ok(device),
            Self::Proven(_) => Err(OtherDevice),
            Self::Believed => Ok(named),
            Self::Absent => Ok(DeviceId::NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use gaung_proto::RelayId;

    use super::*;

    const OWN: DeviceId = DeviceId([1; 16]);
    const OTHER: DeviceId = DeviceId([2; 16]);
    const POLICIES: [PlaintextPolicy; 3] = [PlaintextPolicy::Never, PlaintextPolicy::Loopback, PlaintextPolicy::Any];

    fn service(role: Role) -> PeerIdentity {
        PeerIdentity::Service(role)
    }

    #[test]
    fn a_proven_device_speaks_for_itself_alone() {
        for policy in POLICIES {
            let peer = PeerDevice::of_peer(PeerIdentity::Device { id: OWN, public_key: [1; 32] }, policy);
            assert_eq!(peer.device(OWN), Ok(OWN));
            assert_eq!(peer.device(DeviceId::NONE), Ok(OWN), "it need not name itself");
            assert_eq!(peer.device(OTHER), Err(OtherDevice), "{policy}");
        }
    }

    #[test]
    fn a_hub_and_this_process_speak_for_the_devices_of_sessions() {
        for policy in POLICIES {
            let hub = PeerDevice::of_peer(service(Role::Hub(RelayId([8; 16]))), policy);
            assert_eq!(hub.device(OTHER), Ok(OTHER));
            assert_eq!(PeerDevice::of_call(&Request::new(()), policy), PeerDevice::Believed);
            for role in [Role::Registry, Role::Relay(RelayId([8; 16]))] {
                assert_eq!(PeerDevice::of_peer(service(role), policy), PeerDevice::Absent, "{role}");
            }
        }
    }

    #[test]
    fn who_proves_nothing_has_a_device_only_where_plaintext_comes_from_everywhere() {
        let devices = POLICIES.map(|policy| PeerDevice::of_peer(PeerIdentity::Unproven, policy).device(OWN));
        assert_eq!(devices, [Ok(DeviceId::NONE), Ok(DeviceId::NONE), Ok(OWN)]);
    }
}
