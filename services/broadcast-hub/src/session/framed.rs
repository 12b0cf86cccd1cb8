//! The framed port: `ClientFrame`s in, `ServerFrame`s and runs out.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use gaung_engine::TicketError;
use gaung_proto::{
    ClientId, DeviceId, GroupId, LogId, Seq, SeqRange,
    frame::{Accept, Item, decode, encode_control},
    limits::MAX_FRAME,
    pb::{
        hub::{self as pb, client_frame, server_frame, subscribe},
        relay::Entry,
    },
};
use prost::Message as _;
use tonic::Code;
use tracing::debug;

use crate::{
    admission::Handshake,
    directory::GroupInfo,
    inbox::{Failure, GroupKey, Published},
};

use super::{Session, ask::Ask, publish::Wish, web::Web};

const VERSION: u32 = 1;
/// Largest first frame.
const MAX_HELLO: usize = 4096;
const FRAME_HEADER: usize = 8;
/// A from_seq above it is refused: no log gets there.
const MAX_SEQ: u64 = u64::MAX / 2;

/// What a framed session has besides.
pub(super) struct Framed {
    input: RefCell<BytesMut>,
    handshake: RefCell<Option<Handshake>>,
    opened: Instant,
    stage: RefCell<Stage>,
    /// Between the frames and a browser's socket.
    pub(super) web: Option<Web>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing said yet.
    Silent,
    /// Hello came; `everyone` is not known yet.
    Greeted(Client),
    /// Welcome was sent.
    Open(Client),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) device: DeviceId,
    /// What proves to the relay that the id is its own; without it its address does.
    pub(super) stream_key: Option<[u8; 16]>,
}

/// The session cannot go on: the reason for the peer.
struct Broken(String);

impl Framed {
    pub(super) fn new(handshake: Handshake, opened: Instant, web: Option<Web>) -> Self {
        Self {
            input: RefCell::default(),
            handshake: RefCell::new(Some(handshake)),
            opened,
            stage: RefCell::new(Stage::Silent),
            web,
        }
    }

    /// What was read, until whole frames of it are handled; false if no more can come after it.
    pub(super) fn take_in(&self, bytes: &[u8]) -> bool {
        let mut input = self.input.borrow_mut();
        match &self.web {
            Some(web) => web.take_in(bytes, &mut input),
            None => {
                input.extend_from_slice(bytes);
                true
            }
        }
    }

    /// Whether a subscription to the group has come and is not handled yet.
    fn asks_for(&self, info: &GroupInfo) -> bool {
        let mut ahead = self.input.borrow().clone();
        while let Ok(Some(Item::Control(body))) = decode(&mut ahead, Accept::Control) {
            let asked = match pb::ClientFrame::decode(body).ok().and_then(|frame| frame.frame) {
                Some(client_frame::Frame::Subscribe(wish)) => wish.by,
                Some(_) | None => None,
            };
            let found = match asked {
                Some(subscribe::By::Name(name)) => name == info.name,
                Some(subscribe::By::GroupId(id)) => id == info.id.as_bytes()[..],
                None => false,
            };
            if found {
                return true;
            }
        }
        false
    }

    pub(super) fn client(&self) -> Option<Client> {
        match *self.stage.borrow() {
            Stage::Silent => None,
            Stage::Greeted(client) | Stage::Open(client) => Some(client),
        }
    }

    fn next_item(&self) -> Result<Option<Bytes>, Broken> {
        let mut input = self.input.borrow_mut();
        if input.is_empty() {
            // An idle session holds no buffer.
            *input = BytesMut::new();
            return Ok(None);
        }
        if self.client().is_none()
            && let Some(length) = input.get(4..FRAME_HEADER)
            && length.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)) > MAX_HELLO
        {
            return Err(Broken("the first frame must be a hello of at most 4096 bytes".to_owned()));
        }
        match decode(&mut input, Accept::Control) {
            Ok(Some(Item::Control(body))) => Ok(Some(body)),
            Ok(Some(Item::Run(_))) => Err(Broken("a client sends no runs".to_owned())),
            Ok(None) => Ok(None),
            Err(error) => Err(Broken(format!("what came {error}"))),
        }
    }
}

