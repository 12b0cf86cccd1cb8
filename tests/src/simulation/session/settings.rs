//! What makes a run of sessions.

use std::time::Duration;

use broadcast_hub::Limits;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// All that a run depends on.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Of every choice within the run.
    pub seed: u64,
    /// Who connects.
    pub peers: Vec<PeerSettings>,
    /// Groups besides `everyone`.
    pub groups: usize,
    /// Runs that are logged a second, all groups together.
    pub runs_per_second: u32,
    /// Largest payload of a message.
    pub payload_bytes: usize,
    /// Until a publish request is answered, at least.
    pub relay_delay: Duration,
    /// Of one group's ring.
    pub ring_bytes: usize,
    /// Until nothing more is logged and asked for.
    pub until: Duration,
    /// Times at which the log of a group loses its older half.
    pub trims: Vec<Duration>,
    /// Times at which a group gets another log.
    pub replacements: Vec<Duration>,
    /// Times at which a group ends.
    pub ends: Vec<Duration>,
    /// When the registry names `everyone`.
    pub everyone_at: Duration,
    /// Short, so that they are reached.
    pub limits: Limits,
    /// What does not work.
    pub breakage: SessionBreakage,
}

/// One peer of the hub.
#[derive(Debug, Clone, Copy)]
pub struct PeerSettings {
    /// When it connects.
    pub at: Duration,
    /// By the text port.
    pub is_text: bool,
    /// How it reads.
    pub reader: Reader,
    /// What it asks for.
    pub habit: Habit,
}

/// How a peer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// All at once.
    Fast,
    /// So many bytes each 10 ms.
    Slow(usize),
    /// All at once, but nothing in every other period of this length.
    Pausing(Duration),
    /// Nothing any more after so long.
    Stuck(Duration),
    /// Is gone after so long.
    Dying(Duration),
}

/// What a peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Subscribes, acknowledges, pings and publishes as a client does.
    Client,
    /// Subscribes and unsubscribes without end, to groups that do not exist too.
    Restless,
    /// Publishes as much as it can.
    Flood,
    /// Pings as much as it can.
    Pings,
    /// Sends requests with errors in them.
    Faulty,
    /// Sends bytes that are no frames.
    Noise,
    /// Says nothing.
    Silent,
}

/// Mechanisms that are taken out around the core, so that the judge has to notice; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionBreakage {
    /// Now and then the core is told that nothing of a write went out.
    pub keeps_cursors: bool,
    /// Gaps are not said.
    pub hides_gaps: bool,
    /// Runs that were read from a log get lost.
    pub loses_log_runs: bool,
    /// Sessions are not told of every run.
    pub loses_marks: bool,
    /// A session whose socket is full holds up those after it.
    pub waits_for_blocked: bool,
    /// Readers that read nothing are kept.
    pub keeps_stuck_readers: bool,
    /// Readers are resynchronised as often as they like.
    pub resyncs_for_ever: bool,
    /// Requests are read however many wait.
    pub reads_on: bool,
    /// Sessions that are over stay in their groups.
    pub leaves_no_group: bool,
}

/// So that the choice of settings and the choices within the run have nothing in common.
const APART: u64 = 0x5e55_1015;

impl SessionSettings {
    /// Four well-behaved peers and nothing out of the ordinary.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        let peer = PeerSettings { at: Duration::ZERO, is_text: false, reader: Reader::Fast, habit: Habit::Client };
        Self {
            seed,
            peers: vec![peer; 4],
            groups: 2,
            runs_per_second: 200,
            payload_bytes: 500,
            relay_delay: Duration::from_millis(20),
            ring_bytes: 64 * 1024,
            until: Duration::from_secs(4),
            trims: Vec::new(),
            replacements: Vec::new(),
            ends: Vec::new(),
            everyone_at: Duration::ZERO,
            limits: Limits {
                hello: Duration::from_secs(1),
                idle: Duration::from_secs(3),
                stall: Duration::from_secs(2),
                subscribe: Duration::from_secs(1),
                resync: Duration::from_secs(5),
                linger: Duration::from_millis(300),
                ..Limits::default()
            },
            breakage: SessionBreakage::default(),
        }
    }

    /// The settings that belong to a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ APART);
        let until = Duration::from_millis(rng.random_range(1500..8000));
        let mut times = |most: usize| -> Vec<Duration> {
            (0..rng.random_range(0..=most)).map(|_| until.mul_f64(rng.random_range(0.1..0.95))).collect()
        };
        let (trims, replacements, ends) = (times(4), times(2), times(1));
        let peers = (0..rng.random_range(1..=10)).map(|_| draw_peer(&mut rng, until)).collect();
        Self {
            peers,
            groups: rng.random_range(1..=4),
            runs_per_second: *one_of(&mut rng, &[20, 200, 1000]),
            payload_bytes: *one_of(&mut rng, &[20, 500, 5000]),
            relay_delay: Duration::from_millis(*one_of(&mut rng, &[20, 20, 100, 2000])),
            ring_bytes: *one_of(&mut rng, &[4 * 1024, 32 * 1024, 256 * 1024]),
            until,
            trims,
            replacements,
            ends,
            everyone_at: Duration::from_millis(*one_of(&mut rng, &[0, 0, 300, 1500])),
            ..Self::calm(seed)
        }
    }
}

fn draw_peer(rng: &mut SmallRng, until: Duration) -> PeerSettings {
    let later = |rng: &mut SmallRng| until.mul_f64(rng.random_range(0.0..1.0));
    let reader = match rng.random_range(0..10) {
        0..5 => Reader::Fast,
        5..7 => Reader::Slow(*one_of(rng, &[64, 1024, 16 * 1024])),
        7 => Reader::Pausing(Duration::from_millis(*one_of(rng, &[50, 500, 1500]))),
        8 => Reader::Stuck(later(rng)),
        _ => Reader::Dying(later(rng)),
    };
    let habit = match rng.random_range(0..12) {
        0..6 => Habit::Client,
        6 => Habit::Restless,
        7 => Habit::Flood,
        8 => Habit::Pings,
        9 => Habit::Faulty,
        10 => Habit::Noise,
        _ => Habit::Silent,
    };
    PeerSettings { at: later(rng).mul_f64(0.7), is_text: rng.random_bool(0.2), reader, habit }
}

fn one_of<'a, T>(rng: &mut SmallRng, choices: &'a [T]) -> &'a T {
    &choices[rng.random_range(0..choices.len())]
}
