//! A link on the way drops what is longer than its MTU, and lets all else pass.

use std::time::Duration;

use gaung_engine::{LanePolicy, LaneTrouble, ReceiverEvent};
use gaung_proto::{Seq, net::Lane};

use super::{CALM, net::Lan, net::Weather};

const SECOND: Duration = Duration::from_secs(1);
const SHORT: usize = 60;
const LONG: usize = 3000;
/// Of a network with an MTU of 1280.
const NARROW: usize = 1280 - 28;

/// A short message each second, and a long one each other second.
fn talk(lan: &mut Lan, seconds: u32) {
    for second in 0..seconds {
        lan.publish(&[SHORT]);
        if second % 2 == 0 {
            lan.publish(&[LONG]);
        }
        lan.run_for(SECOND);
    }
}

fn too_long(event: &ReceiverEvent) -> bool {
    matches!(event, ReceiverEvent::LaneDown { why: LaneTrouble::TooLong { bytes }, .. } if (900..NARROW).contains(bytes))
}

#[test]
fn a_member_behind_a_small_mtu_says_so_and_returns_when_it_is_gone() {
    let mut lan = Lan::new(1, CALM);
    let policies = [LanePolicy::Auto, LanePolicy::MulticastOnly];
    let [auto, only] = policies.map(|policy| lan.join(Seq::FIRST, policy, true));
    let other = lan.join(Seq::FIRST, LanePolicy::Auto, true);
    lan.run_for(SECOND);
    [auto, only].iter().for_each(|&id| lan.members[id].longest = NARROW);
    talk(&mut lan, 12);
    for id in [auto, only] {
        let lanes = &lan.members[id].lanes;
        assert!(matches!(&lanes[..], [ReceiverEvent::LaneUp, trouble] if too_long(trouble)), "{lanes:?}");
    }
    assert_eq!(lan.members[other].lanes, [ReceiverEvent::LaneUp], "others hear as before");
    let by = |lan: &Lan, id: usize, lane| lan.members[id].delivered.iter().filter(|message| message.2 == lane).count();
    assert_eq!((by(&lan, only, Lane::Multicast), by(&lan, only, Lane::History)), (12, 6), "nothing else changes");

    [auto, only].iter().for_each(|&id| lan.members[id].longest = usize::MAX);
    talk(&mut lan, 12);
    for id in [auto, only] {
        assert_eq!(lan.members[id].lanes.last(), Some(&ReceiverEvent::LaneUp), "{:?}", lan.members[id].lanes);
        assert_eq!(lan.members[id].lanes.len(), 3);
    }
    lan.members[only].check(&lan.log, Seq::FIRST, "multicast alone");
}

#[test]
fn a_burst_that_does_not_come_is_not_called_loss() {
    let mut lan = Lan::new(2, CALM);
    let auto = lan.join(Seq::FIRST, LanePolicy::Auto, true);
    lan.run_for(SECOND);
    lan.members[auto].longest = NARROW;
    lan.publish(&[SHORT]);
    lan.run_for(SECOND);
    (0..10).for_each(|_| lan.publish(&[SHORT; 500]));
    lan.run_for(3 * SECOND);
    let lanes = &lan.members[auto].lanes;
    assert!(matches!(&lanes[..], [ReceiverEvent::LaneUp, trouble] if too_long(trouble)), "{lanes:?}");
}

#[test]
fn loss_is_not_called_a_small_mtu() {
    for seed in super::seeds(10) {
        let mut lan = Lan::new(seed, Weather { loss: 0.5, loss_up: 0.3, ..CALM });
        for policy in [LanePolicy::Auto, LanePolicy::MulticastOnly] {
            lan.join(Seq::FIRST, policy, true);
        }
        lan.run_for(SECOND);
        talk(&mut lan, 60);
        for member in &lan.members {
            assert!(!member.lanes.iter().any(too_long), "seed {seed}: {:?}", member.lanes);
        }
    }
}