impl Session {
    /// Handles every whole frame that has come.
    pub(super) fn frames(self: &Rc<Self>, framed: &Framed) {
        while self.ending.get().is_none() {
            let handled = match framed.next_item() {
                Ok(Some(body)) => self.frame(framed, body),
                Ok(None) => return,
                Err(broken) => Err(broken),
            };
            if let Err(Broken(why)) = handled {
                debug!(session = self.id, address = %self.address, why, "protocol error");
                self.hub().figures.protocol_errors.inc();
                self.control(error(0, &Failure::new(Code::InvalidArgument, why.clone()), None));
                return self.end(&why, true);
            }
        }
    }

    /// Sends Welcome if hello came and `everyone` is known.
    pub(super) fn welcome(self: &Rc<Self>, framed: &Framed) {
        let Stage::Greeted(client) = *framed.stage.borrow() else { return };
        let Some(everyone) = self.hub().directory.everyone() else { return };
        *framed.stage.borrow_mut() = Stage::Open(client);
        self.control(encode(server_frame::Frame::Welcome(pb::Welcome {
            version: VERSION,
            max_frame_bytes: MAX_FRAME as u32,
            everyone_group_id: everyone.id.into(),
        })));
        // Unless the client has chosen a place in it already, or does so with what came along.
        if !self.subscriptions.borrow().contains_key(&everyone.id) && !framed.asks_for(&everyone) {
            self.subscribe_or_say(&everyone, Seq::ZERO, None, Bytes::new(), true);
        }
    }

    pub(super) fn sweep_framed(&self, framed: &Framed, now: Instant) {
        let limits = &self.hub().config.limits;
        let since_open = now.saturating_duration_since(framed.opened);
        let stage = *framed.stage.borrow();
        match stage {
            Stage::Silent if framed.handshake.borrow().as_ref().is_some_and(Handshake::is_evicted) => {
                self.hub().figures.evicted.inc();
                self.end("too many sessions of your address are starting; try again", false);
            }
            Stage::Silent if since_open >= limits.hello => {
                self.hub().figures.idle.inc();
                self.end("no hello came in time", true);
            }
            Stage::Greeted(_) if since_open >= limits.subscribe => {
                self.end("the hub has not reached the registry yet; try again", false);
            }
            Stage::Open(_) if now.saturating_duration_since(self.heard.get()) >= limits.idle => {
                self.hub().figures.idle.inc();
                self.end("silent for too long; send a ping now and then", false);
            }
            Stage::Silent | Stage::Greeted(_) | Stage::Open(_) => {}
        }
    }

    /// An answer of the registry to a publish for a group that was not in the directory.
    pub(super) fn publish_found(self: &Rc<Self>, wish: Wish, outcome: Result<Arc<GroupInfo>, Failure>) {
        match outcome {
            Ok(info) => self.pass_on(&info, wish, self.hub().config.limits.publish),
            Err(failure) => self.control(error(wish.tag, &failure, None)),
        }
    }

    /// Subscribes after the ticket was checked.
    pub(super) fn subscribe_checked(
        self: &Rc<Self>,
        info: &Arc<GroupInfo>,
        from: Seq,
        log: Option<LogId>,
        ticket: Bytes,
    ) {
        let framed = match &self.dialect {
            super::Dialect::Framed(framed) => framed,
            super::Dialect::Text(_) => return,
        };
        let device = framed.client().map_or(DeviceId::NONE, |client| client.device);
        if let Err(failure) = self.check_ticket(info, &ticket, device) {
            return self.control(error(0, &failure, Some(info.id)));
        }
        self.subscribe_or_say(info, from, log, ticket, false);
    }

    fn subscribe_or_say(
        self: &Rc<Self>,
        info: &Arc<GroupInfo>,
        from: Seq,
        log: Option<LogId>,
        ticket: Bytes,
        patient: bool,
    ) {
        if let Err(failure) = self.subscribe(info, from, log, ticket, patient) {
            self.control(error(0, &failure, Some(info.id)));
        }
    }

    fn check_ticket(&self, info: &GroupInfo, ticket: &Bytes, device: DeviceId) -> Result<(), Failure> {
        if !info.private {
            return Ok(());
        }
        // Errors do not tell the group's name: whoever asks by the id need not know it.
        self.hub().directory.check_ticket(Instant::now(), info.id, device, ticket).map_err(|error| {
            let code = match error {
                TicketError::NoKey => Code::Unavailable,
                TicketError::NoTicket | TicketError::Ticket(_) => Code::PermissionDenied,
            };
            Failure::new(code, error.to_string())
        })
    }

