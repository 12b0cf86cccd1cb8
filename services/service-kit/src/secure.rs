//! TLS and plaintext on one port: what a service proves, whose plaintext it takes, and who its peers have proven to be.

mod credentials;
mod enrolment;
mod peer_device;
mod plaintext;
mod port;
mod service_calls;
mod stream;
#[cfg(test)]
mod tests;

pub use self::{
    credentials::ServiceCredentials,
    enrolment::{EnrolledService, ServiceEnrolment},
    peer_device::{OtherDevice, PeerDevice},
    plaintext::PlaintextPolicy,
    port::{AcceptError, Accepted, SecurePort, TlsPeer},
    service_calls::ServiceCalls,
    stream::SecureStream,
};
