//! Who makes a call, and for which device it may be made.

use std::net::IpAddr;

use gaung_proto::{DeviceId, GroupId, RelayId, pb::registry as pb, signing::Method};
use gaung_site::{PeerIdentity, Role};
use service_kit::{
    rpc::charged_address,
    secure::{OtherDevice, PeerDevice, ServiceCalls},
};
use tonic::Request;

use crate::challenge::SignedCall;

/// What the connection of a call proves, and whom the call is charged to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallOrigin {
    /// What is proven of the device that the call names.
    pub(crate) device: PeerDevice,
    /// The service that is calling, if it has proven its role.
    pub(crate) service: Option<Role>,
    /// The address that is charged; `None` for this process.
    pub(crate) charged: Option<IpAddr>,
}

/// Why a call is not taken as the named device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeviceError {
    /// Neither connection nor signature proves the device.
    #[error(
        "the connection does not prove the device that this call is for; connect by TLS with the device's key, or sign the call \
         (DeviceSignature)"
    )]
    Unproven,
    /// See [`OtherDevice`].
    #[error(transparent)]
    Other(#[from] OtherDevice),
}

impl CallOrigin {
    pub(crate) fn of<T>(request: &Request<T>, service_calls: ServiceCalls) -> Self {
        let service = match request.extensions().get() {
            Some(PeerIdentity::Service(role)) => Some(*role),
            Some(PeerIdentity::Device { .. } | PeerIdentity::Unproven) | None => None,
        };
        let device = match service {
            // A hub passes on what browsers have signed; its own word would let whoever takes one over act as any device.
            Some(Role::Hub(_)) => PeerDevice::Absent,
            Some(Role::Relay(_) | Role::Registry) | None => service_calls.peer_device(request),
        };
        Self { device, service, charged: charged_address(request) }
    }

    /// Returns whether a hub of the site is calling.
    pub(crate) const fn is_hub(&self) -> bool {
        matches!(self.service, Some(Role::Hub(_)))
    }

    /// Returns the relay that is calling, if it has proven its role.
    pub(crate) const fn relay(&self) -> Option<RelayId> {
        match self.service {
            Some(Role::Relay(id)) => Some(id),
            Some(Role::Hub(_) | Role::Registry) | None => None,
        }
    }

    /// Checks that the connection proves `device`.
    pub(crate) fn check_device(&self, device: DeviceId) -> Result<(), DeviceError> {
        if self.device.device(device)? == device { Ok(()) } else { Err(DeviceError::Unproven) }
    }

    /// Makes the call that `signature` has to be of; `None` without a signature.
    pub(crate) fn signed(
        &self,
        method: Method,
        group: GroupId,
        subject: String,
        signature: Option<pb::DeviceSignature>,
    ) -> Option<SignedCall> {
        signature.map(|signature| SignedCall { method, group, subject, signature, from: self.charged })
    }
}
