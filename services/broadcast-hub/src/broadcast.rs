//! The broadcast lane: every message of `everyone`, after the append, to each interface's own network.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use gaung_engine::BroadcastPacker;
use gaung_net::{
    broadcast::BroadcastSender,
    interface::{InterfaceFallback, Link, LinkSelection, LinkWatch, data_body},
};
use gaung_proto::{GroupTag, SenderId};
use service_kit::share::RateLimit;
use tokio::{sync::mpsc, task::yield_now};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::BroadcastConfig,
    hub::{Hub, ToBroadcast},
};

/// Runs that wait to be broadcast; further ones are left out and counted, for the lane promises nothing.
pub(crate) const WAITING_RUNS: usize = 256;
/// Datagrams that may leave at once after a pause: as many as one second's.
const BURST_SECONDS: f64 = 1.0;

/// The sockets, opened again when the machine's interfaces change.
pub(crate) struct BroadcastLane {
    port: u16,
    datagrams_per_second: u32,
    watch: LinkWatch,
    sender: Option<BroadcastSender>,
}

impl BroadcastLane {
    /// Opens the sockets, as far as there are interfaces; others are waited for. Must be called within a runtime.
    ///
    /// # Errors
    /// If the system does not list its interfaces.
    pub(crate) fn open(config: BroadcastConfig) -> anyhow::Result<Self> {
        let BroadcastConfig { port, iface, datagrams_per_second } = config;
        let wanted = iface.into_iter().collect();
        let watch = LinkWatch::begin(wanted).context("listing the network interfaces")?;
        let mut lane = Self { port, datagrams_per_second, watch, sender: None };
        let selection = lane.watch.now();
        lane.renew(&selection);
        Ok(lane)
    }

    /// Opens the sockets anew.
    fn renew(&mut self, selection: &LinkSelection) {
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
            warn!("{missing}; nothing is broadcast there until it is");
        }
        match selection.fallback {
            Some(InterfaceFallback::Loopback) => warn!("only this machine hears broadcasts: no other interface is up"),
            Some(InterfaceFallback::ContainerOrVpn) => {
                warn!("broadcasting to containers or tunnels: nothing else is up")
            }
            None => {}
        }
    }
}

/// Sends until stopped.
pub(crate) async fn run(
    hub: Arc<Hub>,
    mut lane: BroadcastLane,
    mut runs: mpsc::Receiver<ToBroadcast>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut packer = BroadcastPacker::new(SenderId(hub.id.0));
    packer.set_body(data_body(&lane.watch.now().links));
    let start = Instant::now();
    // One bucket: each datagram leaves by every interface.
    let rate = f64::from(lane.datagrams_per_second);
    let limit = RateLimit::new(rate, rate * BURST_SECONDS);
    loop {
        let ToBroadcast { run, from } = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            next = runs.recv() => match next {
                Some(next) => next,
                None => return Ok(()),
            },
            selection = lane.watch.changed() => {
                lane.renew(&selection);
                packer.set_body(data_body(&selection.links));
                continue;
            }
        };
        let Some(everyone) = hub.directory.everyone() else { continue };
        let tag = GroupTag::of(everyone.id, everyone.generation, run.header().log);
        packer.handle_run(tag, &run, from, start.elapsed().as_micros() as u32);
        while let Some(datagram) = packer.poll_datagram() {
            // The lane has no repair and every host of the network hears it: what is too much is left out of it alone.
            if limit.take((), Instant::now()).is_err() {
                hub.figures.broadcast_limited.inc();
                continue;
            }
            let failed = |_: &Link, _| {
                hub.figures.broadcast_failures.inc();
            };
            let sent = lane.sender.as_ref().map_or(0, |sender| sender.send(&datagram, failed));
            hub.figures.broadcast_datagrams.inc_by(sent as u64);
        }
        yield_now().await;
    }
}
