//! A peer of the hub, and the judge of what it is sent: every message once and in order, or a gap that is stated.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf as _, BytesMut};
use gaung_proto::{
    GroupId, LogId, Seq, SeqRange,
    frame::{AcceptedItems, FrameItem, decode},
    pb::hub::{Bye, ServerFrame, server_frame::Frame},
    run::Run,
};
use prost::Message as _;

use super::hub::Hub;

/// What one peer was sent so far.
#[derive(Debug, Default)]
pub(super) struct Peer {
    input: BytesMut,
    pub(super) is_welcomed: bool,
    pub(super) groups: BTreeMap<GroupId, ReadGroup>,
    /// Gaps stated to a text peer, which do not name their group.
    text_gaps: Vec<SeqRange>,
    /// The last message of each log that a text peer was sent.
    text_logs: BTreeMap<u64, u64>,
    /// A text peer that moves between groups has not all of them.
    pub(super) moves: bool,
    /// Publish requests that are not answered.
    pub(super) tags: BTreeSet<u64>,
    pub(super) pings: VecDeque<u64>,
    pub(super) bye: Option<Bye>,
    pub(super) delivered: u64,
    pub(super) gaps: u64,
}

/// A group that the peer reads.
#[derive(Debug)]
pub(super) struct ReadGroup {
    pub(super) log: LogId,
    /// What is due.
    pub(super) next: Seq,
    /// It began at the head, so that it is never behind.
    pub(super) is_live: bool,
    gaps: Vec<SeqRange>,
}

impl Peer {
    /// Takes bytes of a framed session.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn take_frames(&mut self, bytes: &[u8], hub: &Hub) -> Result<(), String> {
        self.input.extend_from_slice(bytes);
        loop {
            match decode(&mut self.input, AcceptedItems::ControlAndRuns) {
                Ok(Some(_)) if self.bye.is_some() => return Err("something came after goodbye".to_owned()),
                Ok(Some(FrameItem::Run(run))) => self.take_run(&run, hub)?,
                Ok(Some(FrameItem::Control(body))) => {
                    let frame = ServerFrame::decode(body).map_err(|error| format!("a frame is broken: {error}"))?;
                    self.take_frame(frame.frame.ok_or("an empty frame")?, hub)?;
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(format!("what came {error}")),
            }
        }
    }

    fn take_run(&mut self, run: &Run, hub: &Hub) -> Result<(), String> {
        let header = run.header();
        let Some(group) = self.groups.get_mut(&header.group) else {
            return Err(format!("a run of {}, in which the session is not", header.group));
        };
        if header.log != group.log {
            return Err(format!("a run of log {} where {} is read", header.log, group.log));
        }
        let (first, last, due) = (run.first_seq(), run.last_seq(), group.next);
        if last < due {
            return Err(format!("{first} to {last} came again when {due} was due"));
        }
        if first > due {
            group.cover(due, Seq(first.0 - 1))?;
        }
        if let Some(stated) = group.gaps.iter().find(|gap| gap.first <= last && first <= gap.last && gap.last >= due) {
            return Err(format!("{first} to {last} came, and {stated} was said to be lost"));
        }
        let logged = hub.group(header.group).filter(|logged| logged.log == header.log);
        let twin = logged.and_then(|logged| logged.run_holding(first));
        if twin.is_some_and(|logged| logged.as_bytes() != run.as_bytes()) {
            return Err(format!("{first} to {last} are others than were logged"));
        }
        self.delivered += last.0 + 1 - due.0.max(first.0);
        group.next = last.next();
        Ok(())
    }

