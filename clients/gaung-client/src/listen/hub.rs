//! The TCP lane: a framed session with the hub, kept up for as long as it is wanted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gaung_net::frame_io::{FrameReader, notice_silence};
use gaung_proto::{
    GroupId, LogId, RelayId, Seq,
    body::Cookie,
    frame::{Accept, Item, encode_control},
    net::Lane,
    pb::hub as pb,
    run::Run,
};
use prost::Message as _;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tonic::Code;
use tracing::debug;

use super::{
    cursor::Cursor,
    drive::{Input, Port},
    member::Note,
};
use crate::{
    backoff::Backoff,
    client::Inner,
    endpoint::{CALL, CONNECT, HostPort},
    error::{ClientError, ErrorKind, kind_of_code},
    group::ServiceInfo,
    registry::Joined,
};

/// Between two pings; a session from which nothing came for twice as long is over.
const PING: Duration = Duration::from_secs(10);
/// A hub whose session lasted no longer is asked after others the next time.
const SHORT: Duration = Duration::from_secs(5);
/// Between two reports of how far messages were delivered, while more are.
const ACK: Duration = Duration::from_millis(250);

/// What a task tells of the hub.
#[derive(Debug)]
pub(super) enum HubNote {
    /// Messages come from `next` on.
    Up { log: LogId },
    /// The session is lost and sought again.
    Down { why: String },
    /// The hub says that this group is gone, or closed to this device: ask the registry.
    Refused { why: String },
}

/// A session in which one group was subscribed to.
#[derive(Debug)]
pub(super) struct Session {
    hub: RelayId,
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    group: GroupId,
    /// The newest that the hub was sent.
    ticket: Bytes,
    pub(super) log: LogId,
    pub(super) next: Seq,
    pub(super) head: Seq,
}

/// Opens a session with the first hub that lets this client in, and subscribes. `from` 0: the next message to be logged.
///
/// # Errors
/// [`ClientError::Unreachable`] if no hub answers; what the hubs say to the subscription, if all of them do.
pub(super) async fn open(inner: &Inner, joined: &Joined, from: Seq) -> Result<Session, ClientError> {
    let mut failure: Option<ClientError> = None;
    for hub in inner.hubs.order(&joined.services, std::time::Instant::now()).into_iter().take(MAX_TRIED) {
        match open_at(hub, inner, joined, from).await {
            Ok(session) => {
                inner.hubs.served(hub.id);
                return Ok(session);
            }
            Err(error) => {
                debug!(hub = %hub.id, %error, "this hub does not let us in");
                inner.hubs.failed(hub.id, std::time::Instant::now());
                // One hub's refusal is not final while another does not answer.
                if failure.as_ref().is_none_or(|failure| failure.kind() != ErrorKind::Unreachable) {
                    failure = Some(error);
                }
            }
        }
    }
    Err(failure.unwrap_or_else(|| {
        ClientError::Unreachable("no hub is running; start broadcast-hub, or use --lane multicast".to_owned())
    }))
}

/// Hubs that are tried in one attempt; the next attempt begins with those that did not fail.
const MAX_TRIED: usize = 4;

async fn open_at(hub: &ServiceInfo, inner: &Inner, joined: &Joined, from: Seq) -> Result<Session, ClientError> {
    let address = HostPort::new(&hub.host, hub.tcp_port);
    let unreachable = |why: String| ClientError::Unreachable(format!("cannot reach the hub at {address}: {why}"));
    let stream = timeout(CONNECT, TcpStream::connect((hub.host.as_str(), hub.tcp_port))).await;
    let stream = stream.map_err(|_| unreachable("no answer".to_owned()))?.map_err(|e| unreachable(e.to_string()))?;
    let _ = stream.set_nodelay(true);
    notice_silence(&stream);
    let (reader, mut writer) = stream.into_split();
    let mut reader = FrameReader::new(reader, Accept::ControlAndRuns);
    let greeting = [hello(inner), subscribe(joined, from)].concat();
    writer.write_all(&greeting).await.map_err(|e| unreachable(e.to_string()))?;
    let answered = timeout(CALL, subscribed(&mut reader, joined.group.id)).await;
    let subscribed = answered.map_err(|_| unreachable("no answer".to_owned()))??;
    Ok(Session {
        reader,
        writer,
        hub: hub.id,
        group: joined.group.id,
        ticket: joined.ticket.clone(),
        log: LogId(subscribed.log_id),
        next: Seq(subscribed.next_seq),
        head: Seq(subscribed.head_seq),
    })
}

