//! Judges the test with another machine.

use gaung_proto::{
    datagram::DATAGRAM_HEADER,
    limits::{MAX_BODY, MAX_DATAGRAM},
};

use super::{
    super::{
        facts::{Facts, Passage, PeerFacts},
        finding::{Direction, PassageName, PeerTrouble, Trouble},
    },
    Findings,
};

/// Loss from which it is no chance, of 200 datagrams on a cable.
const MUCH_LOST_PERMILLE: u32 = 10;
/// Reordering that repair is not disturbed by.
const MUCH_REORDERED_PERMILLE: u32 = 10;
/// A group's largest datagram.
const NEEDED: u32 = (DATAGRAM_HEADER + MAX_BODY) as u32;
/// A text group's.
const WANTED: u32 = MAX_DATAGRAM as u32;

pub(super) fn judge(facts: &Facts, findings: &mut Findings) {
    let Some(peer) = &facts.peer else { return };
    let mut say = |trouble| findings.of_machine(Trouble::Peer { host: peer.host.clone(), trouble });
    if let Some(why) = peer.failed.clone() {
        say(PeerTrouble::Unreached(why));
    }
    for (direction, passages) in [(Direction::To, &peer.to_peer), (Direction::From, &peer.from_peer)] {
        passages.iter().filter_map(|passage| trouble(peer, direction, passage)).for_each(&mut say);
    }
}

/// Returns the worst finding of one path.
fn trouble(peer: &PeerFacts, direction: Direction, came: &Passage) -> Option<PeerTrouble> {
    let passage = PassageName { cast: came.cast, direction };
    let lost = came.lost_permille();
    // What a peer says of itself may be any number; more cannot have been overtaken than came.
    let overtaken = u64::from(came.reordered.min(came.received)) * 1000 / u64::from(came.received.max(1));
    let overtaken = u32::try_from(overtaken).unwrap_or(u32::MAX);
    let largest = came.largest_bytes;
    if came.received == 0 {
        return Some(PeerTrouble::Silent { passage, same_network: peer.same_network });
    }
    if largest < WANTED {
        return Some(PeerTrouble::Cuts { passage, largest, wanted: WANTED, text_only: largest >= NEEDED });
    }
    if lost > MUCH_LOST_PERMILLE {
        return Some(PeerTrouble::Loses { passage, permille: lost });
    }
    (overtaken > MUCH_REORDERED_PERMILLE).then_some(PeerTrouble::Reorders { passage, permille: overtaken })
}
