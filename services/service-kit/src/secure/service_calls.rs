//! Calls that services of the site alone may make.

use gaung_site::{PeerIdentity, Role};
use tonic::{Request, Status};

use super::{PeerDevice, PlaintextPolicy};

/// Decides who may make the calls that are for services of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceCalls {
    plaintext: PlaintextPolicy,
}

impl ServiceCalls {
    /// Decides by `plaintext`, the policy of the port: where plaintext is taken from everywhere, who proves nothing is believed,
    /// because nobody there can be kept from changing what others say.
    #[must_use]
    pub const fn new(plaintext: PlaintextPolicy) -> Self {
        Self { plaintext }
    }

    /// Judges what the connection of `request` proves of the device that the caller names.
    #[must_use]
    pub fn peer_device<T>(self, request: &Request<T>) -> PeerDevice {
        PeerDevice::of_call(request, self.plaintext)
    }

    /// Checks that `request` comes from a service whose role `may_call`, or from this process.
    ///
    /// # Errors
    /// PERMISSION_DENIED, and what to do.
    pub fn check<T>(self, request: &Request<T>, may_call: impl FnOnce(Role) -> bool) -> Result<(), Status> {
        // Calls within the process have no connection, and so no peer.
        let Some(peer) = request.extensions().get::<PeerIdentity>() else { return Ok(()) };
        match peer {
            PeerIdentity::Service(role) if may_call(*role) => Ok(()),
            PeerIdentity::Service(role) => {
                Err(Status::permission_denied(format!("this call is for another service than {role}")))
            }
            PeerIdentity::Unproven if self.plaintext == PlaintextPolicy::Any => Ok(()),
            PeerIdentity::Unproven | PeerIdentity::Device { .. } => Err(Status::permission_denied(
                "this call is for services of the site; enrol the service with a token (`group-registry enrol` prints one), \
                 or start both with --plaintext any",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_proto::{DeviceId, RelayId};
    use tonic::Code;

    use super::*;

    const HUB: Role = Role::Hub(RelayId([8; 16]));
    const POLICIES: [PlaintextPolicy; 3] = [PlaintextPolicy::Never, PlaintextPolicy::Loopback, PlaintextPolicy::Any];

    fn check(policy: PlaintextPolicy, peer: Option<PeerIdentity>) -> Result<(), Code> {
        let mut request = Request::new(());
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let checked = ServiceCalls::new(policy).check(&request, |role| role == HUB);
        checked.map_err(|status| status.code())
    }

    #[test]
    fn only_the_service_itself_and_this_process_may_call() {
        let denied = Err(Code::PermissionDenied);
        let device = PeerIdentity::Device { id: DeviceId([1; 16]), public_key: [1; 32] };
        for policy in POLICIES {
            assert_eq!(check(policy, None), Ok(()));
            assert_eq!(check(policy, Some(PeerIdentity::Service(HUB))), Ok(()));
            for other in
                [PeerIdentity::Service(Role::Hub(RelayId([9; 16]))), PeerIdentity::Service(Role::Registry), device]
            {
                assert_eq!(check(policy, Some(other)), denied, "{policy} {other:?}");
            }
        }
    }

    #[test]
    fn who_proves_nothing_is_believed_where_anyone_may_speak_plaintext() {
        let unproven = |policy| check(policy, Some(PeerIdentity::Unproven)).is_ok();
        assert_eq!(POLICIES.map(unproven), [false, false, true]);
    }
}
