#![allow(clippy::unwrap_used)]
use super::*;
use crate::claim::{ClaimHasher, RequestOrigin, StreamKey};
use gaung_proto::DeviceId;

const LOCAL: &Claimant = &Claimant::LOCAL;
const ANN: Author = client(1);

const fn client(n: u8) -> Author {
    Author { device: DeviceId::NONE, client: ClientId([n; 16]) }
}

/// One of many clients.
fn client_of(n: u64) -> Author {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    Author { device: DeviceId::NONE, client: ClientId(id) }
}

fn windows() -> ClientWindows {
    ClientWindows::new(DEFAULT_WINDOW_BYTES)
}

/// Who publishes without a key from `10.0.0.HOST`.
fn host(host: u8) -> Claimant {
    ClaimHasher::new([1; 16]).claimant(None, RequestOrigin { peer: Some([10, 0, 0, host].into()), session: None })
}

/// Who publishes by a hub at `10.0.0.HUB`, from a session that is said to be at `10.1.0.SESSION`.
fn session(hub: u8, session: u64) -> Claimant {
    let [.., high, low] = session.to_be_bytes();
    let origin = RequestOrigin { peer: Some([10, 0, 0, hub].into()), session: Some([10, 1, high, low].into()) };
    ClaimHasher::new([1; 16]).claimant(None, origin)
}

#[test]
fn a_duplicate_is_answered_with_its_first_seq() {
    let mut windows = windows();
    let check = |windows: &ClientWindows, n| windows.check(ANN, LOCAL, ClientSeq(n));
    assert_eq!(check(&windows, 5), DuplicateCheck::New);
    windows.record(ANN, LOCAL, ClientSeq(5), Seq(70), 0);
    assert_eq!(check(&windows, 5), DuplicateCheck::Duplicate(Seq(70)));
    assert_eq!(check(&windows, 3), DuplicateCheck::New, "unseen, and within the window");
    windows.record(ANN, LOCAL, ClientSeq(3), Seq(71), 0);
    assert_eq!(check(&windows, 3), DuplicateCheck::Duplicate(Seq(71)));
    assert_eq!(check(&windows, 4), DuplicateCheck::New);
    assert_eq!(check(&windows, 0), DuplicateCheck::OutOfWindow);
    assert_eq!(check(&windows, u64::MAX), DuplicateCheck::OutOfWindow);
}

#[test]
fn another_device_is_no_other_client() {
    let mut windows = windows();
    windows.record(ANN, LOCAL, ClientSeq(5), Seq(70), 0);
    let damaged = Author { device: DeviceId([4; 16]), ..ANN };
    assert_eq!(windows.check(damaged, LOCAL, ClientSeq(5)), DuplicateCheck::Duplicate(Seq(70)));
    assert_eq!(windows.check(damaged, &host(9), ClientSeq(6)), DuplicateCheck::OtherPublisher);
}

#[test]
fn a_client_belongs_to_who_came_first() {
    let mut windows = windows();
    windows.record(ANN, &host(1), ClientSeq(1), Seq(1), 0);
    for n in [1, 2, 1 << 40] {
        assert_eq!(windows.check(ANN, &host(2), ClientSeq(n)), DuplicateCheck::OtherPublisher);
        assert!(!windows.are_next(ANN, &host(2), ClientSeq(n), ClientSeq(n)));
    }
    windows.claim(ANN, &host(2));
    assert!(windows.are_next(ANN, &host(1), ClientSeq(2), ClientSeq(2)), "who has an owner is not claimed again");
    let restored = ClientWindows::restore(&windows.snapshot(Seq(1)), DEFAULT_WINDOW_BYTES).unwrap();
    assert_eq!(
        restored.check(ANN, &host(2), ClientSeq(2)),
        DuplicateCheck::OtherPublisher,
        "a snapshot knows the owner"
    );
    assert_eq!(restored.check(ANN, &host(1), ClientSeq(1)), DuplicateCheck::Duplicate(Seq(1)));
}

#[test]
fn a_key_makes_its_holder_the_owner_at_any_address() {
    let mut windows = windows();
    let at = |host: u8, key: u8| {
        let origin = RequestOrigin { peer: Some([10, 0, 0, host].into()), session: None };
        ClaimHasher::new([1; 16]).claimant(Some(StreamKey([key; 16])), origin)
    };
    windows.record(ANN, &at(1, 1), ClientSeq(1), Seq(1), 0);
    assert_eq!(windows.check(ANN, &at(2, 1), ClientSeq(1)), DuplicateCheck::Duplicate(Seq(1)));
    assert_eq!(windows.check(ANN, &at(1, 2), ClientSeq(1)), DuplicateCheck::OtherPublisher);
    assert_eq!(windows.check(ANN, &host(1), ClientSeq(1)), DuplicateCheck::OtherPublisher);
}