/// Keeps a session up until dropped. `cursor`: the next seq that the listener wants. `cookie`: what the relay gave the
/// member for multicast, if it did.
pub(super) async fn run(
    first: Option<Session>,
    inner: Arc<Inner>,
    joined: watch::Receiver<Joined>,
    cursor: Arc<Cursor>,
    port: Port,
    notes: mpsc::Sender<Note>,
    cookie: Cookie,
) {
    let mut backoff = Backoff::default();
    let mut session = first;
    loop {
        let wanted = cursor.next();
        let opened = match session.take() {
            Some(session) => Ok(session),
            None => {
                let place = joined.borrow().clone();
                open(&inner, &place, wanted).await
            }
        };
        let note = match opened {
            Ok(session) => {
                backoff.reset();
                if notes.send(Note::Hub(HubNote::Up { log: session.log })).await.is_err() {
                    return;
                }
                // The hub may have nothing from the cursor on any more.
                if session.next > wanted {
                    port.input(Input::Trimmed { oldest: session.next }).await;
                }
                port.input(Input::HubHead { head: session.head }).await;
                let (hub, since) = (session.hub, Instant::now());
                let ended = session.serve(&cursor, &port, &notes, joined.clone(), cookie).await;
                if since.elapsed() < SHORT {
                    inner.hubs.failed(hub, std::time::Instant::now());
                }
                ended
            }
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotAllowed => HubNote::Refused { why: error.to_string() },
                ErrorKind::Usage | ErrorKind::Unreachable | ErrorKind::Failed => {
                    HubNote::Down { why: error.to_string() }
                }
            },
        };
        if notes.send(Note::Hub(note)).await.is_err() {
            return;
        }
        sleep(backoff.next_delay()).await;
    }
}

