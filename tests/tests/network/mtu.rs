//! Links that carry less than others: datagrams are never fragmented.

use gaung_tests::{
    lab::{INTERFACE, Lab},
    needs,
};

use crate::talk::Talk;

/// Long messages take several datagrams whatever the MTU.
const LONG: usize = 4000;

#[test]
fn datagrams_are_as_long_as_the_servers_link_carries() {
    needs!(Namespaces);
    let lab = Lab::new(2);
    let mut talk = Talk::begin(&lab, &[]);
    talk.join(lab.host(1), &[]);
    talk.length = LONG;
    for mtu in ["1280", "1000", "1500"] {
        lab.host(0).ip_command(&format!("link set {INTERFACE} mtu {mtu}"));
        talk.until_multicast(mtu);
    }
    talk.check_that_nothing_is_lost();
}

#[test]
fn a_message_that_no_datagram_holds_is_refused_at_once() {
    needs!(Namespaces);
    let lab = Lab::new(2);
    let talk = Talk::begin(&lab, &[]);
    let send = |length: usize| talk.send_by_datagrams(lab.host(1), &"x".repeat(length));
    let _ = send(1000).end().expect_code(0);
    lab.host(1).ip_command(&format!("link set {INTERFACE} mtu 1000"));
    let refused = send(1000).end();
    assert!(refused.code() != 0 && refused.stderr.join("\n").contains("bytes"), "{:?}", refused.stderr);
    let _ = send(700).end().expect_code(0);
}

#[test]
fn a_small_mtu_on_the_way_is_told_and_the_lane_is_true() {
    needs!(Namespaces, Nft);
    let lab = Lab::new(2);
    let mut talk = Talk::begin(&lab, &[]);
    let (auto, multicast) = (0, 1);
    talk.listen(lab.host(1), &["lobby"]);
    talk.listen(lab.host(1), &["lobby", "--lane", "multicast"]);
    talk.until_multicast("nothing is wrong");
    lab.host(1).lose_longer_than(1280);
    talk.length = LONG;
    talk.until_said(auto, "now comes by tcp: multicast datagrams of some");
    talk.until_said(multicast, "now comes by history: multicast datagrams of some");
    talk.until_receipt(lab.host(0), "heard by 2 of 2");
    lab.host(1).heal();
    talk.until_multicast("the link is mended");
    talk.check_that_nothing_is_lost();
}
