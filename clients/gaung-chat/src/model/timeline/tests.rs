#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use gaung_client::Lane;
use gaung_proto::{ClientId, DeviceId};

use super::*;
use crate::authorship::MessageSignature;

const ANI: DeviceId = DeviceId([1; 16]);
const BUDI: DeviceId = DeviceId([2; 16]);

fn said(seq: u64, device: DeviceId, kind: Kind) -> IncomingMessage {
    let name = if device == ANI { "Ani" } else { "Budi" }.to_owned();
    let (client, lane, signature) = (ClientId([9; 16]), Lane::Tcp, MessageSignature::default());
    IncomingMessage { seq: Seq(seq), device, client, name, at_us: seq, lane, kind, signature }
}

fn text(seq: u64, words: &str) -> IncomingMessage {
    said(seq, ANI, Kind::Text(Bytes::copy_from_slice(words.as_bytes())))
}

fn edit(of: u64, words: &'static str) -> Kind {
    Kind::Edit { seq: Seq(of), body: Bytes::from_static(words.as_bytes()) }
}

fn react(to: u64, remove: bool) -> Kind {
    Kind::React { seq: Seq(to), emoji: "👍".to_owned(), remove }
}

fn words(timeline: &Timeline) -> Vec<&str> {
    timeline.items().iter().filter_map(|item| item.entry()?.text()).collect()
}

fn live(count: u64) -> Timeline {
    let mut timeline = Timeline::default();
    for seq in 1..=count {
        timeline.append(text(seq, &format!("m{seq}")), KeptEnd::Newest);
    }
    timeline
}

#[test]
fn only_the_author_edits_and_deletes() {
    let mut timeline = live(2);
    timeline.append(said(3, BUDI, edit(1, "forged")), KeptEnd::Newest);
    timeline.append(said(4, BUDI, Kind::Delete { seq: Seq(2) }), KeptEnd::Newest);
    assert_eq!(words(&timeline), ["m1", "m2"]);
    timeline.append(said(5, ANI, edit(1, "better")), KeptEnd::Newest);
    timeline.append(said(6, ANI, Kind::Delete { seq: Seq(2) }), KeptEnd::Newest);
    timeline.append(said(7, ANI, edit(2, "back")), KeptEnd::Newest);
    assert_eq!(words(&timeline), ["better"]);
    assert!(timeline.entry(Seq(1)).unwrap().edited);
    assert_eq!(timeline.entry(Seq(2)).unwrap().body, MessageBody::Deleted, "a deleted message cannot be edited");
}

#[test]
fn a_flood_of_reactions_and_forged_edits_displaces_no_change_of_the_author() {
    let mut timeline = live(2);
    for seq in 0..2_000_u64 {
        let stranger = DeviceId(((seq % 700) as u128 + 10).to_be_bytes());
        let kind = if seq % 2 == 0 { react(1, false) } else { edit(1, "forged") };
        timeline.append(said(3 + seq, if seq < 600 { BUDI } else { stranger }, kind), KeptEnd::Newest);
    }
    timeline.append(said(2_003, ANI, edit(1, "better")), KeptEnd::Newest);
    assert_eq!(words(&timeline), ["better", "m2"]);
    timeline.append(said(2_004, ANI, react(1, false)), KeptEnd::Newest);
    timeline.append(said(2_005, ANI, Kind::Delete { seq: Seq(1) }), KeptEnd::Newest);
    assert_eq!(timeline.entry(Seq(1)).unwrap().body, MessageBody::Deleted);
}

#[test]
fn a_message_without_a_device_cannot_be_edited() {
    let mut timeline = Timeline::default();
    timeline.append(said(1, DeviceId::NONE, Kind::Text(Bytes::from_static(b"netcat"))), KeptEnd::Newest);
    timeline.append(said(2, DeviceId::NONE, edit(1, "other netcat")), KeptEnd::Newest);
    assert_eq!(words(&timeline), ["netcat"]);
}