#[test]
fn a_row_is_recorded_as_its_messages_are() {
    let (mut rows, mut singles) = (windows(), windows());
    assert!(!rows.are_next(ANN, LOCAL, ClientSeq(1), ClientSeq(1)), "an unknown client has to be looked at");
    for (first, count) in [(1, 1), (2, 700), (702, 2000), (5000, 3), (9000, 40)] {
        let last = ClientSeq(first + count - 1);
        assert!(first == 1 || rows.are_next(ANN, LOCAL, ClientSeq(first), last));
        rows.record_row(ANN, LOCAL, ClientSeq(first), Seq(first + 100), count, first as i64);
        let single = |n| singles.record(ANN, LOCAL, ClientSeq(n), Seq(n + 100), first as i64);
        (first..first + count).for_each(single);
        assert_eq!(rows.snapshot(Seq(20_000)), singles.snapshot(Seq(20_000)));
        assert_eq!(rows.bytes(), singles.bytes());
        assert!(!rows.are_next(ANN, LOCAL, last, last), "it was seen");
    }
    assert!(!rows.are_next(ANN, LOCAL, ClientSeq(9040), ClientSeq(u64::MAX)));
}

#[test]
fn any_order_is_remembered_as_the_right_one_is() {
    let order = [9, 4, 6, 5, 1, 10, 2, 8, 3, 7, 20, 19];
    let mut windows = windows();
    for (index, n) in order.into_iter().enumerate() {
        windows.record(ANN, LOCAL, ClientSeq(n), Seq(n + 50), 0);
        for (other, m) in order.into_iter().enumerate() {
            let expected = if other <= index { DuplicateCheck::Duplicate(Seq(m + 50)) } else { DuplicateCheck::New };
            assert_eq!(windows.check(ANN, LOCAL, ClientSeq(m)), expected, "{m} after {n}");
        }
    }
    let mut in_order = self::windows();
    (1..=10).chain(19..=20).for_each(|n| in_order.record(ANN, LOCAL, ClientSeq(n), Seq(n + 50), 0));
    assert_eq!(windows.bytes(), in_order.bytes(), "rows are joined");
    windows.record(ANN, LOCAL, ClientSeq(5), Seq(999), 0);
    assert_eq!(windows.check(ANN, LOCAL, ClientSeq(5)), DuplicateCheck::Duplicate(Seq(55)), "the first seq stays");
}

#[test]
fn the_window_slides_over_what_was_logged() {
    let mut windows = windows();
    for n in 1..=3000 {
        assert_eq!(windows.check(ANN, LOCAL, ClientSeq(n)), DuplicateCheck::New);
        windows.record(ANN, LOCAL, ClientSeq(n), Seq(n), 0);
    }
    assert_eq!(windows.check(ANN, LOCAL, ClientSeq(3000 - 1023)), DuplicateCheck::Duplicate(Seq(1977)));
    assert_eq!(windows.check(ANN, LOCAL, ClientSeq(3000 - 1024)), DuplicateCheck::OutOfWindow);
    windows.record(ANN, LOCAL, ClientSeq(1 << 40), Seq(3001), 0);
    assert_eq!(
        windows.check(ANN, LOCAL, ClientSeq(3001)),
        DuplicateCheck::New,
        "one message far ahead silences nobody"
    );
    assert_eq!(windows.check(ANN, LOCAL, ClientSeq(3000)), DuplicateCheck::Duplicate(Seq(3000)));
    assert_eq!(windows.check(ANN, LOCAL, ClientSeq(1977)), DuplicateCheck::OutOfWindow, "1024 are remembered");
    (3001..=3100).for_each(|n| windows.record(ANN, LOCAL, ClientSeq(n), Seq(n + 1), 0));
    assert_eq!(windows.check(ANN, LOCAL, ClientSeq(3100)), DuplicateCheck::Duplicate(Seq(3101)));
    assert!(windows.bytes() < 1000);
}

