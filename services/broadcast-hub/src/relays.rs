//! One link for each relay that orders a group: what it should send, what waits to be published, how it is reached.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gaung_net::backoff::Backoff;
use gaung_proto::{GroupId, RelayId, pb::relay::relay_service_client::RelayServiceClient};
use service_kit::rpc::{self, LocalChannel, MAX_MESSAGE_BYTES, ServerTransport};
use tokio::sync::Notify;
use tonic::transport::Channel;

use crate::{follow, hub::Hub, publish_queue::PublishQueue, publishing};

/// The links made so far, each at the first need.
#[derive(Debug)]
pub(crate) struct Relays {
    links: Mutex<HashMap<RelayId, Arc<RelayLink>>>,
    /// The relay of this process, if there is one.
    local: Option<(RelayId, LocalChannel)>,
}

/// The hub's side of one relay.
#[derive(Debug)]
pub(crate) struct RelayLink {
    pub(crate) relay: RelayId,
    pub(crate) publish: PublishQueue,
    changed: Mutex<HashSet<GroupId>>,
    notify: Notify,
    /// Groups whose audience has something to report.
    heard: Mutex<HashSet<GroupId>>,
    heard_notify: Notify,
    history: Mutex<Option<(String, Channel)>>,
}

/// So that many slow readers of history leave room in the connection's window for each other.
const HISTORY_STREAM_WINDOW: u32 = 128 * 1024;
const HISTORY_CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

impl Relays {
    /// `local`: the relay of this process and the way to it.
    pub(crate) fn new(local: Option<(RelayId, LocalChannel)>) -> Self {
        Self { links: Mutex::default(), local }
    }

    fn local(&self, relay: RelayId) -> Option<ServerTransport> {
        self.local.as_ref().filter(|(id, _)| *id == relay).map(|(_, channel)| ServerTransport::Local(channel.clone()))
    }

    /// The relay's link; its tasks start with it.
    pub(crate) fn link(&self, hub: &Arc<Hub>, relay: RelayId) -> Arc<RelayLink> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&relay) {
            return link.clone();
        }
        let link = Arc::new(RelayLink {
            relay,
            publish: PublishQueue::new(hub.config.limits.publish_bytes),
            changed: Mutex::default(),
            notify: Notify::new(),
            heard: Mutex::default(),
            heard_notify: Notify::new(),
            history: Mutex::default(),
        });
        links.insert(relay, link.clone());
        hub.runtime.spawn(follow::run(hub.clone(), link.clone()));
        hub.runtime.spawn(publishing::run(hub.clone(), link.clone()));
        link
    }
}

impl RelayLink {
    /// The group is wanted now, or not any more; the link looks itself.
    pub(crate) fn wanted_changed(&self, group: GroupId) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        self.notify.notify_one();
    }

    pub(crate) async fn changes(&self) {
        self.notify.notified().await;
    }

    pub(crate) fn take_changed(&self) -> HashSet<GroupId> {
        std::mem::take(&mut self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The group's audience has something to report.
    pub(crate) fn audience_changed(&self, group: GroupId) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        self.heard_notify.notify_one();
    }

    pub(crate) async fn audience_changes(&self) {
        self.heard_notify.notified().await;
    }

    pub(crate) fn take_heard(&self) -> HashSet<GroupId> {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A client for reading the log, over the network on a connection of its own; `None` while nobody knows where the
    /// relay is.
    pub(crate) fn history_client(&self, hub: &Hub) -> Option<RelayServiceClient<ServerTransport>> {
        if let Some(way) = hub.relays.local(self.relay) {
            return Some(client(way));
        }
        let target = hub.directory.relay_target(self.relay)?;
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let same = history.as_ref().filter(|(known, _)| *known == target).map(|(_, channel)| channel.clone());
        let channel = match same {
            Some(channel) => channel,
            None => {
                let endpoint = rpc::endpoint(&target)
                    .ok()?
                    .initial_stream_window_size(HISTORY_STREAM_WINDOW)
                    .initial_connection_window_size(HISTORY_CONNECTION_WINDOW);
                let channel = endpoint.connect_lazy();
                *history = Some((target, channel.clone()));
                channel
            }
        };
        Some(client(ServerTransport::Network(channel)))
    }
}

/// Waits between attempts to reach a relay: short, for sessions wait meanwhile and the way is a LAN.
pub(crate) fn backoff() -> Backoff {
    Backoff::between(Duration::from_millis(50), Duration::from_secs(1))
}

/// Waits until the registry tells where the relay is, and connects; `Err` says why not.
pub(crate) async fn connect(hub: &Hub, relay: RelayId) -> Result<RelayServiceClient<ServerTransport>, String> {
    if let Some(way) = hub.relays.local(relay) {
        return Ok(client(way));
    }
    let mut changes = hub.directory.changes();
    let target = loop {
        if let Some(target) = hub.directory.relay_target(relay) {
            break target;
        }
        if changes.changed().await.is_err() {
            return Err("the hub is stopping".to_owned());
        }
    };
    let endpoint = rpc::endpoint(&target).map_err(|e| e.to_string())?;
    let channel = endpoint.connect().await.map_err(|e| format!("cannot connect to {target}: {e}"))?;
    Ok(client(ServerTransport::Network(channel)))
}

fn client(way: ServerTransport) -> RelayServiceClient<ServerTransport> {
    RelayServiceClient::new(way)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
