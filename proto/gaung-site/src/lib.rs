//! Who a Gaung server is and who its peers are: the site, its certificates, the TLS configurations of services and clients,
//! the sites that a device knows, and the enrolment of services on other machines.
//!
//! A *site* is one registry with its relays and hubs. Its identity is a hash of a root key that exists only while the site is
//! made: it signs one intermediate certificate, the *issuer*, and is forgotten. The issuer is confined by name constraints to
//! private addresses and local names, so a person who installs the root is not deceived about the internet by whoever takes the
//! issuer's key. The [`SiteAuthority`] holds that key and issues leaves, each for one [`Role`].
//!
//! How the parts are used, by whom:
//!
//! - The registry calls [`SiteAuthority::load_or_create`] with `site/` in its data folder, and [`SiteAuthority::leaf`] for itself,
//!   for relay and hub in the same process, and again every [`RENEWAL`]; [`CurrentLeaf::replace`] puts a renewed leaf under open
//!   listeners.
//! - A service on another machine makes an [`Enrolment`] of the token that a person brought, sends
//!   [`Enrolment::request`] over a connection that expects the token's site, and keeps the answer in a [`ServiceFolder`]. The
//!   registry checks the request by [`EnrolSecrets::accept`]. The token may be a secret that a person chose beforehand; then the
//!   answer proves the site ([`EnrolGrant`]). Renewals are proven by the leaf in use.
//! - Every service listens with [`tls::server_config`] and reads who called from [`PeerIdentity::of_chain`]: nobody, a device that
//!   has proven its key, or a service of the site. A peer may stay unproven; what it may do then is the caller's to decide.
//! - A client asks [`KnownSites::expected`] which sites it may meet at an address, connects with [`tls::client_config`] to the name
//!   of the role that it wants ([`Role::server_name`]), and records the site that it met by [`KnownSites::record`]. An unexpected
//!   site ends the handshake with [`TrustError::OtherSite`] before the client has sent anything about itself.
//! - A device may keep its key encrypted with a passphrase, as a [`ProtectedKey`].
//!
//! Clocks on a local network are often wrong by years, so no date decides: leaves are long-lived, and a chain that a verifier's
//! clock calls expired is verified at its own last moment instead (`chain.rs`). What ends a service's rights is that the
//! registry lists it no more.
//!
//! Everything takes its time as an argument and has no global state. Keys come from the operating system's generator.
//! Bytes from outside are limited in size before they are parsed, and become a checked type or a small error.

mod authority;
mod base32;
mod chain;
mod crypto;
mod device_proof;
mod enrol;
mod error;
mod expected_site;
mod key;
mod known_sites;
mod leaf;
mod local_name;
mod peer;
pub mod private_files;
mod protected_key;
mod role;
mod server_address;
mod service_folder;
mod site_id;
pub mod tls;

pub use authority::{RENEWAL, SiteAuthority};
pub use chain::SiteChain;
pub use device_proof::device_proof;
pub use enrol::{EnrolError, EnrolGrant, EnrolRequest, EnrolSecrets, EnrolToken, Enrolment, TOKEN_LIFETIME};
pub use error::{AuthorityError, TrustError};
pub use expected_site::ExpectedSite;
pub use key::{ServiceKey, ServicePublicKey};
pub use known_sites::{
    Contact, Endpoint, EndpointError, KnownSite, KnownSites, KnownSitesError, KnownSitesFile, RecordError, TrustBasis,
};
pub use leaf::{CurrentLeaf, Leaf};
pub use local_name::LocalName;
pub use peer::PeerIdentity;
pub use protected_key::{MalformedKey, Passphrase, PassphraseError, ProtectedKey, UnlockError};
pub use role::Role;
pub use server_address::ServerAddress;
pub use service_folder::ServiceFolder;
pub use site_id::{CodeError, SiteCode, SiteId};
