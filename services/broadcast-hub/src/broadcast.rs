//! The broadcast lane: every message of `everyone`, after the append, to each interface's own network.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use gaung_engine::BroadcastPacker;
use gaung_net::{
    broadcast::BroadcastSender,
    interface::{choose, interfaces},
};
use gaung_proto::{GroupTag, SenderId};
use tokio::{sync::mpsc, task::yield_now};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::BroadcastConfig,
    hub::{Hub, ToBroadcast},
};

/// Runs that wait to be broadcast; further ones are left out and counted, for the lane promises nothing.
pub(crate) const WAITING_RUNS: usize = 256;

/// Opens the sockets.
///
/// # Errors
/// If the interface asked for cannot be used.
pub(crate) fn open(config: &BroadcastConfig) -> anyhow::Result<BroadcastSender> {
    let interfaces = interfaces().context("listing the network interfaces")?;
    let chosen = choose(&interfaces, config.iface.as_deref())?;
    let sender = BroadcastSender::open(&chosen.links, config.port)?;
    for (link, to) in sender.ways() {
        info!(%link, %to, "broadcasting");
    }
    if sender.ways().next().is_none() {
        warn!("no interface has a broadcast address; nobody hears broadcasts");
    }
    Ok(sender)
}

/// Sends until stopped.
pub(crate) async fn run(
    hub: Arc<Hub>,
    sender: BroadcastSender,
    mut runs: mpsc::Receiver<ToBroadcast>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut packer = BroadcastPacker::new(SenderId(hub.id.0));
    let start = Instant::now();
    loop {
        let ToBroadcast { run, from } = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            next = runs.recv() => match next {
                Some(next) => next,
                None => return Ok(()),
            },
        };
        let Some(everyone) = hub.directory.everyone() else { continue };
        let tag = GroupTag::of(everyone.id, everyone.generation, run.header().log);
        packer.handle_run(tag, &run, from, start.elapsed().as_micros() as u32);
        while let Some(datagram) = packer.poll_datagram() {
            let sent = sender.send(&datagram, |_, _| {
                hub.figures.broadcast_failures.inc();
            });
            hub.figures.broadcast_datagrams.inc_by(sent as u64);
        }
        yield_now().await;
    }
}
