//! Gaung: framed TCP, as WIRE.md has it.

use bytes::Bytes;
use gaung_proto::{
    ClientId, ContentType, DeviceId, GroupId,
    block::{AUTHOR, BLOCK_HEADER, MESSAGE_HEADER},
    frame::{FRAME_HEADER, FRAME_MAGIC, encode_control},
    limits::{MAX_PUBLISH_BYTES, MAX_PUBLISH_MESSAGES},
    pb::hub::{self as pb, client_frame, server_frame, subscribe},
    run::{RUN_HEADER, RUN_MAGIC},
};
use prost::Message as _;
use rand::Rng as _;

use super::{Dialect, Heard, Role, Speaker, shown, stamp_of};
use crate::load::stamp::Stamp;

/// Where a run's first seq stands.
const BASE_SEQ: usize = RUN_HEADER - 8;
/// Where a block's counts of messages and authors stand.
const COUNTS: usize = 8;

/// The groups of a measurement, and who publishes in them.
#[derive(Debug, Clone)]
pub struct Gaung {
    groups: Vec<GroupId>,
    /// Of one measurement: what differs between connections is their number.
    clients: u64,
}

impl Gaung {
    /// Speaks of these groups, by number.
    #[must_use]
    pub fn new(groups: Vec<GroupId>) -> Self {
        Self { groups, clients: rand::rng().random() }
    }

    /// `payloads`: of `speaker.size` bytes each, within the limits of a request.
    fn publish_frame(&self, speaker: Speaker, first_client_seq: u64, payloads: &Bytes) -> Bytes {
        let Speaker { index, group, size, .. } = speaker;
        let content_type = ContentType::Text.to_byte().into();
        let entry = |(client_seq, start)| pb::PublishEntry {
            client_seq,
            content_type,
            payload: payloads.slice(start..start + size),
        };
        let entries = (first_client_seq..).zip((0..payloads.len()).step_by(size)).map(entry).collect();
        let group_id = self.groups[group].into();
        encode(client_frame::Frame::Publish(pb::Publish {
            tag: index as u64,
            group_id,
            entries,
            ticket: Bytes::new(),
            log_id: 0,
        }))
    }

    fn control(&self, role: Role, body: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<()> {
        use server_frame::Frame;
        let frame = pb::ServerFrame::decode(body)?;
        match frame.frame {
            Some(Frame::Welcome(_)) if role == Role::Speaker => hear(Heard::Ready),
            Some(Frame::Welcome(_) | Frame::Pong(_) | Frame::Receipt(_)) => {}
            // Each session is in `everyone` besides, where nothing is said here.
            Some(Frame::Subscribed(subscribed)) if self.is_heard_by(role, &subscribed.group_id) => hear(Heard::Ready),
            Some(Frame::Subscribed(_)) => {}
            Some(Frame::Published(published)) => {
                hear(Heard::Taken(published.acks.iter().map(|range| u64::from(range.count)).sum()));
            }
            Some(Frame::Gap(gap)) => hear(Heard::Gap { first: gap.first_seq, last: gap.last_seq }),
            Some(Frame::Bye(bye)) => {
                let resume = bye.resume.iter().find(|resume| self.is_heard_by(role, &resume.group_id));
                hear(Heard::Bye { reason: bye.reason, resume: resume.map(|resume| resume.from_seq) });
            }
            Some(Frame::Error(error)) => anyhow::bail!("Gaung refuses: {}", error.message),
            Some(Frame::Unsubscribed(gone)) => anyhow::bail!("Gaung ends the group: {}", gone.message),
            None => anyhow::bail!("a frame of Gaung that is not known here"),
        }
        Ok(())
    }

    fn is_heard_by(&self, role: Role, id: &[u8]) -> bool {
        match role {
            Role::Listener { group, .. } => self.groups[group].as_bytes()[..] == *id,
            Role::Speaker => false,
        }
    }

    fn client(&self, index: usize, role: Role) -> ClientId {
        let role = u64::from(role == Role::Speaker) << 63;
        let id = u128::from(self.clients) << 64 | u128::from(role | index as u64);
        ClientId(id.to_be_bytes())
    }
}

impl Dialect for Gaung {
    fn greeting(&self, index: usize, role: Role) -> Vec<u8> {
        let hello = client_frame::Frame::Hello(pb::Hello {
            version: 1,
            client_id: self.client(index, role).into(),
            device_id: DeviceId::NONE.into(),
            ..pb::Hello::default()
        });
        let mut out = encode(hello).to_vec();
        if let Role::Listener { group, from_seq } = role {
            let by = Some(subscribe::By::GroupId(self.groups[group].into()));
            let subscribe = pb::Subscribe { by, log_id: 0, from_seq, ticket: Bytes::new() };
            out.extend_from_slice(&encode(client_frame::Frame::Subscribe(subscribe)));
        }
        out
    }

