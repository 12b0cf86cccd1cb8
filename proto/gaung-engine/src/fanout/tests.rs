#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::*;

const A: GroupId = GroupId([1; 16]);
const B: GroupId = GroupId([2; 16]);

/// Groups whose message `seq` is the bytes `[group byte, seq]`, read one message a piece.
struct Store(BTreeMap<GroupId, (u64, u64)>);

impl Store {
    fn take(&self, group: GroupId, next: Seq, budget: usize, out: &mut Vec<RunPiece>) -> RingTake {
        let (oldest, head) = self.0[&group];
        if next.0 > head {
            return RingTake::AtHead;
        }
        if next.0 < oldest {
            return RingTake::Behind { oldest: Seq(oldest) };
        }
        let last = head.min(next.0 + (budget / 2) as u64);
        out.extend((next.0..=last).map(|seq| piece(group, seq)));
        RingTake::Pieces { at_head: last == head }
    }
}

fn piece(group: GroupId, seq: u64) -> RunPiece {
    RunPiece { bytes: Bytes::copy_from_slice(&[group.0[0], seq as u8]), next: Seq(seq + 1) }
}

fn fanout(write_bytes: usize) -> Fanout {
    Fanout::new(FanoutLimits { write_bytes, write_slices: 64, control_bytes: 8 })
}

fn write_all(fanout: &mut Fanout, store: &Store) -> Vec<u8> {
    let mut out = Vec::new();
    while fanout.gather(|g, n, b, o| store.take(g, n, b, o)).slices > 0 {
        let bytes: Vec<u8> = fanout.slices().flatten().copied().collect();
        fanout.wrote(bytes.len());
        out.extend(bytes);
    }
    out
}

#[test]
fn control_goes_first_and_groups_take_turns() {
    let store = Store(BTreeMap::from([(A, (1, 6)), (B, (1, 6))]));
    let mut fanout = fanout(8);
    fanout.place(A, Seq(1));
    fanout.place(B, Seq(4));
    fanout.push_control(Bytes::from_static(b"c")).unwrap();
    let out = write_all(&mut fanout, &store);
    assert_eq!(out[0], b'c');
    assert!(out[1..9].contains(&1) && out[1..9].contains(&2), "both within the first writes: {out:?}");
    assert_eq!(fanout.next(A), Some(Seq(7)));
    assert_eq!(fanout.places().count(), 2);
    assert_eq!(write_all(&mut fanout, &store), [0u8; 0], "nothing before a mark");
}

#[test]
fn any_partial_writes_give_the_same_stream_with_whole_frames() {
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut store = Store(BTreeMap::from([(A, (1, 20)), (B, (1, 0))]));
        let mut fanout = fanout(rng.random_range(1..40));
        fanout.place(A, Seq(1));
        fanout.place(B, Seq(1));
        let mut out = Vec::new();
        for _ in 0..400 {
            if rng.random_ratio(1, 8) {
                let group = store.0.get_mut(&B).unwrap();
                group.1 = (group.1 + 3).min(30);
                fanout.mark(B);
            }
            fanout.gather(|g, n, b, o| store.take(g, n, b, o));
            let bytes: Vec<u8> = fanout.slices().flatten().copied().collect();
            let n = rng.random_range(0..=bytes.len());
            fanout.wrote(n);
            out.extend(&bytes[..n]);
        }
        out.extend(write_all(&mut fanout, &store));
        for (group, head) in [(1u8, 20u64), (2, store.0[&B].1)] {
            let seqs: Vec<u64> = out.chunks(2).filter(|f| f[0] == group).map(|f| f[1].into()).collect();
            assert_eq!(seqs, (1..=head).collect::<Vec<_>>(), "group {group}, seed {seed}");
        }
    }
}

#[test]
fn a_cursor_behind_the_ring_is_held_fed_and_released_without_a_hole() {
    let store = Store(BTreeMap::from([(A, (5, 8))]));
    let mut fanout = fanout(64);
    fanout.place(A, Seq(2));
    assert!(write_all(&mut fanout, &store).is_empty());
    assert_eq!(fanout.poll_behind(), Some(CursorBehind::Trimmed { group: A, next: Seq(2), oldest: Seq(5) }));
    assert_eq!(fanout.poll_behind(), None);
    fanout.mark(A);
    assert!(write_all(&mut fanout, &store).is_empty(), "a mark does not release it");
    for seq in 2..=5 {
        fanout.feed(A, piece(A, seq));
    }
    assert_eq!(fanout.feed_bytes(), 8);
    fanout.release(A);
    assert_eq!(write_all(&mut fanout, &store), [1, 2, 1, 3, 1, 4, 1, 5, 1, 6, 1, 7, 1, 8]);
    assert_eq!(fanout.feed_bytes(), 0);
}

#[test]
fn the_last_word_follows_a_half_written_frame() {
    let store = Store(BTreeMap::from([(A, (1, 3))]));
    let mut fanout = fanout(64);
    fanout.place(A, Seq(1));
    fanout.gather(|g, n, b, o| store.take(g, n, b, o));
    fanout.wrote(3);
    assert!(!fanout.is_flushed());
    assert_eq!(fanout.next(A), Some(Seq(3)), "frame 2 is begun, so it will be whole");
    assert_eq!(fanout.push_control(Bytes::from_static(&[0; 9])), Err(ControlFull { limit_bytes: 8 }));
    fanout.remove_all();
    fanout.push_last(Bytes::from_static(b"bye, bye, bye"));
    assert_eq!(write_all(&mut fanout, &store), b"\x02bye, bye, bye");
    assert!(fanout.is_flushed());
}
