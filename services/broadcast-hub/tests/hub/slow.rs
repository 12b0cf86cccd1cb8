//! A reader that does not read: resynchronised from the log once, then disconnected; nobody else is delayed.

use std::time::{Duration, Instant};

use broadcast_hub::Limits;
use gaung_proto::{Seq, pb::hub::server_frame::Frame};

use crate::{
    client::{Framed, Got, take},
    world::World,
};

const RUNS: u64 = 400;
const RUN_BYTES: usize = 32 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_nobody_and_is_sent_away_with_its_place() {
    let world = World::start(Limits { ring_bytes: 512 * 1024, ..Limits::default() }).await;
    let group = world.group("g", 2);
    let (mut slow, _) = Framed::open(world.hub.tcp).await;
    slow.subscribe("g", 1, 0).await;
    let (mut fast, _) = Framed::open(world.hub.tcp).await;
    fast.subscribe("g", 1, 0).await;
    let (mut slow_next, mut fast_next) = (Seq::FIRST, Seq::FIRST);
    // Both are at the head once, so that neither counts as a newcomer.
    world.relay.append(group, 1, RUN_BYTES);
    slow.read_up_to(group, &mut slow_next, Seq(1)).await;
    fast.read_up_to(group, &mut fast_next, Seq(1)).await;

    let begun = Instant::now();
    flood(&world, &mut fast, &mut fast_next).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "the fast one is not held up: {:?}", begun.elapsed());
    slow.read_up_to(group, &mut slow_next, Seq(1 + RUNS)).await;

    flood(&world, &mut fast, &mut fast_next).await;
    let bye = loop {
        match slow.next().await {
            Got::Run(run) => take(group, &mut slow_next, &run),
            Got::Frame(Frame::Bye(bye)) => break bye,
            Got::Frame(frame) => panic!("{frame:?}"),
        }
    };
    assert!(bye.reason.contains("slow") && !bye.r#final, "{bye:?}");
    let resume = bye.resume.iter().find(|resume| resume.group_id == group.as_bytes()[..]).unwrap();
    assert_eq!(Seq(resume.from_seq), slow_next);
    assert!(slow_next < Seq(1 + 2 * RUNS));

    let (mut again, _) = Framed::open(world.hub.tcp).await;
    again.subscribe("g", resume.from_seq, resume.log_id).await;
    again.read_up_to(group, &mut slow_next, Seq(1 + 2 * RUNS)).await;
    world.stop().await;
}

/// Appends more than sockets and ring can hold while `fast` reads it.
pub async fn flood(world: &World, fast: &mut Framed, fast_next: &mut Seq) {
    let group = gaung_proto::GroupId([2; 16]);
    let last = Seq(world.relay.head(group).0 + RUNS);
    for _ in 0..RUNS {
        world.relay.append(group, 1, RUN_BYTES);
        let head = world.relay.head(group);
        // Within the ring, so that it is the hub's task and not the reader's to keep up.
        if head.0.is_multiple_of(8) {
            fast.read_up_to(group, fast_next, head).await;
        }
    }
    fast.read_up_to(group, fast_next, last).await;
}