    fn take_frame(&mut self, frame: Frame, hub: &Hub) -> Result<(), String> {
        let id = |bytes: &[u8]| GroupId::try_from(bytes).unwrap_or(GroupId::NONE);
        match frame {
            Frame::Welcome(_) if self.is_welcomed => return Err("a second welcome".to_owned()),
            Frame::Welcome(_) => self.is_welcomed = true,
            Frame::Subscribed(subscribed) => {
                let next = Seq(subscribed.next_seq);
                let is_live = subscribed.next_seq > subscribed.head_seq;
                let group = ReadGroup { log: LogId(subscribed.log_id), next, is_live, gaps: Vec::new() };
                self.groups.insert(id(&subscribed.group_id), group);
            }
            Frame::Unsubscribed(unsubscribed) => drop(self.groups.remove(&id(&unsubscribed.group_id))),
            Frame::Gap(gap) => {
                self.gaps += 1;
                let id = id(&gap.group_id);
                let Some(range) = SeqRange::new(Seq(gap.first_seq), Seq(gap.last_seq)) else {
                    return Err(format!("a gap without messages: {gap:?}"));
                };
                let logged = hub.group(id).ok_or("a gap of no group")?;
                if let Some(group) = self.groups.get_mut(&id) {
                    if group.log == logged.log && range.last >= logged.oldest() {
                        return Err(format!("{range} is said to be lost, and {} is there", logged.oldest()));
                    }
                    group.gaps.push(range);
                }
            }
            Frame::Error(error) if error.tag != 0 => self.answered(error.tag)?,
            Frame::Error(error) => drop(self.groups.remove(&id(&error.group_id))),
            Frame::Published(published) => self.answered(published.tag)?,
            Frame::Pong(pong) => {
                let due = self.pings.pop_front();
                if due != Some(pong.nonce) {
                    return Err(format!("pong {} when {due:?} was due", pong.nonce));
                }
            }
            Frame::Bye(bye) => self.bye = Some(bye),
            Frame::Receipt(_) => return Err("hubs send no receipts".to_owned()),
        }
        Ok(())
    }

    fn answered(&mut self, tag: u64) -> Result<(), String> {
        if self.tags.remove(&tag) { Ok(()) } else { Err(format!("request {tag} is answered, and was not open")) }
    }

    /// Takes bytes of a text session.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn take_text(&mut self, bytes: &[u8], hub: &Hub) -> Result<(), String> {
        self.input.extend_from_slice(bytes);
        while let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
            let line = self.input.split_to(end);
            self.input.advance(1);
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(gap) = line.strip_prefix("* Pesan ").and_then(|rest| parse_range(rest.split(' ').next()?)) {
                self.gaps += 1;
                self.text_gaps.push(gap);
            } else if let Some((log, seq)) = parse_message(&line) {
                self.take_line(log, seq, hub)?;
            }
        }
        Ok(())
    }

    fn take_line(&mut self, log: u64, seq: u64, hub: &Hub) -> Result<(), String> {
        self.delivered += 1;
        let Some(last) = self.text_logs.insert(log, seq) else { return Ok(()) };
        if seq <= last {
            return Err(format!("line {seq} of log {log} came after {last}"));
        }
        let lost = hub.world_messages(LogId(log), last + 1, seq);
        let is_stated = |seq: &u64| self.text_gaps.iter().any(|gap| gap.first.0 <= *seq && *seq <= gap.last.0);
        match lost.iter().find(|seq| !is_stated(seq)) {
            Some(hole) if !self.moves => Err(format!("a hole in log {log}: {hole} was not sent before {seq}")),
            Some(_) | None => Ok(()),
        }
    }
}

impl ReadGroup {
    /// The messages from `first` to `last` were left out, and must have been said to be lost.
    fn cover(&self, first: Seq, last: Seq) -> Result<(), String> {
        let is_stated = |seq: u64| self.gaps.iter().any(|gap| gap.first.0 <= seq && seq <= gap.last.0);
        match (first.0..=last.0).find(|seq| !is_stated(*seq)) {
            Some(hole) => Err(format!("a hole: {hole} did not come, and was not said to be lost")),
            None => Ok(()),
        }
    }
}

/// `3` or `3–9`.
fn parse_range(text: &str) -> Option<SeqRange> {
    let (first, last) = text.split_once('–').unwrap_or((text, text));
    SeqRange::new(Seq(first.parse().ok()?), Seq(last.parse().ok()?))
}

/// `.. m100.7 ..`: message 7 of log 100, as the world writes them.
fn parse_message(line: &str) -> Option<(u64, u64)> {
    let (log, seq) = line.split(" m").nth(1)?.split(' ').next()?.split_once('.')?;
    Some((log.parse().ok()?, seq.parse().ok()?))
}
