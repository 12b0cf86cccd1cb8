//! The framed dialect: `ClientFrame`s in, `ServerFrame`s and runs out.

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    ClientId, DeviceId, GroupId, LogId, Seq,
    body::Cookie,
    frame::{AcceptedItems, FrameItem, decode, encode_control},
    limits::MAX_FRAME,
    pb::{
        hub::{self as pb, client_frame, server_frame, subscribe},
        relay::{AckRange, Entry},
    },
    run::Run,
};
use prost::Message as _;
use tonic::Code;

use crate::{
    directory::GroupInfo,
    failure::Failure,
    group::Group,
    session_core::{
        Decoded, Dialect, DialectRules, EndReason, GroupKey, Hello, HelloProof, PublishRequest, Request, ResumePoint,
        RunSource, Say, SubscribeRequest,
    },
};

const VERSION: u32 = 1;
const READ_BYTES: usize = 64 * 1024;
/// Most bytes of the first frame.
const MAX_HELLO: usize = 4096;
const FRAME_HEADER: usize = 8;
/// Highest from_seq that is accepted; no log gets there.
const MAX_SEQ: u64 = u64::MAX / 2;

/// The framed dialect of one session.
#[derive(Debug, Default)]
pub struct Framed {
    /// Bytes that were read and are not decoded yet.
    pub(super) input: BytesMut,
    author: Option<Author>,
}

/// The author of what the session publishes, by the hello.
#[derive(Debug, Clone)]
struct Author {
    client: ClientId,
    stream_key: Bytes,
}

impl Dialect for Framed {
    fn rules(&self) -> DialectRules {
        DialectRules { acknowledges: true, must_speak: true, read_bytes: READ_BYTES }
    }

    fn handle_bytes(&mut self, _now: std::time::Instant, bytes: &[u8]) -> bool {
        self.input.extend_from_slice(bytes);
        true
    }

    fn poll_decoded(&mut self) -> Option<Decoded> {
        let body = match self.next_body() {
            Ok(body) => body?,
            Err(what) => return Some(fatal(what)),
        };
        // Copied, so that payloads, which share the frame, do not keep the whole read buffer in memory.
        let body = Bytes::copy_from_slice(&body);
        let bytes = body.len();
        let request = match pb::ClientFrame::decode(body) {
            Ok(frame) => frame.frame.map_or(Request::Unknown, |frame| self.request(frame, bytes)),
            Err(_) => Request::Fatal(EndReason::ProtocolError("a frame is no ClientFrame".to_owned())),
        };
        Some(Decoded::Request(request))
    }

    fn is_requested(&self, info: &GroupInfo) -> bool {
        let mut ahead = self.input.clone();
        while let Ok(Some(FrameItem::Control(body))) = decode(&mut ahead, AcceptedItems::Control) {
            let by = match pb::ClientFrame::decode(body).ok().and_then(|frame| frame.frame) {
                Some(client_frame::Frame::Subscribe(subscribe)) => subscribe.by,
                Some(_) | None => None,
            };
            let is_found = match by {
                Some(subscribe::By::Name(name)) => name == info.name,
                Some(subscribe::By::GroupId(id)) => id == info.id.as_bytes()[..],
                None => false,
            };
            if is_found {
                return true;
            }
        }
        false
    }

    fn encode(&mut self, say: Say) -> Option<Bytes> {
        server_frame(say).map(encode)
    }

    fn encode_run(&self, _group: &Group, run: &Run, _next: Seq, _source: RunSource) -> Bytes {
        run.as_bytes().clone()
    }
}

impl Framed {
    /// Returns true if hello has come.
    pub(super) const fn is_greeted(&self) -> bool {
        self.author.is_some()
    }

