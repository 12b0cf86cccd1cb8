//! The group goes on at another address while it is talked in.

use std::{net::SocketAddrV4, time::Duration};

use bytes::BytesMut;
use gaung_engine::{ArrivalSocket, LanePolicy, ReceiverEvent};
use gaung_proto::{
    Epoch, Generation, GroupAddr, GroupId, LogId, Seq,
    body::Migrate,
    datagram::{Fragment, PacketType},
    net::Lane,
};

use super::{
    CALM, MS, STORM, forged,
    net::{GROUP, HOME, LOG, Lan},
    publish_randomly, seeds,
};

fn addr(generation: u32) -> GroupAddr {
    GroupAddr::new([239, 255, 7, generation as u8].into(), 20_000 + generation as u16).unwrap()
}

fn move_to(lan: &mut Lan, generation: u32) {
    lan.relay.handle_move(lan.now, addr(generation), 1, Generation(generation));
    lan.drain();
}

fn ears(lan: &Lan, member: usize) -> &[SocketAddrV4] {
    &lan.members[member].ears
}

fn notice(group: GroupId, log: LogId, generation: u32) -> Vec<u8> {
    let mut body = BytesMut::new();
    Migrate { group, log, generation: Generation(generation), to: addr(generation) }.write(&mut body);
    forged(PacketType::Migrate, Epoch(1), Seq::ZERO, Fragment::WHOLE).encode(&body).to_vec()
}

#[test]
fn in_calm_weather_nobody_notices_but_by_the_address() {
    let mut lan = Lan::new(1, CALM);
    for history in [true, true, false] {
        lan.join(Seq::FIRST, LanePolicy::MulticastOnly, history);
    }
    lan.run_for(100 * MS);
    for generation in 2..6 {
        publish_randomly(&mut lan, 100);
        move_to(&mut lan, generation);
        publish_randomly(&mut lan, 100);
        lan.run_for(6000 * MS);
    }
    let stats = lan.relay.stats();
    assert_eq!((stats.naks, stats.moves_told), (0, 28), "{stats:?}");
    for member in &lan.members {
        member.check(&lan.log, Seq::FIRST, "calm");
        assert_eq!((&member.gaps[..], &member.lost[..], member.readings), (&[][..], &[][..], 0));
        let moved = |event: &ReceiverEvent| matches!(event, ReceiverEvent::Moved { .. });
        assert_eq!(member.lanes.iter().filter(|event| moved(event)).count(), 4, "{:?}", member.lanes);
        assert_eq!((&member.ears[..], member.receiver.stats().moves), (&[addr(5).socket_addr()][..], 4));
    }
}

#[test]
fn in_a_storm_everybody_arrives_and_has_every_message_once() {
    for seed in seeds(20) {
        let mut lan = Lan::new(seed, STORM);
        let members = [true, true, true, false, false].map(|log| lan.join(Seq::FIRST, LanePolicy::MulticastOnly, log));
        lan.run_for(300 * MS);
        for generation in 2..5 {
            publish_randomly(&mut lan, 60);
            move_to(&mut lan, generation);
            publish_randomly(&mut lan, 60);
            lan.run_for(1500 * MS);
        }
        lan.run_for(15_000 * MS);
        for member in members {
            assert_eq!(ears(&lan, member), [addr(4).socket_addr()], "seed {seed}, member {member}");
            assert!(lan.members[member].lost.is_empty(), "seed {seed}: {:?}", lan.members[member].lost);
            lan.members[member].check(&lan.log, Seq::FIRST, &format!("seed {seed}"));
        }
    }
}

#[test]
fn who_slept_through_it_and_has_datagrams_alone_is_told_when_it_speaks() {
    let mut lan = Lan::new(3, CALM);
    let (sleeper, other) = (
        lan.join(Seq::FIRST, LanePolicy::MulticastOnly, false),
        lan.join(Seq::FIRST, LanePolicy::MulticastOnly, false),
    );
    lan.run_for(100 * MS);
    lan.publish(&[10]);
    lan.run_for(200 * MS);
    lan.members[sleeper].hears = false;
    move_to(&mut lan, 2);
    lan.run_for(200 * MS);
    move_to(&mut lan, 3);
    lan.publish(&[20, 30]);
    lan.run_for(4500 * MS);
    lan.members[sleeper].hears = true;
    lan.run_for(3000 * MS);
    for member in [sleeper, other] {
        assert_eq!(ears(&lan, member), [addr(3).socket_addr()]);
        lan.members[member].check(&lan.log, Seq::FIRST, "told");
        assert!(lan.members[member].lost.is_empty());
    }
}

#[test]
fn a_group_without_an_address_for_a_while_loses_nothing() {
    let mut lan = Lan::new(4, CALM);
    let member = lan.join(Seq::FIRST, LanePolicy::MulticastOnly, false);
    lan.run_for(100 * MS);
    lan.publish(&[10]);
    lan.run_for(100 * MS);
    lan.relay.handle_lapse(lan.now);
    let sent = lan.relay_bytes;
    for _ in 0..50 {
        lan.publish(&[700]);
        lan.run_for(100 * MS);
    }
    assert_eq!(lan.members[member].delivered.len(), 1);
    assert!(lan.relay_bytes - sent < 5000, "answers alone: {} B", lan.relay_bytes - sent);
    move_to(&mut lan, 2);
    lan.run_for(3000 * MS);
    assert_eq!(ears(&lan, member), [addr(2).socket_addr()]);
    lan.members[member].check(&lan.log, Seq::FIRST, "after the lapse");
    assert!(lan.members[member].delivered.iter().all(|(.., lane)| *lane == Lane::Multicast));
}

#[test]
fn a_notice_that_is_not_true_costs_nothing() {
    let mut lan = Lan::new(5, CALM);
    let member = lan.join(Seq::FIRST, LanePolicy::MulticastOnly, true);
    lan.run_for(1200 * MS);
    for notice in
        [notice(GROUP, LogId(1), 2), notice(GroupId([1; 16]), LOG, 2), notice(GROUP, LOG, 1), notice(GROUP, LOG, 0)]
    {
        lan.inject(member, ArrivalSocket::Group, &notice);
        assert_eq!(ears(&lan, member), [HOME]);
    }
    let talk = |lan: &mut Lan, rounds: u32| {
        for _ in 0..rounds {
            lan.publish(&[50]);
            lan.run_for(100 * MS);
        }
    };
    for round in 0..5u32 {
        for generation in 2..40 {
            lan.inject(member, ArrivalSocket::Group, &notice(GROUP, LOG, generation + round));
            assert_eq!(ears(&lan, member).len(), 2, "one is tried at a time");
        }
        talk(&mut lan, 51);
        assert_eq!(ears(&lan, member), [HOME, addr(39 + round).socket_addr()], "the first is given up, the last tried");
        talk(&mut lan, 51);
        assert_eq!(ears(&lan, member), [HOME], "given up too");
    }
    assert_eq!(lan.relay.stats().naks, 0);
    assert!(lan.members[member].lanes.contains(&ReceiverEvent::Stale), "the registry is asked");
    // And the true one is still heeded.
    move_to(&mut lan, 60);
    lan.run_for(Duration::from_secs(1));
    assert_eq!(ears(&lan, member), [addr(60).socket_addr()]);
    lan.members[member].check(&lan.log, Seq::FIRST, "lied to");
}