#[test]
fn a_roll_back_forgets_seqs_but_not_the_floor() {
    let mut windows = windows();
    (1..=2000).for_each(|n| windows.record(ANN, LOCAL, ClientSeq(n), Seq(n), 0));
    windows.forget_after(Seq(1990));
    assert_eq!(windows.check(ANN, LOCAL, ClientSeq(1990)), DuplicateCheck::Duplicate(Seq(1990)));
    assert_eq!(windows.check(ANN, LOCAL, ClientSeq(1991)), DuplicateCheck::New);
    assert_eq!(
        windows.check(ANN, LOCAL, ClientSeq(976)),
        DuplicateCheck::OutOfWindow,
        "it was logged once, and that is lost"
    );
    windows.forget_after(Seq(0));
    assert_eq!((windows.clients(), windows.bytes()), (0, 0));
}

#[test]
fn a_client_costs_what_it_used() {
    let mut windows = windows();
    for n in 0..9000 {
        windows.record(client_of(n), LOCAL, ClientSeq(1), Seq(2 * n + 1), 0);
        windows.record(client_of(n), LOCAL, ClientSeq(1024), Seq(2 * n + 2), 0);
    }
    assert_eq!(windows.clients(), 9000);
    assert!(windows.bytes() < 3 * 1024 * 1024, "{}", windows.bytes());
    assert!(windows.snapshot(Seq(u64::MAX)).len() <= windows.snapshot_bytes());
}

#[test]
fn who_fills_the_table_forgets_its_own() {
    let limit = 1024 * 1024;
    let mut windows = ClientWindows::new(limit);
    let others: Vec<_> = (0..20).map(|n| (client(n + 1), host(n + 1))).collect();
    for (author, claimant) in &others {
        windows.record(*author, claimant, ClientSeq(1), Seq(1), 0);
    }
    for n in 0..20_000 {
        windows.record(client_of(n), &host(99), ClientSeq(1), Seq(2), 1);
        assert!(windows.bytes() <= limit);
    }
    for (author, claimant) in &others {
        assert_eq!(windows.check(*author, claimant, ClientSeq(1)), DuplicateCheck::Duplicate(Seq(1)));
    }
    assert_eq!(
        windows.check(client_of(19_999), &host(99), ClientSeq(1)),
        DuplicateCheck::Duplicate(Seq(2)),
        "the newest stays"
    );
    assert_eq!(windows.check(client_of(0), &host(99), ClientSeq(1)), DuplicateCheck::New, "the oldest is forgotten");
    assert!(windows.forgotten() > 10_000);

    // The same after a restart.
    let mut restored = ClientWindows::restore(&windows.snapshot(Seq(2)), limit).unwrap();
    (20_000..30_000).for_each(|n| restored.record(client_of(n), &host(99), ClientSeq(1), Seq(2), 1));
    for (author, claimant) in &others {
        assert_eq!(restored.check(*author, claimant, ClientSeq(1)), DuplicateCheck::Duplicate(Seq(1)));
    }
}

#[test]
fn a_hub_gains_nothing_by_making_up_sessions() {
    let mut windows = ClientWindows::new(256 * 1024);
    windows.record(ANN, &host(1), ClientSeq(1), Seq(1), 0);
    let mate = client(2);
    windows.record(mate, &session(9, 7), ClientSeq(1), Seq(1), 0);
    // By the hub at 10.0.0.9 many sessions of one client each, and one session of many.
    for n in 0..3000 {
        windows.record(client_of(n), &session(9, 1000), ClientSeq(1), Seq(2), 1);
        windows.record(client_of(10_000 + n), &session(8, n), ClientSeq(1), Seq(2), 1);
    }
    assert_eq!(windows.check(ANN, &host(1), ClientSeq(1)), DuplicateCheck::Duplicate(Seq(1)));
    assert_eq!(
        windows.check(mate, &session(9, 7), ClientSeq(1)),
        DuplicateCheck::Duplicate(Seq(1)),
        "the larger session gives"
    );
}

#[test]
fn who_published_since_is_forgotten_later() {
    let mut windows = ClientWindows::new(CLIENT_BYTES * 8);
    (0..8).for_each(|n| windows.record(client_of(n), LOCAL, ClientSeq(1), Seq(n + 1), n as i64));
    windows.record(client_of(0), LOCAL, ClientSeq(2), Seq(9), 8);
    windows.record(client_of(8), LOCAL, ClientSeq(1), Seq(10), 9);
    assert_ne!(windows.check(client_of(0), LOCAL, ClientSeq(1)), DuplicateCheck::New);
    assert_eq!(windows.check(client_of(1), LOCAL, ClientSeq(1)), DuplicateCheck::New);
}