impl Session {
    /// Reads until the session ends; gives why.
    async fn serve(
        mut self,
        cursor: &Cursor,
        port: &Port,
        notes: &mpsc::Sender<Note>,
        mut joined: watch::Receiver<Joined>,
        Cookie(cookie): Cookie,
    ) -> HubNote {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut acks = Acks::new(self.log);
        let down =
            |why: &dyn std::fmt::Display| HubNote::Down { why: format!("the connection to the hub was lost: {why}") };
        loop {
            let written = tokio::select! {
                item = self.reader.next() => {
                    heard = Instant::now();
                    match item {
                        Ok(Some(item)) => match self.handle_item(item, port, notes).await {
                            Some(end) => return end,
                            None => Ok(()),
                        },
                        Ok(None) => return down(&"it was closed"),
                        Err(error) => return down(&error),
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() > PING * 2 {
                        return down(&"nothing was heard from it");
                    }
                    self.write(pb::client_frame::Frame::Ping(pb::Ping { nonce: 0 })).await
                }
                Ok(()) = joined.changed() => {
                    let renew = self.newer_ticket(&joined.borrow_and_update());
                    match renew {
                        Some(renew) => self.write(renew).await,
                        None => Ok(()),
                    }
                }
                () = acks.due(cursor) => match acks.take(self.log, cursor.next()) {
                    Some(delivered_seq) => {
                        let ack = pb::Ack { group_id: self.group.into(), log_id: self.log.0, delivered_seq, cookie };
                        self.write(pb::client_frame::Frame::Ack(ack)).await
                    }
                    None => Ok(()),
                },
            };
            if let Err(error) = written {
                return down(&error);
            }
        }
    }

    /// Gives why the session is over, if it is.
    async fn handle_item(&mut self, item: Item, port: &Port, notes: &mpsc::Sender<Note>) -> Option<HubNote> {
        let frame = match item {
            Item::Run(run) => {
                self.handle_run(run, port).await;
                return None;
            }
            Item::Control(bytes) => match pb::ServerFrame::decode(bytes) {
                Ok(frame) => frame.frame?,
                Err(error) => return Some(HubNote::Down { why: format!("the hub sent what cannot be read: {error}") }),
            },
        };
        match frame {
            pb::server_frame::Frame::Subscribed(subscribed) => {
                self.log = LogId(subscribed.log_id);
                self.head = Seq(subscribed.head_seq);
                // Whoever reads this note subscribes anew when the log is another one.
                let _ = notes.send(Note::Hub(HubNote::Up { log: self.log })).await;
                None
            }
            pb::server_frame::Frame::Gap(gap) if gap.group_id == self.group.as_bytes()[..] => {
                port.input(Input::Trimmed { oldest: Seq(gap.last_seq).next() }).await;
                None
            }
            pb::server_frame::Frame::Unsubscribed(ended) => Some(ended_note(ended.code, ended.message)),
            pb::server_frame::Frame::Error(error) => Some(ended_note(error.code, error.message)),
            pb::server_frame::Frame::Bye(bye) => Some(HubNote::Down { why: format!("the hub said: {}", bye.reason) }),
            pb::server_frame::Frame::Gap(_)
            | pb::server_frame::Frame::Welcome(_)
            | pb::server_frame::Frame::Published(_)
            | pb::server_frame::Frame::Receipt(_)
            | pb::server_frame::Frame::Pong(_) => None,
        }
    }

    /// What the log held before the subscription was read from it.
    async fn handle_run(&self, run: Run, port: &Port) {
        if run.header().group == self.group && run.header().log == self.log {
            let lane = if run.last_seq() <= self.head { Lane::History } else { Lane::Tcp };
            port.run(run, lane).await;
        }
    }

    /// The hub reads a private group from the relay by its sessions' tickets, and ends a session whose ticket has expired.
    fn newer_ticket(&mut self, joined: &Joined) -> Option<pb::client_frame::Frame> {
        if !joined.group.private || joined.ticket == self.ticket {
            return None;
        }
        self.ticket = joined.ticket.clone();
        let renew = pb::Renew { group_id: self.group.into(), ticket: self.ticket.clone() };
        Some(pb::client_frame::Frame::Renew(renew))
    }

    async fn write(&mut self, frame: pb::client_frame::Frame) -> std::io::Result<()> {
        let bytes = encode_control(&pb::ClientFrame { frame: Some(frame) });
        let written = self.writer.write_all(&bytes);
        timeout(PING, written).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

/// When to tell the hub how far messages were delivered: at once after a pause, then each [`ACK`].
struct Acks {
    /// The cursor is of this log; once the session's is another, the listener starts anew.
    log: LogId,
    acked: Option<u64>,
    soonest: Instant,
    moved: bool,
}

impl Acks {
    fn new(log: LogId) -> Self {
        Self { log, acked: None, soonest: Instant::now(), moved: true }
    }

    /// Cancel safe.
    async fn due(&mut self, cursor: &Cursor) {
        if !self.moved {
            cursor.moved().await;
            self.moved = true;
        }
        sleep_until(self.soonest).await;
    }

    /// The seq to tell, if it was not told.
    fn take(&mut self, log: LogId, next: Seq) -> Option<u64> {
        self.moved = false;
        let delivered = next.0.saturating_sub(1);
        if log != self.log || self.acked.replace(delivered) == Some(delivered) {
            return None;
        }
        self.soonest = Instant::now() + ACK;
        Some(delivered)
    }
}

fn ended_note(code: i32, message: String) -> HubNote {
    match kind_of_code(Code::from(code)) {
        ErrorKind::NotFound | ErrorKind::NotAllowed => HubNote::Refused { why: message },
        ErrorKind::Usage | ErrorKind::Unreachable | ErrorKind::Failed => HubNote::Down { why: message },
    }
}

fn hello(inner: &Inner) -> Vec<u8> {
    let hello = pb::Hello {
        version: 1,
        client_id: inner.client_id.into(),
        device_id: inner.device.id().into(),
        name: inner.name(),
        stream_key: inner.stream_key.to_vec().into(),
    };
    encode_control(&pb::ClientFrame { frame: Some(pb::client_frame::Frame::Hello(hello)) }).into()
}

fn subscribe(joined: &Joined, from: Seq) -> Vec<u8> {
    let subscribe = pb::Subscribe {
        by: Some(pb::subscribe::By::GroupId(joined.group.id.into())),
        log_id: if from == Seq::ZERO { 0 } else { joined.group.log.0 },
        from_seq: from.0,
        ticket: joined.ticket.clone(),
    };
    encode_control(&pb::ClientFrame { frame: Some(pb::client_frame::Frame::Subscribe(subscribe)) }).into()
}

async fn subscribed(reader: &mut FrameReader<OwnedReadHalf>, group: GroupId) -> Result<pb::Subscribed, ClientError> {
    loop {
        let item = reader.next().await.map_err(|e| ClientError::Unreachable(format!("the hub broke off: {e}")))?;
        let Some(item) = item else {
            return Err(ClientError::Unreachable("the hub closed the connection at once".to_owned()));
        };
        // Runs of groups that every session starts in are not for this one.
        let Item::Control(bytes) = item else { continue };
        let frame =
            pb::ServerFrame::decode(bytes).map_err(|e| ClientError::Failed(format!("the hub cannot be read: {e}")))?;
        match frame.frame {
            Some(pb::server_frame::Frame::Subscribed(subscribed)) if subscribed.group_id == group.as_bytes()[..] => {
                return Ok(subscribed);
            }
            Some(pb::server_frame::Frame::Error(error)) => {
                return Err(ClientError::of_status(
                    &tonic::Status::new(Code::from(error.code), error.message),
                    "the hub",
                ));
            }
            Some(pb::server_frame::Frame::Unsubscribed(e)) if e.group_id == group.as_bytes()[..] => {
                return Err(ClientError::of_status(&tonic::Status::new(Code::from(e.code), e.message), "the hub"));
            }
            Some(pb::server_frame::Frame::Bye(bye)) => {
                return Err(ClientError::Unreachable(format!("the hub said: {}", bye.reason)));
            }
            Some(
                pb::server_frame::Frame::Welcome(_)
                | pb::server_frame::Frame::Published(_)
                | pb::server_frame::Frame::Receipt(_)
                | pb::server_frame::Frame::Gap(_)
                | pb::server_frame::Frame::Pong(_)
                | pb::server_frame::Frame::Subscribed(_)
                | pb::server_frame::Frame::Unsubscribed(_),
            )
            | None => {}
        }
    }
}

#[cfg(test)]
mod tests;
