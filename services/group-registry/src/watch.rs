//! One watcher's stream: a snapshot if it needs one, then changes. A slow watcher holds a few messages, never a queue;
//! if it falls behind the kept changes it gets a new snapshot.

use std::sync::Arc;

use bytes::Bytes;
use gaung_proto::{
    RelayId,
    pb::registry::{self as pb, watch_groups_response::Event},
};
use service_kit::share::{Origin, Share};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    feed::{GroupChange, WatchStep},
    registry::Registry,
};

const IN_FLIGHT: usize = 64;
const CHANGES_AT_ONCE: usize = 256;

pub(crate) struct Watcher {
    pub(crate) registry: Arc<Registry>,
    pub(crate) watch_id: Bytes,
    /// The relay whose groups are sent; `None` for all groups.
    pub(crate) relay: Option<RelayId>,
    /// The relay that the caller proved to be; it gets the private groups that are bound to it.
    pub(crate) proven: Option<RelayId>,
    /// The last revision that the client has; `None` for a snapshot first.
    pub(crate) after: Option<u64>,
}

type Answer = Result<pb::WatchGroupsResponse, Status>;

/// The client is gone.
struct Gone;

impl Watcher {
    /// Sends until the client goes or `stop` is cancelled, and keeps `slot` meanwhile.
    pub(crate) fn start(mut self, slot: Share<Origin>, stop: CancellationToken) -> ReceiverStream<Answer> {
        let (answers, stream) = mpsc::channel(IN_FLIGHT);
        tokio::spawn(async move {
            let mut revisions = self.registry.revisions();
            loop {
                revisions.borrow_and_update();
                let sent = tokio::select! {
                    sent = self.send_news(&answers) => sent,
                    // A watcher that does not read loses its slot to another one.
                    () = slot.evicted() => Err(Gone),
                };
                if sent.is_err() {
                    return;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = slot.evicted() => return,
                    () = answers.closed() => return,
                    changed = revisions.changed() => if changed.is_err() { return },
                }
            }
        });
        ReceiverStream::new(stream)
    }

    async fn send_news(&mut self, answers: &mpsc::Sender<Answer>) -> Result<(), Gone> {
        loop {
            match self.registry.watch(self.after, CHANGES_AT_ONCE) {
                WatchStep::UpToDate => return Ok(()),
                WatchStep::Changes(changes) => {
                    for (revision, change) in changes {
                        if self.shows(change.group().relay, change.group().private) {
                            self.send(answers, revision, event(&change)).await?;
                        }
                        self.after = Some(revision);
                    }
                }
                WatchStep::Snapshot { revision, groups } => {
                    let begin = Event::SnapshotBegin(pb::SnapshotBegin { with_private: self.proven.is_some() });
                    self.send(answers, revision, begin).await?;
                    for group in groups {
                        if self.shows(group.relay, group.private) {
                            self.send(answers, revision, Event::Upsert(group.to_pb_with_policy())).await?;
                        }
                    }
                    self.send(answers, revision, Event::SnapshotEnd(pb::SnapshotEnd {})).await?;
                    self.after = Some(revision);
                }
            }
        }
    }

    fn shows(&self, relay: RelayId, private: bool) -> bool {
        self.relay.is_none_or(|wanted| wanted == relay) && (!private || self.proven == Some(relay))
    }

    async fn send(&self, answers: &mpsc::Sender<Answer>, revision: u64, event: Event) -> Result<(), Gone> {
        let answer = pb::WatchGroupsResponse { revision, watch_id: self.watch_id.clone(), event: Some(event) };
        answers.send(Ok(answer)).await.map_err(|_| Gone)
    }
}

fn event(change: &GroupChange) -> Event {
    match change {
        GroupChange::Upsert(group) => Event::Upsert(group.to_pb_with_policy()),
        GroupChange::Deleted(group) => {
            Event::Deleted(pb::GroupDeleted { id: group.id.into(), name: group.name.to_string() })
        }
    }
}
