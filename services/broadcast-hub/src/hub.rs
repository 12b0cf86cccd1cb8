//! What all parts of the hub share.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use gaung_proto::{GroupId, RelayId, Seq, run::Run};
use service_kit::share::{Origin, SharePool};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    config::Config,
    directory::{Directory, GroupInfo},
    group::Group,
    groups::{Groups, TooManyGroups, Watched},
    history::HistoryPlaces,
    inbox::Inbox,
    metrics::Figures,
    relays::Relays,
};

/// The hub's shared state. Shards and links hold it; it holds no task.
pub(crate) struct Hub {
    pub(crate) config: Config,
    pub(crate) id: RelayId,
    /// By which relays know this process again when a stream of reports broke.
    pub(crate) report_key: [u8; 16],
    /// Makes numbers of stream keys and addresses that tell nothing of them.
    pub(crate) owners: RandomState,
    pub(crate) figures: Figures,
    pub(crate) directory: Directory,
    pub(crate) groups: Groups,
    pub(crate) relays: Relays,
    pub(crate) shards: Vec<Inbox>,
    pub(crate) admission: Admission,
    /// Where links and log reads run.
    pub(crate) runtime: Handle,
    /// Ends links and log reads, after the sessions.
    pub(crate) links_stop: CancellationToken,
    pub(crate) history_places: HistoryPlaces,
    /// Places for questions to the registry that sessions make necessary.
    pub(crate) lookups: SharePool<Origin>,
    /// Places for receipts that browsers watch: the relay gives one hub 512.
    pub(crate) receipt_watches: SharePool<Origin>,
    pub(crate) to_broadcast: Option<mpsc::Sender<ToBroadcast>>,
    pub(crate) registry: tonic::transport::Channel,
    /// Of the page, if there is one.
    pub(crate) page_port: Option<u16>,
    pub(crate) next_session: AtomicU64,
    pub(crate) next_client: AtomicU64,
    pub(crate) next_shard: AtomicUsize,
}

/// A run of `everyone` for the broadcast lane: its messages from `from` on.
#[derive(Debug)]
pub(crate) struct ToBroadcast {
    pub(crate) run: Run,
    pub(crate) from: Seq,
}

impl Hub {
    pub(crate) fn session_id(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// What sessions of one client have in common, and others cannot know.
    pub(crate) fn owner_of(&self, stream_key: Option<[u8; 16]>, address: IpAddr) -> u64 {
        match stream_key {
            Some(key) => self.owners.hash_one(key),
            None => self.owners.hash_one(address),
        }
    }

    /// 1, 2, ..: the N of `client-N`.
    pub(crate) fn client_number(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    /// The shard for the next session.
    pub(crate) fn next_shard(&self) -> &Inbox {
        &self.shards[self.next_shard.fetch_add(1, Ordering::Relaxed) % self.shards.len()]
    }

    /// Counts a session of `origin` on `shard` in and has the group followed; `ticket` is the session's, checked, for a
    /// private group.
    pub(crate) fn watch(
        self: &Arc<Self>,
        info: &Arc<GroupInfo>,
        shard: usize,
        origin: Origin,
        ticket: &Bytes,
    ) -> Result<Arc<Group>, TooManyGroups> {
        let Watched { group, is_new, evicted } = self.groups.watch(info, shard, origin)?;
        for group in evicted {
            let message = "the hub needed the group's place, and your address has the most; try again later";
            self.end(&group, tonic::Code::ResourceExhausted, message);
        }
        let newer = group.keep_ticket(ticket);
        if is_new || newer {
            self.relays.link(self, info.relay).wanted_changed(group.id);
        }
        Ok(group)
    }

    /// A session of the group renewed its ticket.
    pub(crate) fn keep_ticket(self: &Arc<Self>, group: &Group, ticket: &Bytes) {
        if group.keep_ticket(ticket) {
            self.relays.link(self, group.info().relay).wanted_changed(group.id);
        }
    }

    /// Follows `everyone` for as long as the hub runs.
    pub(crate) fn pin(self: &Arc<Self>, info: &Arc<GroupInfo>) -> Result<Arc<Group>, TooManyGroups> {
        let (group, new) = self.groups.pin(info)?;
        if new {
            self.relays.link(self, info.relay).wanted_changed(group.id);
        }
        Ok(group)
    }

    /// Wakes each shard that has a session of the group, once.
    pub(crate) fn wake(&self, group: &Group) {
        for shard in group.watching_shards() {
            self.shards[shard].mark(group.id);
        }
    }

    /// Has the group's audience reported to its relay.
    pub(crate) fn audience_changed(self: &Arc<Self>, group: &Group) {
        self.relays.link(self, group.info().relay).audience_changed(group.id);
    }

    /// A group is no more: its sessions are told and nothing of it is followed.
    pub(crate) fn end_group(self: &Arc<Self>, id: GroupId, code: tonic::Code, message: &str) {
        if let Some(group) = self.groups.forget(id) {
            self.end(&group, code, message);
        }
    }

    fn end(self: &Arc<Self>, group: &Arc<Group>, code: tonic::Code, message: &str) {
        group.end(code, message);
        self.wake(group);
        self.relays.link(self, group.info().relay).wanted_changed(group.id);
    }
}