    fn next_body(&mut self) -> Result<Option<Bytes>, String> {
        if self.input.is_empty() {
            // Released, because most sessions are idle.
            self.input = BytesMut::new();
            return Ok(None);
        }
        if !self.is_greeted()
            && let Some(length) = self.input.get(4..FRAME_HEADER)
            && length.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)) > MAX_HELLO
        {
            return Err("the first frame must be a hello of at most 4096 bytes".to_owned());
        }
        match decode(&mut self.input, AcceptedItems::Control) {
            Ok(Some(FrameItem::Control(body))) => Ok(Some(body)),
            Ok(Some(FrameItem::Run(_))) => Err("a client sends no runs".to_owned()),
            Ok(None) => Ok(None),
            Err(error) => Err(format!("what came {error}")),
        }
    }

    /// `bytes`: of the frame.
    fn request(&mut self, frame: client_frame::Frame, bytes: usize) -> Request {
        match frame {
            client_frame::Frame::Hello(hello) => {
                self.hello(&hello).unwrap_or_else(|what| Request::Fatal(EndReason::ProtocolError(what)))
            }
            client_frame::Frame::Subscribe(subscribe) => subscribe_request(subscribe),
            client_frame::Frame::Unsubscribe(unsubscribe) => match GroupId::try_from(&unsubscribe.group_id[..]) {
                Ok(group) => Request::Unsubscribe(group),
                Err(error) => invalid(0, error.to_string()),
            },
            client_frame::Frame::Publish(publish) => self.publish_request(publish, bytes),
            // A malformed group id is treated as a group that the session is not in.
            client_frame::Frame::Ack(ack) => Request::Ack {
                group: GroupId::try_from(&ack.group_id[..]).unwrap_or(GroupId::NONE),
                log: LogId(ack.log_id),
                delivered: Seq(ack.delivered_seq),
                cookie: Cookie(ack.cookie),
            },
            client_frame::Frame::Renew(renew) => Request::Renew(
                GroupId::try_from(&renew.group_id[..]).unwrap_or(GroupId::NONE),
                // Copied, because it is kept longer than the rest of the frame.
                Bytes::copy_from_slice(&renew.ticket),
            ),
            client_frame::Frame::Ping(ping) => Request::Ping(ping.nonce),
            client_frame::Frame::Prove(prove) => {
                Request::Prove(HelloProof { public_key: prove.public_key, signature: prove.signature })
            }
        }
    }

    fn hello(&mut self, hello: &pb::Hello) -> Result<Request, String> {
        if hello.version != VERSION {
            return Err(format!("version {} is not spoken here; this hub speaks 1", hello.version));
        }
        let client = ClientId::try_from(&hello.client_id[..]).ok().filter(|id| !id.is_none());
        let client = client.ok_or("the client id must be 16 random bytes")?;
        let device = match hello.device_id.len() {
            0 => DeviceId::NONE,
            _ => DeviceId::try_from(&hello.device_id[..]).map_err(|_| "the device id must be 16 bytes")?,
        };
        let stream_key = match hello.stream_key.len() {
            0 => None,
            _ => Some(hello.stream_key[..].try_into().map_err(|_| "the stream key must be 16 random bytes")?),
        };
        let own_key = Bytes::copy_from_slice(&hello.stream_key);
        self.author.get_or_insert(Author { client, stream_key: own_key });
        Ok(Request::Hello(Hello { client, device, stream_key, name: String::new() }))
    }

    fn publish_request(&self, publish: pb::Publish, bytes: usize) -> Request {
        let Some(author) = self.author.clone() else {
            let what = "the first frame must be a hello".to_owned();
            return Request::Fatal(EndReason::ProtocolError(what));
        };
        let entry = |entry: pb::PublishEntry| Entry {
            client_seq: entry.client_seq,
            content_type: entry.content_type,
            payload: entry.payload,
        };
        match GroupId::try_from(&publish.group_id[..]) {
            Ok(group) => Request::Publish(
                GroupKey::Id(group),
                PublishRequest {
                    tag: publish.tag,
                    client: author.client,
                    stream_key: author.stream_key,
                    entries: publish.entries.into_iter().map(entry).collect(),
                    bytes,
                    ticket: publish.ticket,
                    log_id: publish.log_id,
                },
            ),
            Err(error) => invalid(publish.tag, error.to_string()),
        }
    }
}