    fn frame(self: &Rc<Self>, framed: &Framed, body: Bytes) -> Result<(), Broken> {
        // A copy that does not keep the read buffer alive; what is in the frame shares it.
        let body = Bytes::copy_from_slice(&body);
        let bytes = body.len();
        let frame = pb::ClientFrame::decode(body).map_err(|_| Broken("a frame is no ClientFrame".to_owned()))?;
        let Some(frame) = frame.frame else {
            let failure = Failure::new(Code::Unimplemented, "this hub does not know such a frame");
            self.control(error(0, &failure, None));
            return Ok(());
        };
        let Some(client) = framed.client() else {
            return match frame {
                client_frame::Frame::Hello(hello) => self.hello(framed, &hello),
                client_frame::Frame::Subscribe(_)
                | client_frame::Frame::Unsubscribe(_)
                | client_frame::Frame::Publish(_)
                | client_frame::Frame::Ack(_)
                | client_frame::Frame::Ping(_)
                | client_frame::Frame::Renew(_) => Err(Broken("the first frame must be a hello".to_owned())),
            };
        };
        match frame {
            client_frame::Frame::Hello(_) => return Err(Broken("a second hello came".to_owned())),
            client_frame::Frame::Subscribe(wish) => self.subscribe_frame(wish),
            client_frame::Frame::Unsubscribe(wish) => self.unsubscribe_frame(&wish),
            client_frame::Frame::Publish(publish) => self.publish_frame(client, publish, bytes),
            client_frame::Frame::Ack(ack) => self.ack_frame(&ack),
            client_frame::Frame::Renew(renew) => self.renew_frame(client, &renew),
            client_frame::Frame::Ping(ping) => {
                self.control(encode(server_frame::Frame::Pong(pb::Pong { nonce: ping.nonce })));
            }
        }
        Ok(())
    }

    fn hello(self: &Rc<Self>, framed: &Framed, hello: &pb::Hello) -> Result<(), Broken> {
        if hello.version != VERSION {
            return Err(Broken(format!("version {} is not spoken here; this hub speaks 1", hello.version)));
        }
        let id = ClientId::try_from(&hello.client_id[..]).ok().filter(|id| !id.is_none());
        let id = id.ok_or_else(|| Broken("the client id must be 16 random bytes".to_owned()))?;
        let device = match hello.device_id.len() {
            0 => DeviceId::NONE,
            _ => DeviceId::try_from(&hello.device_id[..])
                .map_err(|_| Broken("the device id must be 16 bytes".to_owned()))?,
        };
        let stream_key = match hello.stream_key.len() {
            0 => None,
            _ => Some(<[u8; 16]>::try_from(&hello.stream_key[..]))
                .transpose()
                .map_err(|_| Broken("the stream key must be 16 random bytes".to_owned()))?,
        };
        framed.handshake.borrow_mut().take();
        if let Some(web) = &framed.web {
            web.open();
        }
        *framed.stage.borrow_mut() = Stage::Greeted(Client { id, device, stream_key });
        self.welcome(framed);
        Ok(())
    }

    fn subscribe_frame(self: &Rc<Self>, wish: pb::Subscribe) {
        let key = match wish.by {
            Some(subscribe::By::Name(name)) if !name.is_empty() => Some(GroupKey::Name(name)),
            Some(subscribe::By::GroupId(id)) => GroupId::try_from(&id[..]).ok().map(GroupKey::Id),
            Some(subscribe::By::Name(_)) | None => None,
        };
        let Some(key) = key.filter(|_| wish.from_seq <= MAX_SEQ) else {
            let failure = Failure::new(Code::InvalidArgument, "a subscription needs a group's name or 16-byte id");
            return self.control(error(0, &failure, None));
        };
        let log = (wish.log_id != 0).then_some(LogId(wish.log_id));
        // A copy: it is kept for long, and the rest of the frame need not be.
        let ticket = Bytes::copy_from_slice(&wish.ticket);
        self.find(key, Ask::Subscribe { from: Seq(wish.from_seq), log, ticket });
    }

