//! The broadcast lane: every message of `everyone`, after the append, to each interface's own network.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use gaung_engine::BroadcastPacker;
use gaung_net::{
    broadcast::BroadcastSender,
    interface::{Chosen, Fallback, Link, choose, interfaces},
};
use gaung_proto::{GroupTag, SenderId};
use service_kit::share::RateLimit;
use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{MissedTickBehavior, interval},
};
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
/// How often the interfaces are looked at again: laptops change networks.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The sockets, opened again when the machine's interfaces change.
pub(crate) struct BroadcastLane {
    config: BroadcastConfig,
    links: Vec<Link>,
    sender: Option<BroadcastSender>,
}

impl BroadcastLane {
    /// Opens the sockets. Without a wish for an interface, having none is a warning.
    ///
    /// # Errors
    /// If the interface asked for cannot be used.
    pub(crate) fn open(config: BroadcastConfig) -> anyhow::Result<Self> {
        let mut lane = Self { config, links: Vec::new(), sender: None };
        match lane.renew() {
            Ok(()) => {}
            Err(error) if lane.config.iface.is_none() => {
                warn!(error = format!("{error:#}"), "nothing is broadcast for now");
            }
            Err(error) => return Err(error),
        }
        Ok(lane)
    }

    /// Opens the sockets anew if other interfaces are to be used than before.
    fn renew(&mut self) -> anyhow::Result<()> {
        let interfaces = interfaces().context("listing the network interfaces")?;
        let Chosen { links, fallback } = choose(&interfaces, self.config.iface.as_deref())?;
        if links == self.links {
            return Ok(());
        }
        let sender = BroadcastSender::open(&links, self.config.port)?;
        for (link, to) in sender.ways() {
            info!(%link, %to, "broadcasting");
        }
        match fallback {
            Some(Fallback::Loopback) => warn!("only this machine hears broadcasts: no other interface is up"),
            Some(Fallback::ContainerOrVpn) => warn!("broadcasting to containers or tunnels: nothing else is up"),
            None => {}
        }
        self.links = links;
        self.sender = Some(sender);
        Ok(())
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
    let start = Instant::now();
    // One bucket: each datagram leaves by every interface.
    let rate = f64::from(lane.config.datagrams_per_second);
    let limit = RateLimit::new(rate, rate * BURST_SECONDS);
    let mut look = interval(LOOK_AGAIN);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ToBroadcast { run, from } = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            next = runs.recv() => match next {
                Some(next) => next,
                None => return Ok(()),
            },
            _ = look.tick() => {
                // What is open goes on; the next look may find more.
                let _ = lane.renew();
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
