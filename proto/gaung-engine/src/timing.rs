//! Every wait of the engines, with its range, its source and what a wrong value costs.
//!
//! *Default* and *allowed* stand in each field's documentation; a test holds the values to their ranges and to each other.
//! `grtt` is the group's round trip (RFC 5401 section 3.7.1): the greatest of the members' smoothed means.
//! "Measured" means a simulation or bench run on a LAN model with 1 to 40 % loss.

use std::time::Duration;

/// Declares [`Timing`] and [`TIMING`], so that a wait has its documentation, value and range in one place.
macro_rules! timings {
    ($($(#[$doc:meta])* $name:ident = $value:expr, in $range:expr;)*) => {
        /// Waits and intervals of the engines. They are constants of the protocol, not settings: relay and members of
        /// one group have to agree on most of them.
        #[derive(Debug, Clone, Copy)]
        pub struct Timing {$(
            $(#[$doc])*
            #[doc = concat!("\n\nDefault `", stringify!($value), "`, allowed `", stringify!($range), "`.")]
            pub $name: Duration,
        )*}

        /// The values that the engines use.
        pub const TIMING: Timing = Timing { $($name: $value,)* };

        #[cfg(test)]
        impl Timing {
            /// Each wait that has left its range.
            fn out_of_range(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if !($range).contains(&self.$name) { names.push(stringify!($name)); })*
                names
            }
        }
    };
}

timings! {
    // Group round trip.

    /// Round trip assumed before the first STATUS: a LAN with a busy receiver. RFC 5740 begins with 500 ms, for the
    /// Internet. Shorter: first NACKs before their repair can come; longer: slow first repairs.
    grtt_initial = ms(5), in ms(1)..=ms(500);
    /// Lower bound of the round trip. Below it only scheduling is measured.
    grtt_min = us(100), in us(10)..=ms(1);
    /// Upper bound of the round trip. Longer: one member that sleeps or forges reports slows every repair.
    grtt_max = ms(250), in ms(50)..=s(1);
    /// Longest round trip sample that is believed; more is a wrong or foreign echo.
    grtt_sample_max = s(2), in s(1)..=s(10);

    // A member requests repairs.

    /// Shortest wait for a datagram that may only have been overtaken, before it counts as missing; else half a round
    /// trip. Shorter: NACKs for reordered datagrams; longer: later repairs.
    reorder_min = us(500), in us(100)..=ms(5);
    /// NACK retry interval: shortest wait before a NACK is repeated, else [`NACK_RETRY_ROUND_TRIPS`] (RFC 5740).
    /// Measured: with 6 round trips instead of 4 the 99th percentile at 20 % loss was 62 ms at a round trip of
    /// 1.2 ms. Shorter than gathering, lingering and one round trip together: the relay takes a repeated NACK for one
    /// that crossed its repair, and ignores it.
    nack_retry_min = us(2500), in us(1500)..=ms(20);
    /// Longest wait before a NACK is repeated. Longer: after a pause of the relay, which makes round trips look long
    /// for seconds, a member without a log to read stands still for eight of these.
    nack_retry_max = ms(500), in ms(50)..=s(2);
    /// Least time between two NACK datagrams of a member. Shorter: losses of one burst are requested one by one.
    nack_spacing = us(500), in us(100)..=ms(5);
    /// Rest for each row of missing messages that was visited. Shorter: thousands of rows cost a member more than a
    /// tenth of a core.
    gap_scan_rest = Duration::from_nanos(500), in Duration::from_nanos(100)..=us(10);
    /// Age at which a missing message is read from the log instead. Shorter: reads that the next repair makes
    /// needless; longer: messages behind it wait.
    gap_age_max = ms(250), in ms(50)..=s(2);
    /// Delay before retrying a history read that could not be started.
    history_recheck = ms(20), in ms(5)..=ms(200);
    /// Delay after a history read that failed or brought nothing. Shorter: load on a relay that is in trouble.
    history_retry = ms(500), in ms(100)..=s(5);
    /// Delay after a history read that exposed a forged datagram; doubles three times. Longer: what is really missing
    /// waits for more than 2 s once the forger has gone.
    history_after_forgery = ms(250), in ms(50)..=s(1);

    // The relay repairs.

    /// Shortest time for which NACKs of one repair are gathered; else one round trip (RFC 5401).
    /// Shorter: one repair for each requester instead of one for all.
    repair_gather_min = us(500), in us(100)..=ms(5);
    /// Longest time for which NACKs are gathered. Longer: each repair is later by it.
    repair_gather_max = ms(5), in ms(1)..=ms(50);
    /// Shortest time after a repair for which NACKs count as having crossed it; else two round trips (the holdoff of
    /// RFC 5740). Shorter: duplicate repairs; longer: a lost repair is repeated later.
    repair_linger_min = ms(1), in us(200)..=ms(10);
    /// Longest time in which a block of 64 datagrams is filled and still repaired by parity. Longer: waiting for the
    /// end of the block costs more than parity saves.
    parity_block_max = ms(10), in ms(2)..=ms(50);
    /// Longest pause within a block that is being filled: data at full speed leaves in batches.
    parity_pause_max = ms(1), in us(200)..=ms(5);

    // The relay sends.

    /// Longest wait of a half-full datagram for more messages. Shorter: more, smaller datagrams; longer: latency.
    packing_max = us(200), in us(0)..=ms(2);
    /// Longest queue of first-sent data, as a time at the present rate. Longer: reading the log would be faster.
    send_queue_max = s(2), in ms(500)..=s(10);
    /// What may leave at once, as a time at the rate. Shorter: timers and system calls are the limit; longer: bursts
    /// that overflow a switch.
    rate_burst = ms(2), in us(500)..=ms(20);
    /// Least time for which an empty token bucket fills. Shorter: a timer for each datagram.
    rate_pause_min = us(200), in us(50)..=ms(2);
    /// Period after which the rate is reviewed; it is cut at most once in it. Shorter than STATUS reports take: cuts
    /// for loss that a cut has cured already.
    rate_period = s(1), in ms(500)..=s(5);
    /// Time for which loss reports still speak of data that was skipped. At least two STATUS intervals.
    skip_echo = s(2), in s(2)..=s(10);
    /// Silence (no STATUS, no PROBE) after which a group is sent heartbeats only. Shorter than [`Timing::presence`]:
    /// data is withheld from members that are present.
    unheard_after = s(10), in s(5)..=s(60);

    // Heartbeats.

    /// Interval of the first heartbeat after data; doubles to the next. Shorter: more datagrams; longer: the loss of
    /// the last datagram of a burst is noticed later.
    heartbeat_min = ms(10), in ms(2)..=ms(100);
    /// Interval of heartbeats in a silent group. Longer: members take their absence for silence, see
    /// [`Timing::lane_silence`].
    heartbeat_max = s(1), in ms(200)..=s(1);
    /// Heartbeat interval of a group without listeners, for each group of the relay, so that all of them together send
    /// some 20 a second.
    heartbeat_rest_per_group = ms(50), in ms(10)..=ms(500);
    /// Least such interval: whoever knows only a group's address waits 5 s for a heartbeat, and one may be lost.
    heartbeat_rest_min = s(2), in s(1)..=ms(2500);
    /// Greatest such interval. Longer: whoever knows only an address may give up before it hears anything.
    heartbeat_rest_max = s(60), in s(10)..=s(300);

    // Presence and reports.

    /// A member is present for this long after its last STATUS, or after its session was last known to be there.
    /// Shorter than three STATUS intervals: two lost reports make a member absent, and receipts wrong.
    presence = s(5), in s(3)..=s(30);
    /// Time for which an absent member is kept, for the receipts of what it missed.
    absence_kept = s(60), in s(10)..=s(600);
    /// A member that acknowledged what was not logged is believed again after this, or once it has gone back.
    receipt_doubt = s(10), in s(1)..=s(60);
    /// Interval of STATUS of a member that delivers nothing (RFC 5740 collects round trips likewise).
    status_interval = s(1), in ms(500)..=s(2);
    /// Least interval of STATUS of a member that delivers. Shorter: a large group floods the relay; longer: receipts
    /// come later.
    status_gap = ms(100), in ms(20)..=s(1);
    /// Added to it for each member of the group.
    status_gap_per_member = ms(2), in us(500)..=ms(10);
    /// Interval of the first PROBEs; doubles to the next.
    probe_min = ms(50), in ms(10)..=ms(500);
    /// Interval of PROBEs that stay unanswered.
    probe_max = s(2), in ms(500)..=s(10);
    /// Age at which a cookie is renewed: a NAT or a change of address may have made it wrong.
    cookie_age = s(20), in s(5)..=s(120);

    // Which lane a member uses.

    /// Multicast that is not heard this long after the start is not there. Shorter than [`Timing::heartbeat_max`] and
    /// some jitter: a silent group looks broken.
    lane_probe = ms(1500), in ms(1200)..=s(10);
    /// Silence after which multicast counts as lost: three heartbeats and some jitter.
    lane_silence = ms(3300), in ms(3100)..=s(10);
    /// Silence of a needed hub after which it counts as out of reach: multicast that somebody forges is still better than
    /// nothing.
    hub_patience = s(1), in ms(200)..=s(10);
    /// Interval at which loss and silence are looked at.
    lane_check = s(1), in ms(200)..=s(2);
    /// Time for which multicast is heard without a break before the member returns to it; doubles with each move away.
    /// Shorter: a flapping network moves members all the time.
    lane_hold_min = s(5), in s(2)..=s(60);
    /// Longest such time. Longer: a network that was mended stays unused.
    lane_hold_max = s(60), in s(10)..=s(600);
    /// Time without a move after which the hold is short again.
    lane_calm = s(120), in s(30)..=s(3600);
    /// Span over which loss is measured. Shorter: too few datagrams to judge by.
    loss_span = s(5), in s(2)..=s(30);
    /// Least time between two losses that count as separate signs of a small path MTU.
    path_mtu_spacing = ms(500), in ms(100)..=s(5);
    /// Period after which signs of a small path MTU are forgotten; they are kept for up to two.
    path_mtu_period = s(10), in s(5)..=s(60);

    // Whom a member believes.

    /// While the relay's own address was heard within this, other sources are dropped. Longer: a relay whose address
    /// has changed is deaf for longer; shorter than [`Timing::heartbeat_max`]: forged sources get through.
    source_trusted = s(4), in s(2)..=s(30);
    /// Silence of the relay's address after which a datagram from another one is a reason to ask the registry.
    source_suspicious = ms(1500), in ms(1200)..=s(4);
    /// Silence of an epoch after which another one is believed. Shorter: forged epochs interrupt; longer: a restarted
    /// relay is heard later.
    epoch_silence = ms(150), in ms(50)..=s(1);
    /// A heartbeat may be overtaken by data: what was delivered later than this before it says nothing.
    head_settled = ms(100), in ms(20)..=s(1);
    /// Delay between two questions to the relay because of a contradiction; doubles three times while answers find
    /// nothing wrong, so that forged hints cost the relay little.
    doubt_min = ms(500), in ms(100)..=s(2);
    /// Delay between two questions how far the log reaches, where messages are about to be given up.
    confirm_interval = ms(50), in ms(10)..=ms(500);
    /// Silence after which a tag that the broadcast lane learned is forgotten.
    broadcast_tag_kept = s(30), in s(5)..=s(300);

    // A group moves to another address.

    /// From the first MIGRATE to the first datagram at the new address. Shorter: members have not joined it yet.
    move_lead = ms(100), in ms(50)..=s(1);
    /// From the first MIGRATE to the second; then doubling.
    move_notice_min = ms(50), in ms(10)..=ms(500);
    /// Longest time for which a member waits to hear the group at the address that it is said to go to.
    move_patience = s(5), in s(2)..=s(30);
    /// Time for which datagrams of the former address are still taken after the first from the new one.
    move_late = ms(500), in ms(100)..=s(5);
    /// Between the first two questions whether the relay is there; doubles. NACKs are not served meanwhile.
    move_proof_min = ms(10), in ms(2)..=ms(100);
    /// Least time between two events that tell the program to ask the registry.
    stale_interval = s(1), in ms(200)..=s(10);
    /// The same where nothing is heard at all.
    stale_interval_silent = s(3), in s(1)..=s(30);

    // Publishing by datagram, and tickets.

    /// Delay before a PUBLISH is first repeated; doubles to the next.
    publish_retry_min = ms(60), in ms(20)..=ms(500);
    /// Longest delay between two repeats of a PUBLISH.
    publish_retry_max = s(2), in ms(500)..=s(10);
    /// Silence after which a registry counts as away: it renews nobody's ticket, so none expires. Services hear it
    /// every few seconds.
    registry_away = s(60), in s(10)..=s(600);
    /// A stream outlasts its last ticket by this, so that a step of the registry's clock interrupts nobody who renews.
    ticket_grace = s(60), in s(10)..=s(600);

    // Lines of the text port.

    /// Silence that ends a line of a client that sends whole messages without a newline.
    line_silence = ms(100), in ms(50)..=s(1);
    /// Silence that ends a line that is too long, so that a client that sends no newlines can go on.
    line_discard_silence = s(1), in ms(200)..=s(10);
    /// Silence that ends a single character of a client that has sent no newline yet: longer than a person who types
    /// looks for the second key, short enough to wait for an answer to a message of one letter.
    line_first_key_silence = s(2), in s(1)..=s(5);
    /// Silence that ends a line which came key by key, of a client that has sent no newline yet: long enough to think
    /// of the next word.
    line_key_silence = s(10), in s(5)..=s(60);
    /// Silence that ends a line which came key by key, of a client that is known to send newlines.
    line_typing_silence = s(300), in s(60)..=s(3600);
    /// Silence that ends what came without a newline of a client that is known to send them, or what may be the
    /// beginning of another protocol's first line: long enough for a segment to be sent again (RFC 6298).
    line_segment_silence = s(2), in s(1)..=s(10);
}

/// NACKs are repeated after this many round trips, unless [`Timing::nack_retry_min`] is longer: as long as gathering,
/// lingering and the way there and back take.
pub(crate) const NACK_RETRY_ROUND_TRIPS: u32 = 4;
/// Longest random backoff before a NACK, in round trips (K of RFC 5401, which advises 6 where NACKs are unicast).
/// Measured: 1000 members send at most 10 NACKs a loss; 6 would make every repair later.
pub(crate) const NACK_BACKOFF_ROUND_TRIPS: u32 = 4;
/// NACKs that follow each other evenly before the wait doubles: one repair in five is lost at 20 % loss, and the messages
/// behind it wait too.
const NACK_EVEN_RETRIES: u32 = 4;
/// Doublings of the NACK retry interval at most.
const NACK_RETRY_DOUBLINGS: u32 = 5;

/// Returns how long a datagram may be overtaken before it counts as missing.
pub(crate) fn reorder(grtt: Duration) -> Duration {
    TIMING.reorder_min.max(grtt / 2)
}

/// Returns how long the relay gathers NACKs before it repairs.
pub(crate) fn gather(grtt: Duration) -> Duration {
    grtt.clamp(TIMING.repair_gather_min, TIMING.repair_gather_max)
}

/// Returns for how long after a repair NACKs for it count as having crossed it.
pub(crate) fn linger(grtt: Duration) -> Duration {
    TIMING.repair_linger_min.max(grtt * 2)
}

/// Returns the wait after the n-th NACK, from 1.
pub(crate) fn retry(grtt: Duration, n: u8) -> Duration {
    let doublings = u32::from(n).saturating_sub(NACK_EVEN_RETRIES).min(NACK_RETRY_DOUBLINGS);
    (TIMING.nack_retry_min.max(grtt * NACK_RETRY_ROUND_TRIPS) * (1 << doublings)).min(TIMING.nack_retry_max)
}

/// Returns a measured or reported round trip within its bounds.
pub(crate) fn bounded_grtt(grtt: Duration) -> Duration {
    grtt.clamp(TIMING.grtt_min, TIMING.grtt_max)
}

const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn s(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_within_its_range() {
        assert_eq!(TIMING.out_of_range(), Vec::<&str>::new());
    }

    #[test]
    fn waits_that_depend_on_each_other_fit() {
        let t = TIMING;
        assert!(t.grtt_min < t.grtt_initial && t.grtt_initial < t.grtt_max);
        assert!(t.lane_silence > 3 * t.heartbeat_max, "three heartbeats may be late before multicast counts as lost");
        assert!(t.lane_probe > t.heartbeat_max && t.source_suspicious > t.heartbeat_max);
        assert!(t.source_trusted > t.lane_silence, "a relay that is only late stays trusted");
        assert!(t.presence >= 3 * t.status_interval && t.unheard_after >= t.presence);
        assert!(t.skip_echo >= 2 * t.status_interval && t.rate_period >= t.status_interval);
        assert!(t.move_patience > t.move_lead + t.heartbeat_max);
        assert!(t.gap_age_max < t.nack_retry_max * 8 && t.lane_hold_min < t.lane_hold_max);
    }

    #[test]
    fn waits_for_repair_double_after_the_fourth() {
        let grtt = ms(1);
        assert_eq!(retry(Duration::ZERO, 1), TIMING.nack_retry_min);
        assert_eq!([1, 2, 3, 4, 5].map(|n| retry(grtt, n).as_millis()), [4, 4, 4, 4, 8]);
        assert_eq!(retry(grtt, u8::MAX), retry(grtt, 9));
        assert_eq!(
            retry(grtt * 250, 7),
            TIMING.nack_retry_max,
            "a message that cannot be had holds the others up for seconds, not minutes"
        );
    }

    #[test]
    fn a_repeated_nack_is_not_taken_for_one_that_crossed_the_repair() {
        for micros in [0, 100, 400, 1000, 5000, 100_000] {
            let grtt = us(micros);
            assert!(retry(grtt, 1) >= gather(grtt) + linger(grtt) + grtt, "{grtt:?}");
        }
    }
}
