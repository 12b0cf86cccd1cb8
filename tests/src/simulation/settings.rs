//! All that makes a run. Settings and nothing else decide what happens.

use std::time::Duration;

use super::weather::{Loss, Weather};

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Of every random choice.
    pub seed: u64,
    /// Members, those that join later included; 1 to 1000.
    pub members: usize,
    /// What kinds of members.
    pub mix: Mix,
    /// What is said.
    pub traffic: Traffic,
    /// Until healing; then it is [`Weather::FAIR`].
    pub weather: Weather,
    /// The log's disk.
    pub disk: DiskSettings,
    /// Bytes that the relay keeps for repairs.
    pub repair_bytes: usize,
    /// The highest rate of the relay, Mbit/s.
    pub rate_mbit: u32,
    /// Clocks run up to so many millionths too fast or too slow.
    pub drift_ppm: i64,
    /// What goes wrong, in order of time.
    pub faults: Vec<TimedFault>,
    /// Who means harm.
    pub attacks: Vec<Attack>,
    /// When everything is well again. All that is over then must have reached everybody 10 s later.
    pub heals_at: Duration,
    /// Times of calm before that: all that is over at one of them has reached everybody 10 s later.
    pub calm_at: Vec<Duration>,
    /// What is switched off to see the judge find it.
    pub breakage: Breakage,
}

/// What each new member is, by chance; the rest may use multicast and TCP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Never leave multicast.
    pub multicast_only: f64,
    /// Hear the hub alone.
    pub tcp_only: f64,
    /// Have neither registry nor log nor hub, only datagrams.
    pub udp_only: f64,
    /// May use both, and never hear multicast, not even after healing.
    pub deaf: f64,
    /// Begin with what was said before they came.
    pub from_start: f64,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Messages in all.
    pub messages: u32,
    /// Publishers over TCP.
    pub streams: usize,
    /// Publishers by datagrams alone.
    pub datagrams: usize,
    /// Most messages at once.
    pub burst: u32,
    /// When the first of them is said.
    pub from: Duration,
    /// When about the last of them is.
    pub until: Duration,
    /// How long they are.
    pub sizes: PayloadSizes,
}

/// Payload lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadSizes {
    /// 12 to 200 bytes.
    Talk,
    /// 12 to 1 400 bytes.
    Mixed,
    /// All the same.
    Fixed(usize),
    /// Mixed, and some of many fragments up to this length.
    Large(usize),
}

/// How the log's disk is, and the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSettings {
    /// How long one sync takes, µs.
    pub sync_us: (u64, u64),
    /// How long anything takes over TCP, one way, µs.
    pub tcp_us: u64,
}

/// Something goes wrong at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedFault {
    /// When.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// For how long, where it lasts; it ends at the healing at the latest.
    pub lasts: Duration,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The relay is killed. After the time a new process opens the log: a new epoch.
    RelayCrash,
    /// The relay's process is stopped and goes on later; datagrams wait in its socket as far as they fit.
    RelayPause,
    /// The relay's process is stopped, another takes its place, and then the first one goes on.
    RelayTakeover,
    /// The next append fails; whether it reached the disk is open.
    AppendFailure,
    /// The log drops its older half.
    Trim,
    /// Every TCP connection of a publisher breaks.
    ConnectionsBreak,
    /// The hub serves nobody.
    HubDown,
    /// The member's process is stopped and goes on later.
    MemberPause(Target),
    /// The member takes no events.
    MemberBusy(Target),
    /// Multicast reaches it no more.
    Deaf(Target),
    /// Nothing that it sends arrives.
    Mute(Target),
    /// No NAK of it arrives.
    NaksLost(Target),
    /// Its clock reads more at once, as after a suspended machine woke up: `lasts` more.
    ClockJump(Target),
    /// The relay's clock reads `lasts` more at once.
    RelayClockJump,
    /// The relay's machine is suspended, and its monotonic clock does not count that.
    RelaySleep,
    /// The same of the member's machine.
    MemberSleep(Target),
    /// The relay's wall clock is set back by `lasts`.
    WallClockBack,
    /// It is set forward by `lasts`.
    WallClockForward,
    /// The group's address is taken from it, and after the time it has another; at once if that is none.
    Move,
    /// It comes back if it is not there.
    Join(Target),
    /// It goes.
    Leave(Target),
}