#[test]
fn a_reaction_counts_once_for_each_device_and_can_be_removed() {
    let mut timeline = live(1);
    for seq in 2..4 {
        timeline.append(said(seq, BUDI, react(1, false)), KeptEnd::Newest);
    }
    timeline.append(said(4, ANI, react(1, false)), KeptEnd::Newest);
    let by = |timeline: &Timeline| timeline.entry(Seq(1)).unwrap().reactions.first().map_or(0, |r| r.by.len());
    assert_eq!(by(&timeline), 2);
    timeline.append(said(5, BUDI, react(1, true)), KeptEnd::Newest);
    timeline.append(said(6, ANI, react(1, true)), KeptEnd::Newest);
    assert_eq!(by(&timeline), 0);
}

#[test]
fn a_change_applies_to_a_message_that_is_read_later() {
    let mut timeline = Timeline::default();
    timeline.append(said(11, ANI, edit(10, "later words")), KeptEnd::Newest);
    timeline.prepend(vec![text(9, "m9"), text(10, "first words"), said(10, ANI, edit(9, "x"))]);
    assert_eq!(words(&timeline), ["x", "later words"]);
}

#[test]
fn pages_overlap_without_duplicates_and_the_oldest_is_recognised() {
    let mut timeline = Timeline::default();
    timeline.append(text(5, "m5"), KeptEnd::Newest);
    timeline.prepend((3..=6).map(|seq| text(seq, &format!("m{seq}"))).collect());
    assert_eq!(words(&timeline), ["m3", "m4", "m5"]);
    assert_eq!(timeline.before(), Some(Seq(3)));
    timeline.prepend(Vec::new());
    assert_eq!(timeline.before(), None);
}

#[test]
fn the_window_is_bounded_and_moves_with_the_reader() {
    let count = MAX_ITEMS as u64 + 500;
    let mut timeline = live(count);
    assert_eq!(timeline.items().len(), MAX_ITEMS);
    assert!(timeline.is_live());
    let before = timeline.before().unwrap();
    assert_eq!(before, Seq(501));
    timeline.prepend((301..=500).map(|seq| text(seq, "older")).collect());
    assert_eq!(timeline.items().len(), MAX_ITEMS);
    assert!(!timeline.is_live(), "the newest had to go");
    timeline.append(text(count + 1, "new"), KeptEnd::Newest);
    assert_eq!(timeline.head(), Seq(count + 1));
    assert_ne!(words(&timeline).last(), Some(&"new"));
    let from = timeline.after().0;
    assert!(timeline.extend((from..=count + 1).map(|seq| text(seq, "again")).collect()));
    assert!(timeline.is_live());
}

#[test]
fn a_gap_is_shown_at_its_position_until_it_is_filled() {
    let mut timeline = live(2);
    let range = SeqRange { first: Seq(3), last: Seq(4) };
    timeline.missing(range, 0);
    timeline.missing(range, 0);
    let gaps = |timeline: &Timeline| {
        timeline.items().iter().filter(|item| matches!(item.content, ItemContent::Gap { .. })).count()
    };
    assert_eq!(gaps(&timeline), 1);
    timeline.append(text(3, "m3"), KeptEnd::Newest);
    timeline.filled(range);
    timeline.append(text(4, "m4"), KeptEnd::Newest);
    assert_eq!(gaps(&timeline), 0);
    timeline.lost(SeqRange { first: Seq(5), last: Seq(6) }, 0);
    timeline.append(text(7, "m7"), KeptEnd::Newest);
    assert_eq!((gaps(&timeline), words(&timeline).len()), (1, 5));
    assert!(
        matches!(timeline.items()[4].content, ItemContent::Gap { lost: true, .. }),
        "before the message that follows"
    );
}

#[test]
fn joins_and_leaves_are_folded_into_one_item() {
    let mut timeline = live(1);
    for presence in [
        Presence::came("Budi".to_owned()),
        Presence::came("Citra".to_owned()),
        Presence::left("Budi".to_owned()),
        Presence::left("Ani".to_owned()),
    ] {
        timeline.note(ItemContent::Presence(presence), 0);
    }
    let expected = Presence { came: vec!["Citra".to_owned()], left: vec!["Ani".to_owned()] };
    assert_eq!(timeline.items().len(), 2);
    assert!(matches!(&timeline.items()[1].content, ItemContent::Presence(presence) if *presence == expected));
}
