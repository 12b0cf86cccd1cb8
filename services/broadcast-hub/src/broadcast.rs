//! The broadcast lane: sends every durable message of `everyone` to each interface's own network.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use gaung_engine::BroadcastPacker;
use gaung_net::{
    broadcast::BroadcastSender,
    interface::{InterfaceFallback, Link, LinkSelection, LinkWatch, data_body},
};
use gaung_proto::{GroupTag, RelayId, SenderId, Seq, run::Run};
use service_kit::share::RateLimit;
use tokio::{sync::mpsc, task::yield_now};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{config::BroadcastConfig, directory::Directory, metrics::Figures};

/// Most runs that wait to be broadcast; further ones are dropped and counted, because the lane is best effort.
pub(crate) const WAITING_RUNS: usize = 256;
/// Datagrams that may leave at once after a pause, in seconds of the rate.
const BURST_SECONDS: f64 = 1.0;

/// A run of `everyone` to broadcast, from message `from` on.
#[derive(Debug)]
pub(crate) struct BroadcastRun {
    pub(crate) run: Run,
    pub(crate) from: Seq,
}

/// The lane's sockets, which are opened again when the machine's interfaces change.
pub(crate) struct BroadcastLane {
    port: u16,
    datagrams_per_second: u32,
    watch: LinkWatch,
    sender: Option<BroadcastSender>,
}

impl BroadcastLane {
    /// Opens the sockets of the interfaces that are up, and watches for others. Must be called within a runtime.
    ///
    /// # Errors
    /// If the system does not list its interfaces.
    pub(crate) fn open(config: BroadcastConfig) -> anyhow::Result<Self> {
        let BroadcastConfig { port, iface, datagrams_per_second } = config;
        let wanted = iface.into_iter().collect();
        let watch = LinkWatch::begin(wanted).context("listing the network interfaces")?;
        let mut lane = Self { port, datagrams_per_second, watch, sender: None };
        let selection = lane.watch.now();
        lane.open_sockets(&selection);
        Ok(lane)
    }

    /// Opens the sockets for a selection of interfaces, in place of those that were open.
    fn open_sockets(&mut self, selection: &LinkSelection) {
        self.sender = match BroadcastSender::open(&selection.links, self.port) {
            Ok(sender) => Some(sender),
            Err(error) => {
                warn!(%error, "nothing is broadcast for now");
                None
            }
        };
        let Some(sender) = &self.sender else { return };
        for (link, to) in sender.networks() {
            info!(%link, %to, "broadcasting");
        }
        for (link, error) in sender.failed() {
            warn!(%link, %error, "not broadcasting here");
        }
        for missing in &selection.missing {
            warn!("{missing}; nothing is broadcast there until it is up");
        }
        match selection.fallback {
            Some(InterfaceFallback::Loopback) => {
                warn!("only this machine receives broadcasts: no other interface is up")
            }
            Some(InterfaceFallback::ContainerOrVpn) => {
                warn!("broadcasting to containers or tunnels: nothing else is up")
            }
            None => {}
        }
    }
}

/// Broadcasts runs, as hub `id`, until `stop`.
pub(crate) async fn run(
    mut lane: BroadcastLane,
    mut runs: mpsc::Receiver<BroadcastRun>,
    id: RelayId,
    directory: Arc<Directory>,
    figures: Figures,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut packer = BroadcastPacker::new(SenderId(id.0));
    packer.set_body(data_body(&lane.watch.now().links));
    let start = Instant::now();
    // One bucket for all interfaces, because each datagram leaves through every one of them.
    let rate = f64::from(lane.datagrams_per_second);
    let limit = RateLimit::new(rate, rate * BURST_SECONDS);
    loop {
        let BroadcastRun { run, from } = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            next = runs.recv() => match next {
                Some(next) => next,
                None => return Ok(()),
            },
            selection = lane.watch.changed() => {
                lane.open_sockets(&selection);
                packer.set_body(data_body(&selection.links));
                continue;
            }
        };
        let Some(everyone) = directory.everyone() else { continue };
        let tag = GroupTag::of(everyone.id, everyone.generation, run.header().log);
        packer.handle_run(tag, &run, from, start.elapsed().as_micros() as u32);
        while let Some(datagram) = packer.poll_datagram() {
            // Dropped rather than delayed: every host of the network receives broadcasts, and whoever wants every message has
            // another lane.
            if limit.take((), Instant::now()).is_err() {
                figures.broadcast_limited.inc();
                continue;
            }
            let failed = |_: &Link, _| {
                figures.broadcast_failures.inc();
            };
            let sent = lane.sender.as_ref().map_or(0, |sender| sender.send(&datagram, failed));
            figures.broadcast_datagrams.inc_by(sent as u64);
        }
        yield_now().await;
    }
}