/// Which members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One of them.
    One(usize),
    /// All of them.
    All,
}

/// Somebody who means harm, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attack {
    /// What he does.
    pub kind: AttackKind,
    /// Datagrams in a second.
    pub per_second: u32,
    /// From when.
    pub from: Duration,
    /// Until when; before the healing.
    pub until: Duration,
}

/// What an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttackKind {
    /// Has an address that is proven, and asks for everything.
    NakFloodOfMember,
    /// Asks for everything without a proof.
    NakFloodOfStranger,
    /// Asks in the name of a member's address.
    NakFloodSpoofed,
    /// Sends random bodies under the right group tag to relay and members.
    Noise,
    /// Sends, with the relay's address as its own, messages that continue the log or lie a little ahead of it.
    ForgedAhead,
    /// Sends, with the relay's address as its own, heartbeats that tell of other epochs, heads and counts.
    ForgedHeartbeats,
    /// Says, with the relay's address as its own, that the group has moved, and speaks there.
    ForgedMoves,
}

impl AttackKind {
    /// Whether its datagrams can be taken for somebody else's.
    pub(super) const fn forges(self) -> bool {
        match self {
            Self::NakFloodOfMember | Self::NakFloodOfStranger | Self::NakFloodSpoofed => false,
            Self::Noise | Self::ForgedAhead | Self::ForgedHeartbeats | Self::ForgedMoves => true,
        }
    }
}

/// Safety mechanisms that are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breakage {
    /// Duplicates are logged again.
    pub keeps_duplicates: bool,
    /// Repairs are not gathered.
    pub repairs_at_once: bool,
    /// NACKs are not backed off.
    pub nacks_at_once: bool,
    /// Runs are sent and acknowledged before they are in the log.
    pub sends_before_append: bool,
    /// The log takes runs of an epoch that is over.
    pub takes_old_epochs: bool,
}

impl Settings {
    /// Nothing goes wrong: some members, some talk, 3 s.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            members: 4,
            mix: Mix { multicast_only: 0.0, tcp_only: 0.0, udp_only: 0.0, deaf: 0.0, from_start: 0.5 },
            traffic: Traffic {
                messages: 100,
                streams: 2,
                datagrams: 1,
                burst: 3,
                from: Duration::from_millis(300),
                until: Duration::from_secs(3),
                sizes: PayloadSizes::Talk,
            },
            weather: Weather::FAIR,
            disk: DiskSettings { sync_us: (50, 500), tcp_us: 300 },
            repair_bytes: gaung_engine::DEFAULT_REPAIR_BYTES,
            rate_mbit: 200,
            drift_ppm: 0,
            faults: Vec::new(),
            attacks: Vec::new(),
            heals_at: Duration::from_secs(3),
            calm_at: Vec::new(),
            breakage: Breakage::default(),
        }
    }

    /// Whether datagrams can say what nobody meant: nothing protects them until they carry a tag.
    pub(super) fn may_be_forged(&self) -> bool {
        self.weather.corrupt > 0.0 || self.attacks.iter().any(|attack| attack.kind.forges())
    }

    /// Whether all hear multicast, lose no more than one in ten, and nothing is lost on the way back, so that the price
    /// of repair can be held to its limits.
    pub(super) fn has_clean_return(&self) -> bool {
        let Weather { egress, down, up, nak_loss, late, corrupt, delay_us, double: _ } = self.weather;
        let Mix { multicast_only: _, tcp_only, udp_only, deaf, from_start: _ } = self.mix;
        let is_light = |loss: Loss| loss.share() <= 0.1;
        up == Loss::None
            && [nak_loss, late, corrupt, tcp_only, udp_only, deaf] == [0.0; 6]
            && is_light(egress)
            && is_light(down)
            && delay_us.1 - delay_us.0 <= 200
            && self.faults.is_empty()
            && self.attacks.is_empty()
    }
}
