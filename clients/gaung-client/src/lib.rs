//! The SDK: find a server, join groups, publish, and read one ordered stream of events.
//!
//! ```no_run
//! # async fn example() -> Result<(), gaung_client::ClientError> {
//! use gaung_client::{Client, Event, LaneChoice, ListenOptions, Settings, StartAt};
//!
//! let client = Client::connect(Settings::new("/var/lib/me/gaung")).await?;
//! let name = "everyone".parse().expect("a valid name");
//! let mut listener = client.listen(ListenOptions { groups: vec![name], lane: LaneChoice::Auto, from: StartAt::Next }).await?;
//! while let Some(event) = listener.next().await {
//!     if let Event::Message { message, content, .. } = event {
//!         println!("{} {:?}", message.seq, content.kind);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every buffer is bounded: a listener that is not read holds its groups back, and they catch up from the log when it
//! is read again; a publisher whose window is full makes [`Publisher::publish`] wait.

mod author_verifier;
pub mod broadcast;
mod calls;
mod channel;
mod client;
mod context;
mod device;
mod endpoint;
mod error;
mod event_queue;
mod found_server;
mod group;
mod group_sockets;
mod hidden;
mod history;
mod hub_choice;
mod interfaces;
mod listen;
mod moderation;
mod named_device;
mod people;
mod publish;
mod receipts;
mod server;
mod service_stream;
mod settings;
mod site_trust;
#[cfg(test)]
mod test_doubles;
mod tickets;
pub mod udp_only;

pub use author_verifier::{AuthorState, AuthorVerifier};
pub use client::Client;
pub use device::{Device, DeviceError, DeviceKeyFile, ExportedDevice, ImportedDevice};
pub use error::{ClientError, ErrorKind};
pub use found_server::FoundServer;
pub use gaung_engine::MemberLane;
pub use gaung_proto::{net::Lane, policy::Role};
pub use gaung_site::{CodeError, Contact, Passphrase, PassphraseError, SiteCode, SiteId, TrustBasis};
pub use group::{
    FollowedGroup, Format, GroupInfo, HubStatus, Invite, LogStatus, Member, MemberProgress, NewGroup, ServerStatus,
    ServiceInfo, ServiceKind,
};
pub use hidden::HiddenMessages;
pub use history::{History, HistoryMessage, HistoryPage};
pub use listen::{Event, LaneChoice, ListenOptions, Listener, StartAt};
pub use moderation::{GroupPolicy, Moderation};
pub use named_device::NamedDevice;
pub use people::{KnownPeople, PeopleFile, ShownName, comparison_digits};
pub use publish::{PendingAck, PublishError, Publisher};
pub use receipts::{MissingMember, Receipt, Receipts};
pub use settings::Settings;
pub use site_trust::MetSite;