    /// Keeps a newer ticket for a group that the session is in; for another it means nothing.
    fn renew_frame(&self, client: Client, renew: &pb::Renew) {
        let Ok(id) = GroupId::try_from(&renew.group_id[..]) else { return };
        let info = self.subscriptions.borrow().get(&id).map(|subscription| subscription.group().info());
        let Some(info) = info.filter(|info| info.private) else { return };
        match self.check_ticket(&info, &renew.ticket, client.device) {
            Ok(()) => self.keep_ticket(id, Bytes::copy_from_slice(&renew.ticket)),
            Err(failure) => self.control(error(0, &failure, Some(id))),
        }
    }

    fn unsubscribe_frame(&self, wish: &pb::Unsubscribe) {
        match GroupId::try_from(&wish.group_id[..]) {
            Ok(id) => {
                self.unsubscribe(id);
                self.control(unsubscribed(id, Code::Ok, ""));
            }
            Err(error_) => {
                self.control(error(0, &Failure::new(Code::InvalidArgument, error_.to_string()), None));
            }
        }
    }

    /// `bytes`: of the frame.
    fn publish_frame(self: &Rc<Self>, client: Client, publish: pb::Publish, bytes: usize) {
        let entry = |entry: pb::PublishEntry| Entry {
            client_seq: entry.client_seq,
            content_type: entry.content_type,
            payload: entry.payload,
        };
        let wish = Wish {
            tag: publish.tag,
            client: client.id,
            device: client.device,
            stream_key: client.stream_key.map_or_else(Bytes::new, |key| Bytes::copy_from_slice(&key)),
            entries: publish.entries.into_iter().map(entry).collect(),
            bytes,
            ticket: publish.ticket,
            log_id: publish.log_id,
        };
        let group = GroupId::try_from(&publish.group_id[..])
            .map_err(|error| Failure::new(Code::InvalidArgument, error.to_string()));
        match group.and_then(|group| wish.check().map(|()| group)) {
            Ok(group) => self.find(GroupKey::Id(group), Ask::Publish(wish)),
            Err(failure) => self.control(error(wish.tag, &failure, None)),
        }
    }
}

fn encode(frame: server_frame::Frame) -> Bytes {
    encode_control(&pb::ServerFrame { frame: Some(frame) })
}

pub(super) fn subscribed(id: GroupId, name: &str, log: LogId, next: Seq, head: Seq, history_lost: bool) -> Bytes {
    encode(server_frame::Frame::Subscribed(pb::Subscribed {
        group_id: id.into(),
        name: name.to_owned(),
        log_id: log.0,
        next_seq: next.0,
        head_seq: head.0,
        history_lost,
    }))
}

pub(super) fn unsubscribed(id: GroupId, code: Code, message: &str) -> Bytes {
    encode(server_frame::Frame::Unsubscribed(pb::Unsubscribed {
        group_id: id.into(),
        code: code as i32,
        message: message.to_owned(),
    }))
}

pub(super) fn gap(id: GroupId, range: SeqRange) -> Bytes {
    encode(server_frame::Frame::Gap(pb::Gap { group_id: id.into(), first_seq: range.first.0, last_seq: range.last.0 }))
}

pub(super) fn error(tag: u64, failure: &Failure, group: Option<GroupId>) -> Bytes {
    encode(server_frame::Frame::Error(pb::Error {
        tag,
        code: failure.code as i32,
        message: failure.message.clone(),
        group_id: group.map(Bytes::from).unwrap_or_default(),
    }))
}

pub(super) fn published(published: Published) -> Bytes {
    match published.outcome {
        Ok((log, acks)) => {
            let range = |ack: gaung_proto::pb::relay::AckRange| pb::PublishedRange {
                first_client_seq: ack.first_client_seq,
                first_seq: ack.first_seq,
                count: ack.count,
            };
            let acks = acks.into_iter().map(range).collect();
            encode(server_frame::Frame::Published(pb::Published { tag: published.tag, log_id: log.0, acks }))
        }
        Err(failure) => error(published.tag, &failure, Some(published.group)),
    }
}

pub(super) fn bye(reason: &str, resume: Vec<pb::Resume>, is_final: bool) -> Bytes {
    encode(server_frame::Frame::Bye(pb::Bye { reason: reason.to_owned(), resume, r#final: is_final }))
}
