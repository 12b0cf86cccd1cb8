//! The shell that drives each core as the hub's does: a session's beginning, its turns, and its end.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use broadcast_hub::{
    Framed, Text, TextIdentity,
    session_core::{Decoded, Dialect, DialectRules, EndReason, Request, RunSource, Say, SessionCore, Surroundings},
};
use bytes::{Bytes, BytesMut};
use gaung_proto::{ClientId, Seq, run::Run};
use rand::Rng as _;
use service_kit::secure::PeerDevice;

use super::{
    super::trace::mixed,
    hub::HubOf,
    peer::Peer,
    requests::Requester,
    settings::Reader,
    world::{DRAIN, Event, SOCKET_BYTES, Session, World},
};

/// As in the hub's shell.
const WRITES: usize = 4;

impl World<'_> {
    pub(super) fn connect(&mut self, index: usize) -> Result<(), String> {
        let peer = self.settings.peers[index];
        let mut limits = self.settings.limits.clone();
        let breakage = self.settings.breakage;
        if breakage.keeps_stuck_readers {
            limits.stall = Duration::MAX;
        }
        if breakage.resyncs_for_ever {
            limits.resync = Duration::ZERO;
        }
        let dialect: Box<dyn Dialect> = match peer.is_text {
            true => Box::new(Text::new(text_identity(index))),
            false => Box::new(Framed::default()),
        };
        let dialect: Box<dyn Dialect> = if breakage.hides_gaps { Box::new(WithoutGaps(dialect)) } else { dialect };
        self.sessions[index] = Some(Session {
            core: SessionCore::new(Arc::new(limits), PeerDevice::Believed, [index as u8; 32], self.base + self.now),
            dialect,
            peer: Peer::default(),
            requester: Requester::new(index, peer.is_text, peer.habit),
            reader: peer.reader,
            is_text: peer.is_text,
            downlink: BytesMut::new(),
            uplink: BytesMut::new(),
            is_turn_due: false,
            is_over: false,
            blocked_since: None,
            in_flight_bytes: 0,
            resynced: BTreeMap::new(),
        });
        self.act(index, SessionCore::open)?;
        match peer.reader {
            Reader::Fast => {}
            Reader::Slow(_) | Reader::Pausing(_) | Reader::Stuck(_) => self.put_in(DRAIN, Event::Drain(index)),
            Reader::Dying(at) => self.put(at.max(self.now), Event::Die(index)),
        }
        self.put_in(Duration::ZERO, Event::Act(index));
        self.turn(index)
    }

    /// One turn of a session's task: writes, recovers cursors, reads.
    pub(super) fn turn(&mut self, index: usize) -> Result<(), String> {
        let now = self.base + self.now;
        let Some(session) = self.sessions[index].as_mut().filter(|session| !session.is_over) else { return Ok(()) };
        session.is_turn_due = false;
        let due = session.core.deadline().or_else(|| session.dialect.poll_timeout());
        let mut goes_on = self.write(index)?;
        self.act(index, |core, around| {
            core.recover_cursors(around);
            if around.dialect.poll_timeout().is_some_and(|due| due <= now) {
                around.dialect.handle_timeout(now);
            }
        })?;
        goes_on |= self.read_uplink(index)?;
        let Some(session) = &mut self.sessions[index] else { return Ok(()) };
        goes_on |= session.core.has_cursors_behind();
        if session.core.is_over(now, session.dialect.as_ref()) {
            return self.close(index);
        }
        if goes_on {
            self.turn_soon(index);
        } else if let Some(due) = due.or_else(|| session.core.deadline()) {
            let at = due.saturating_duration_since(self.base).max(self.now + DRAIN);
            self.put(at, Event::Turn(index));
        }
        Ok(())
    }

    /// True: the turn's budget is used up.
    pub(super) fn write(&mut self, index: usize) -> Result<bool, String> {
        for _ in 0..WRITES {
            let now = self.base + self.now;
            let Some(session) = self.sessions[index].as_mut().filter(|session| !session.core.is_lost()) else {
                return Ok(false);
            };
            if session.core.is_blocked() {
                return Ok(false);
            }
            let mut hub = HubOf { hub: &mut self.hub, session: index };
            let mut around = Surroundings { now, hub: &mut hub, dialect: session.dialect.as_mut() };
            let gathered = session.core.gather(&mut around);
            if gathered.slices == 0 {
                return Ok(false);
            }
            let room = SOCKET_BYTES.saturating_sub(session.downlink.len());
            let room = if session.reader == Reader::Fast { usize::MAX } else { room };
            if room == 0 && gathered.bytes > 0 {
                session.core.handle_blocked();
                session.blocked_since.get_or_insert(self.now);
                return Ok(false);
            }
            let mut written = 0;
            for slice in session.core.slices() {
                let part = &slice[..slice.len().min(room - written)];
                session.downlink.extend_from_slice(part);
                written += part.len();
            }
            let is_forgotten = self.settings.breakage.keeps_cursors && self.rng.random_ratio(1, 8);
            session.core.wrote(now, if is_forgotten { 0 } else { written });
            session.blocked_since = None;
            self.trace = mixed(self.trace ^ mixed(self.now.as_nanos() as u64 ^ written as u64) ^ index as u64);
            if session.reader == Reader::Fast {
                self.peer_reads(index, usize::MAX)?;
            }
        }
        Ok(true)
    }

    /// True: more is there.
    pub(super) fn read_uplink(&mut self, index: usize) -> Result<bool, String> {
        let Some(session) = &mut self.sessions[index] else { return Ok(false) };
        let may_read = session.core.may_read() || self.settings.breakage.reads_on;
        if session.uplink.is_empty() || !may_read || session.core.end_reason().is_some() {
            return Ok(false);
        }
        let most = session.dialect.rules().read_bytes.min(session.uplink.len());
        let bytes = session.uplink.split_to(most);
        let has_more = !session.uplink.is_empty();
        self.act(index, |core, around| {
            core.handle_heard(around.now);
            let goes_on = around.dialect.handle_bytes(around.now, &bytes);
            core.handle_decoded(around);
            if !goes_on {
                core.handle_lost(around.now);
            }
        })?;
        self.turn_soon(index);
        Ok(has_more)
    }

    pub(super) fn close(&mut self, index: usize) -> Result<(), String> {
        if !self.settings.breakage.leaves_no_group {
            self.act(index, SessionCore::leave_all)?;
        }
        let Some(session) = &mut self.sessions[index] else { return Ok(()) };
        session.is_over = true;
        let reason = session.core.end_reason().ok_or("a session is over without a reason")?.clone();
        let is_lost = session.core.is_lost();
        self.counts.sent_away += u64::from(!matches!(reason, EndReason::ConnectionLost | EndReason::InputEnded));
        if self.hub.groups_of(index) > 0 {
            return Err(format!("session {index} is over and still in groups"));
        }
        if is_lost || session.is_text || session.reader != Reader::Fast {
            return Ok(());
        }
        match &session.peer.bye {
            Some(bye) if bye.reason == reason.to_string() && bye.r#final == reason.is_final() => Ok(()),
            bye => Err(format!("session {index} ended for {reason:?}, and its peer was told {bye:?}")),
        }
    }
}

fn text_identity(index: usize) -> TextIdentity {
    let number = index as u64 + 1;
    let (client, stream_key) = (ClientId([0x70 + index as u8; 16]), [3; 16]);
    TextIdentity { number, client, stream_key, new_author: || ClientId([0x6f; 16]), page: None }
}

/// A dialect that has no words for gaps.
struct WithoutGaps(Box<dyn Dialect>);

impl Dialect for WithoutGaps {
    fn rules(&self) -> DialectRules {
        self.0.rules()
    }

    fn greeting(&mut self) -> Option<Bytes> {
        self.0.greeting()
    }

    fn opening(&mut self) -> Option<Request> {
        self.0.opening()
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> bool {
        self.0.handle_bytes(now, bytes)
    }

    fn poll_decoded(&mut self) -> Option<Decoded> {
        self.0.poll_decoded()
    }

    fn encode(&mut self, say: Say) -> Option<Bytes> {
        if matches!(say, Say::Gap { .. }) { None } else { self.0.encode(say) }
    }

    fn encode_run(&self, group: &broadcast_hub::Group, run: &Run, next: Seq, source: RunSource) -> Bytes {
        self.0.encode_run(group, run, next, source)
    }
}
