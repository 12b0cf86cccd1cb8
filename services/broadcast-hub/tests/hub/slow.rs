//! A slow reader is resynchronised from the log once, then disconnected, and delays nobody else.

use std::time::{Duration, Instant};

use broadcast_hub::Limits;
use gaung_proto::{Seq, pb::hub::server_frame::Frame};

use crate::{
    client::{FramedClient, Received, take},
    world::{TestHub, World},
};

const RUNS: u64 = 400;
const RUN_BYTES: usize = 32 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_delays_nobody_and_is_disconnected_with_its_position() {
    disconnects_slow_reader(async |hub| FramedClient::open(hub.tcp).await.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_by_tls_delays_nobody_and_is_disconnected_with_its_position() {
    disconnects_slow_reader(FramedClient::open_by_tls).await;
}

async fn disconnects_slow_reader(open: impl AsyncFn(&TestHub) -> FramedClient) {
    let world = World::start(Limits { ring_bytes: 512 * 1024, ..Limits::default() }).await;
    let group = world.group("g", 2);
    let mut slow = open(&world.hub).await;
    slow.subscribe("g", 1, 0).await;
    let (mut fast, _) = FramedClient::open(world.hub.tcp).await;
    fast.subscribe("g", 1, 0).await;
    let (mut slow_next, mut fast_next) = (Seq::FIRST, Seq::FIRST);
    // Both are at the head once, so that neither counts as a newcomer.
    world.relay.append(group, 1, RUN_BYTES);
    slow.read_up_to(group, &mut slow_next, Seq(1)).await;
    fast.read_up_to(group, &mut fast_next, Seq(1)).await;

    let begun = Instant::now();
    flood(&world, &mut fast, &mut fast_next).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "the fast reader is not delayed: {:?}", begun.elapsed());
    slow.read_up_to(group, &mut slow_next, Seq(1 + RUNS)).await;

    flood(&world, &mut fast, &mut fast_next).await;
    let bye = loop {
        match slow.next().await {
            Received::Run(run) => take(group, &mut slow_next, &run),
            Received::Frame(Frame::Bye(bye)) => break bye,
            Received::Frame(frame) => panic!("{frame:?}"),
        }
    };
    assert!(bye.reason.contains("slow") && !bye.r#final, "{bye:?}");
    let resume = bye.resume.iter().find(|resume| resume.group_id == group.as_bytes()[..]).unwrap();
    assert_eq!(Seq(resume.from_seq), slow_next);
    assert!(slow_next < Seq(1 + 2 * RUNS));

    let (mut again, _) = FramedClient::open(world.hub.tcp).await;
    again.subscribe("g", resume.from_seq, resume.log_id).await;
    again.read_up_to(group, &mut slow_next, Seq(1 + 2 * RUNS)).await;
    world.stop().await;
}

/// Appends more than sockets and ring can hold while `fast` reads it.
pub async fn flood(world: &World, fast: &mut FramedClient, fast_next: &mut Seq) {
    let group = gaung_proto::GroupId([2; 16]);
    let last = Seq(world.relay.head(group).0 + RUNS);
    for _ in 0..RUNS {
        world.relay.append(group, 1, RUN_BYTES);
        let head = world.relay.head(group);
        // Never more than the ring holds, so that the fast reader needs no resync.
        if head.0.is_multiple_of(8) {
            fast.read_up_to(group, fast_next, head).await;
        }
    }
    fast.read_up_to(group, fast_next, last).await;
}