    fn publish(&self, speaker: Speaker, stamps: &mut dyn Iterator<Item = Stamp>, out: &mut Vec<u8>) {
        let Speaker { said, size, .. } = speaker;
        let mut payloads = Vec::new();
        stamps.for_each(|stamp| stamp.write(size, &mut payloads));
        let payloads = Bytes::from(payloads);
        let at_once = MAX_PUBLISH_MESSAGES.min(MAX_PUBLISH_BYTES / size) * size;
        let mut first = said + 1;
        for start in (0..payloads.len()).step_by(at_once) {
            let part = payloads.slice(start..payloads.len().min(start + at_once));
            let count = (part.len() / size) as u64;
            out.extend_from_slice(&self.publish_frame(speaker, first, &part));
            first += count;
        }
    }

    fn scan(&self, role: Role, bytes: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<usize> {
        let mut used = 0;
        while let Some((head, _)) = bytes[used..].split_first_chunk::<FRAME_HEADER>() {
            let [magic_0, magic_1, _, _, length @ ..] = *head;
            let length = u32::from_be_bytes(length) as usize;
            anyhow::ensure!(length >= FRAME_HEADER, "Gaung says {}", shown(&bytes[used..]));
            let Some(item) = bytes.get(used..used + length) else { break };
            match u16::from_be_bytes([magic_0, magic_1]) {
                RUN_MAGIC => run(item, hear).ok_or_else(|| anyhow::anyhow!("no run: {}", shown(item)))??,
                FRAME_MAGIC => self.control(role, &item[FRAME_HEADER..], hear)?,
                _ => anyhow::bail!("Gaung says {}", shown(item)),
            }
            used += length;
        }
        Ok(used)
    }
}

fn encode(frame: client_frame::Frame) -> Bytes {
    encode_control(&pb::ClientFrame { frame: Some(frame) })
}

/// `None` if a length in it is wrong.
///
/// `Run::parse` checks a run before anybody looks at it, which is a second pass that no other dialect makes.
fn run(item: &[u8], hear: &mut dyn FnMut(Heard)) -> Option<anyhow::Result<()>> {
    let base_seq = u64::from_be_bytes(*item.get(BASE_SEQ..)?.first_chunk()?);
    let block = item.get(RUN_HEADER..)?;
    let [count_0, count_1, authors_0, authors_1] = *block.get(COUNTS..)?.first_chunk()?;
    let count = u16::from_be_bytes([count_0, count_1]);
    let authors = usize::from(u16::from_be_bytes([authors_0, authors_1])) * AUTHOR;
    let mut rest = block.get(BLOCK_HEADER + authors..)?;
    for seq in base_seq..base_seq + u64::from(count) {
        let (head, after) = rest.split_first_chunk::<MESSAGE_HEADER>()?;
        let length = u32::from_be_bytes(*head.last_chunk()?) as usize;
        let (payload, after) = after.split_at_checked(length)?;
        match stamp_of(payload) {
            Ok(stamp) => hear(Heard::Message { stamp, seq }),
            Err(error) => return Some(Err(error)),
        }
        rest = after;
    }
    rest.is_empty().then_some(Ok(()))
}