#[test]
fn what_came_from_runs_alone_is_charged_once_it_is_claimed() {
    let mut windows = ClientWindows::new(64 * 1024);
    (0..200).for_each(|n| windows.record(client_of(n), &Claimant::UNKNOWN, ClientSeq(1), Seq(1), 0));
    assert_eq!(windows.check(client_of(3), &host(1), ClientSeq(1)), DuplicateCheck::Duplicate(Seq(1)));
    windows.claim(client_of(3), &host(1));
    assert_eq!(windows.check(client_of(3), &host(2), ClientSeq(1)), DuplicateCheck::OtherPublisher);
    (1000..2000).for_each(|n| windows.record(client_of(n), &host(2), ClientSeq(1), Seq(1), 1));
    assert_eq!(windows.check(client_of(3), &host(1), ClientSeq(1)), DuplicateCheck::Duplicate(Seq(1)));
    windows.expire(CLIENT_MEMORY_MS + 2, 0);
    assert_eq!((windows.clients(), windows.bytes()), (0, 0));
    windows.record(client_of(3), &host(2), ClientSeq(1), Seq(1), 0);
    assert_eq!(windows.bytes(), CLIENT_BYTES);
}

#[test]
fn silence_for_a_day_is_forgotten_and_a_clock_that_was_ahead_changes_nothing() {
    let mut windows = windows();
    windows.record(ANN, LOCAL, ClientSeq(1), Seq(1), 300 * CLIENT_MEMORY_MS);
    windows.expire(1000, 0);
    windows.expire(1000 + CLIENT_MEMORY_MS - 1, 0);
    assert_eq!(windows.clients(), 1);
    windows.expire(1000 + CLIENT_MEMORY_MS, 0);
    assert_eq!(windows.clients(), 0);
}

#[test]
fn a_clock_that_is_set_forward_is_nobodys_silence() {
    let (mut windows, step) = (windows(), 400 * CLIENT_MEMORY_MS);
    windows.record(ANN, LOCAL, ClientSeq(1), Seq(1), 1000);
    windows.expire(2000 + step, step);
    windows.record(client_of(2), LOCAL, ClientSeq(1), Seq(2), 3000 + step);
    windows.expire(1000 + step + CLIENT_MEMORY_MS - 1, 0);
    assert_eq!(windows.clients(), 2);
    windows.expire(1000 + step + CLIENT_MEMORY_MS, 0);
    assert_eq!(windows.clients(), 1);
    windows.resume(9 * step);
    assert_eq!(windows.check(client_of(2), LOCAL, ClientSeq(1)), DuplicateCheck::Duplicate(Seq(2)), "nor is a restart");
    windows.expire(9 * step + CLIENT_MEMORY_MS, 0);
    assert_eq!(windows.clients(), 0);
}

#[test]
fn a_lower_limit_is_met_at_once() {
    let mut windows = windows();
    (0..1000).for_each(|n| windows.record(client_of(n), LOCAL, ClientSeq(1), Seq(1), 0));
    windows.set_limit(10 * CLIENT_BYTES);
    assert!(windows.bytes() <= 10 * CLIENT_BYTES && windows.clients() >= 9);
}

#[test]
fn a_snapshot_comes_back_whole_and_a_damaged_one_is_refused() {
    let mut windows = windows();
    for n in 1..=50u64 {
        let from = if n % 3 == 0 { Claimant::UNKNOWN } else { host((n % 7) as u8) };
        windows.record(client((n % 7) as u8), &from, ClientSeq(n * 3), Seq(n), n as i64);
    }
    let snapshot = windows.snapshot(Seq(50));
    let restored = ClientWindows::restore(&snapshot, DEFAULT_WINDOW_BYTES).unwrap();
    assert_eq!(restored.snapshot(Seq(50)), snapshot);
    assert_eq!(restored.bytes(), windows.bytes());
    windows.forget_after(Seq(30));
    assert_eq!(restored.snapshot(Seq(30)), windows.snapshot(Seq(50)));
    for cut in (0..snapshot.len()).step_by(13) {
        assert!(ClientWindows::restore(&snapshot[..cut], DEFAULT_WINDOW_BYTES).is_err(), "cut at {cut}");
    }
    for at in (0..snapshot.len()).step_by(3) {
        let mut damaged = snapshot.to_vec();
        damaged[at] ^= 0xff;
        let _ = ClientWindows::restore(&damaged, DEFAULT_WINDOW_BYTES);
    }
}
