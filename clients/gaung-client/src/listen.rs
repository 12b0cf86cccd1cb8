//! Listening: one ordered stream of events for several groups.

mod cursor;
mod drive;
mod event;
mod hub;
mod join;
mod member;
mod note;
mod options;
mod presence;
mod reading;
mod sink;

use std::{sync::Arc, time::Duration};

use gaung_net::{
    driver::{Driver, DriverHandle, DriverSockets, SocketUse},
    multicast::DataSocket,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    drive::{EngineCommand, GroupEngines, OWN_SOCKET},
    join::JoinGroup,
    sink::QueuedEvent,
};
pub use self::{
    event::Event,
    options::{LaneChoice, ListenOptions, StartAt},
};
use crate::{context::Context, error::ClientError, interfaces};

/// A stream of events. Dropping it leaves the groups.
#[derive(Debug)]
pub struct Listener {
    events: mpsc::Receiver<QueuedEvent>,
    members: TaskTracker,
    stop: CancellationToken,
    /// Keeps the thread of the engines running; dropping it ends the thread.
    _driver: DriverHandle<EngineCommand>,
}

impl Listener {
    /// The next event; `None` once every group is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await.map(|queued| queued.event)
    }

    /// Leaves the groups and waits until the registry knows, at most 2 s.
    pub async fn close(self) {
        self.stop.cancel();
        self.members.close();
        // A registry that does not answer must not hold up the caller; presence ends by itself.
        let _ = timeout(CLOSE_WAIT, self.members.wait()).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Longest wait until the registry knows that the listener has left.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Limits the groups of one listener: each costs a multicast membership, and more are not useful to one person.
const MAX_GROUPS: usize = 256;

/// Starts a listener; fails if one of the groups cannot be joined.
pub(crate) async fn start(context: &Arc<Context>, options: ListenOptions) -> Result<Listener, ClientError> {
    if options.groups.is_empty() || options.groups.len() > MAX_GROUPS {
        return Err(ClientError::Usage(format!("give 1 to {MAX_GROUPS} groups to listen to")));
    }
    let own = DataSocket::open_unicast(0).map_err(|error| ClientError::Failed(error.to_string()))?;
    let sockets = DriverSockets::new().data(OWN_SOCKET, own, SocketUse { receive: true, multicast: false });
    let driver = Driver::spawn("gaung-listen", sockets, GroupEngines::default())
        .map_err(|error| ClientError::Failed(format!("cannot start the receiving thread: {error}")))?;
    let stop = CancellationToken::new();
    let (sink, events) = sink::channel(stop.clone());
    let members = TaskTracker::new();
    let watch = interfaces::watch(context.settings.iface.as_deref())?;
    let (engines, joined) = (driver.sender(), members.clone());
    // Groups that have joined already leave when the listener is dropped.
    let listener = Listener { events, members, stop: stop.clone(), _driver: driver };
    for (slot, name) in (0..).zip(&options.groups) {
        let (sink, stop, watch, engines) = (&sink, &stop, &watch, engines.clone());
        let group = JoinGroup { context, sink, stop, members: &joined, engines, watch, slot };
        group.join(name, options.lane, options.from).await?;
    }
    Ok(listener)
}
