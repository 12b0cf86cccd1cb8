//! Forged messages among true ones: those are delivered in the end, whatever was delivered before.

use bytes::BytesMut;
use gaung_engine::{ArrivalSocket, LanePolicy, LaneTrouble, ReceiverEvent};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, Seq, SeqRange,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    datagram::{Fragment, PacketType},
    net::Lane,
};

use super::{CALM, MS, forged, net::Lan};

/// A datagram with `count` messages from `first` on, as the relay would send it.
fn messages(first: Seq, count: u64) -> Vec<u8> {
    let mut block = BlockBuilder::new();
    for at in 0..count {
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId([0xee; 16]) },
            client_seq: ClientSeq(at),
            content_type: ContentType::Text,
            sent_at: SentAt(1),
            payload: b"forged",
        });
    }
    let mut body = BytesMut::new();
    block.write(&mut body);
    forged(PacketType::Data, Epoch(1), first, Fragment::WHOLE).encode(&body).to_vec()
}

fn lan_of_all_kinds() -> Lan {
    let mut lan = Lan::new(1, CALM);
    lan.join(Seq::FIRST, LanePolicy::Auto, true);
    lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
    lan.join(Seq::FIRST, LanePolicy::MulticastOnly, false);
    lan.run_for(300 * MS);
    lan.publish(&[10]);
    lan.run_for(2000 * MS);
    lan
}

#[test]
fn who_is_ahead_of_a_silent_log_goes_back_to_it() {
    let mut lan = lan_of_all_kinds();
    let datagram = messages(Seq(2), 40);
    (0..3).for_each(|member| lan.inject(member, ArrivalSocket::Group, &datagram));
    assert!(lan.members.iter().all(|member| member.delivered.len() == 41));
    lan.run_for(2500 * MS);
    for _ in 0..30 {
        lan.publish(&[10]);
        lan.run_for(20 * MS);
    }
    lan.run_for(100 * MS);
    for member in &lan.members {
        assert_eq!(member.forged, [SeqRange { first: Seq(2), last: Seq(41) }], "people are told");
        member.check(&lan.log, Seq::FIRST, "after forged messages");
    }
    // The first one has left for the hub, and reports there.
    assert_eq!(lan.relay.audience().roster().receipt(Seq(31)).heard, 2);
}

#[test]
fn what_took_the_place_of_a_true_message_is_replaced_when_that_comes() {
    let mut lan = lan_of_all_kinds();
    let datagram = messages(Seq(2), 2);
    (0..2).for_each(|member| lan.inject(member, ArrivalSocket::Group, &datagram));
    // Ahead, so that it waits.
    let datagram = messages(Seq(8), 2);
    (0..3).for_each(|member| lan.inject(member, ArrivalSocket::Group, &datagram));
    for _ in 0..20 {
        lan.publish(&[10]);
    }
    lan.run_for(1000 * MS);
    for (member, was_misled) in lan.members.iter().zip([true, true, false]) {
        assert_eq!(!member.forged.is_empty(), was_misled);
        member.check(&lan.log, Seq::FIRST, "after forged messages");
    }
}

#[test]
fn hints_that_are_not_true_cost_little() {
    let mut lan = lan_of_all_kinds();
    for _ in 0..20 {
        lan.publish(&[10]);
    }
    lan.run_for(500 * MS);
    let datagram = messages(Seq(5), 3);
    for _ in 0..1000 {
        (0..3).for_each(|member| lan.inject(member, ArrivalSocket::Group, &datagram));
        lan.run_for(10 * MS);
    }
    for member in &lan.members {
        assert!(member.readings <= 6, "{} readings in 10 s", member.readings);
        assert!(member.forged.is_empty());
        member.check(&lan.log, Seq::FIRST, "after forged hints");
    }
}

#[test]
fn who_is_deceived_once_leaves_multicast_for_the_hub_until_forging_stops() {
    let mut lan = Lan::new(1, CALM);
    lan.join(Seq::FIRST, LanePolicy::Auto, true);
    lan.run_for(300 * MS);
    lan.publish(&[10]);
    lan.run_for(200 * MS);
    let is_down = |event: &ReceiverEvent| matches!(event, ReceiverEvent::LaneDown { why: LaneTrouble::Forged, .. });
    for _ in 0..300 {
        let head = lan.log.last().expect("one was published").last_seq();
        lan.inject(0, ArrivalSocket::Group, &messages(head.next(), 2));
        lan.publish(&[10]);
        if lan.members[0].lanes.iter().any(is_down) {
            let run = lan.log.last().expect("one was published").clone();
            lan.members[0].receiver.handle_run(lan.now, &run, Lane::Tcp).expect("it is of this log");
            lan.drain();
        }
        lan.run_for(30 * MS);
    }
    let member = &lan.members[0];
    assert_eq!(member.forged.len(), 1, "nothing forged is delivered any more: {:?}", member.forged);
    assert_eq!(member.lanes.iter().filter(|event| is_down(event)).count(), 1, "{:?}", member.lanes);
    assert!(!matches!(member.lanes.last(), Some(ReceiverEvent::LaneUp)), "multicast is avoided while it is forged");

    lan.run_for(7000 * MS);
    assert!(matches!(lan.members[0].lanes.last(), Some(ReceiverEvent::LaneUp)), "{:?}", lan.members[0].lanes);
    lan.publish(&[10]);
    lan.run_for(100 * MS);
    let member = &lan.members[0];
    assert_eq!(member.delivered.last().map(|(.., lane)| *lane), Some(Lane::Multicast));
    member.check(&lan.log, Seq::FIRST, "after forging has stopped");
}