fn fatal(what: String) -> Decoded {
    Decoded::Request(Request::Fatal(EndReason::ProtocolError(what)))
}

fn invalid(tag: u64, message: impl Into<String>) -> Request {
    Request::Invalid { tag, failure: Failure::new(Code::InvalidArgument, message) }
}

fn subscribe_request(subscribe: pb::Subscribe) -> Request {
    let group = match subscribe.by {
        Some(subscribe::By::Name(name)) if !name.is_empty() => Some(GroupKey::Name(name)),
        Some(subscribe::By::GroupId(id)) => GroupId::try_from(&id[..]).ok().map(GroupKey::Id),
        Some(subscribe::By::Name(_)) | None => None,
    };
    let Some(group) = group.filter(|_| subscribe.from_seq <= MAX_SEQ) else {
        return invalid(0, "a subscription needs a group's name or 16-byte id");
    };
    Request::Subscribe(SubscribeRequest {
        group,
        from: Seq(subscribe.from_seq),
        log: (subscribe.log_id != 0).then_some(LogId(subscribe.log_id)),
        // Copied, because it is kept longer than the rest of the frame.
        ticket: Bytes::copy_from_slice(&subscribe.ticket),
    })
}

/// Encodes the goodbye to a connection that becomes no session. `is_final`: it would end again if the peer came back.
pub(crate) fn goodbye(reason: &str, is_final: bool) -> Bytes {
    encode(server_frame::Frame::Bye(pb::Bye { reason: reason.to_owned(), resume: Vec::new(), r#final: is_final }))
}

fn encode(frame: server_frame::Frame) -> Bytes {
    encode_control(&pb::ServerFrame { frame: Some(frame) })
}

fn server_frame(say: Say) -> Option<server_frame::Frame> {
    Some(match say {
        Say::Welcome { everyone, challenge } => server_frame::Frame::Welcome(pb::Welcome {
            version: VERSION,
            max_frame_bytes: MAX_FRAME as u32,
            everyone_group_id: everyone.id.into(),
            challenge: Bytes::copy_from_slice(&challenge),
        }),
        Say::Subscribed { group, log, next, head, history_lost } => server_frame::Frame::Subscribed(pb::Subscribed {
            group_id: group.id.into(),
            name: group.name.clone(),
            log_id: log.0,
            next_seq: next.0,
            head_seq: head.0,
            history_lost,
        }),
        Say::Unsubscribed { group, code, message } => {
            server_frame::Frame::Unsubscribed(pb::Unsubscribed { group_id: group.into(), code: code as i32, message })
        }
        Say::Gap { group, range } => server_frame::Frame::Gap(pb::Gap {
            group_id: group.into(),
            first_seq: range.first.0,
            last_seq: range.last.0,
        }),
        Say::Error { tag, group, failure } => server_frame::Frame::Error(pb::Error {
            tag,
            code: failure.code as i32,
            message: failure.message,
            group_id: group.map(Bytes::from).unwrap_or_default(),
        }),
        Say::Published { tag, log, acks } => server_frame::Frame::Published(pb::Published {
            tag,
            log_id: log.0,
            acks: acks.into_iter().map(published_range).collect(),
        }),
        Say::Pong { nonce } => server_frame::Frame::Pong(pb::Pong { nonce }),
        Say::Bye { reason, resume } => server_frame::Frame::Bye(pb::Bye {
            reason: reason.to_string(),
            resume: resume.into_iter().map(resume_point).collect(),
            r#final: reason.is_final(),
        }),
        // Of `/join`, which is no frame.
        Say::Joining { .. } => return None,
    })
}

const fn published_range(ack: AckRange) -> pb::PublishedRange {
    pb::PublishedRange { first_client_seq: ack.first_client_seq, first_seq: ack.first_seq, count: ack.count }
}

fn resume_point(point: ResumePoint) -> pb::Resume {
    let log_id = point.log.map_or(0, |log| log.0);
    pb::Resume { group_id: point.group.into(), log_id, from_seq: point.next.0 }
}
