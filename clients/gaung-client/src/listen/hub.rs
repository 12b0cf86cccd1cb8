//! The TCP lane: a framed session with a hub, which reconnects until it is dropped.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gaung_net::frame_io::{FrameReader, notice_silence};
use gaung_proto::{
    GroupId, LogId, RelayId, Seq,
    body::Cookie,
    frame::{AcceptedItems, FrameItem, encode_control},
    net::Lane,
    pb::hub as pb,
    run::Run,
};
use gaung_site::Role;
use prost::Message as _;
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tonic::Code;
use tracing::debug;

use super::{
    cursor::DeliveryCursor,
    drive::{EngineInput, EnginePort},
    note::{HubNote, TaskNote},
};
use crate::{
    calls::GroupAccess,
    context::Context,
    endpoint::{CALL, HostPort, server_backoff},
    error::{ClientError, ErrorKind, kind_of_code},
    group::ServiceInfo,
    service_stream::ServiceStream,
};

/// Time between two pings. A session from which nothing came for twice as long is lost.
const PING: Duration = Duration::from_secs(10);
/// A hub whose session lasted less than this is tried after others the next time.
const SHORT_SESSION: Duration = Duration::from_secs(5);
/// Shortest time between two acknowledgements.
const ACK_INTERVAL: Duration = Duration::from_millis(250);

/// An open session with a hub, subscribed to one group.
#[derive(Debug)]
pub(super) struct HubSession {
    hub: RelayId,
    reader: FrameReader<ReadHalf<ServiceStream>>,
    writer: WriteHalf<ServiceStream>,
    group: GroupId,
    /// The newest ticket that the hub was sent.
    ticket: Bytes,
    pub(super) log: LogId,
    pub(super) next: Seq,
    pub(super) head: Seq,
}

/// Opens a session with the first hub that accepts this client, and subscribes from seq `from` on; 0 stands for the
/// next message to be logged.
///
/// # Errors
/// [`ClientError::NoHub`] if none is listed, [`ClientError::Unreachable`] if one does not answer, else the first hub's
/// refusal.
pub(super) async fn open(context: &Context, access: &GroupAccess, from: Seq) -> Result<HubSession, ClientError> {
    let mut failure: Option<ClientError> = None;
    for hub in context.hubs.order(&access.services, std::time::Instant::now()).into_iter().take(MAX_TRIED) {
        match open_at(hub, context, access, from).await {
            Ok(session) => {
                context.hubs.served(hub.id);
                return Ok(session);
            }
            Err(error) => {
                debug!(hub = %hub.id, %error, "the hub does not accept this client");
                context.hubs.failed(hub.id, std::time::Instant::now());
                // One hub's refusal is not final while another does not answer.
                if failure.as_ref().is_none_or(|failure| failure.kind() != ErrorKind::Unreachable) {
                    failure = Some(error);
                }
            }
        }
    }
    Err(failure.unwrap_or(ClientError::NoHub))
}

/// Limits the hubs tried in one attempt; the next attempt starts with those that did not fail.
const MAX_TRIED: usize = 4;

async fn open_at(
    hub: &ServiceInfo,
    context: &Context,
    access: &GroupAccess,
    from: Seq,
) -> Result<HubSession, ClientError> {
    let address = HostPort::new(&hub.host, hub.tcp_port);
    let unreachable = |why: String| ClientError::Unreachable(format!("cannot reach the hub at {address}: {why}"));
    let stream = context.trust.connect(&address, Role::Hub(hub.id), &[]).await?;
    notice_silence(stream.socket());
    let (reader, mut writer) = split(stream);
    let mut reader = FrameReader::new(reader, AcceptedItems::ControlAndRuns);
    let greeting = [hello(context), subscribe(access, from)].concat();
    write(&mut writer, &greeting).await.map_err(|e| unreachable(e.to_string()))?;
    let answered = timeout(CALL, subscribed(&mut reader, access.group.id)).await;
    let subscribed = answered.map_err(|_| unreachable("no answer".to_owned()))??;
    Ok(HubSession {
        reader,
        writer,
        hub: hub.id,
        group: access.group.id,
        ticket: access.ticket.clone(),
        log: LogId(subscribed.log_id),
        next: Seq(subscribed.next_seq),
        head: Seq(subscribed.head_seq),
    })
}

/// Keeps a session open until the future is dropped. `cursor`: the next seq that the listener wants. `cookie`: the one
/// that the relay gave the member for its STATUS datagrams, else zero.
pub(super) async fn run(
    first: Option<HubSession>,
    context: Arc<Context>,
    access: watch::Receiver<GroupAccess>,
    cursor: Arc<DeliveryCursor>,
    port: EnginePort,
    notes: mpsc::Sender<TaskNote>,
    cookie: Cookie,
) {
    let mut backoff = server_backoff();
    let mut session = first;
    loop {
        let wanted = cursor.next();
        let opened = match session.take() {
            Some(session) => Ok(session),
            None => {
                let access = access.borrow().clone();
                open(&context, &access, wanted).await
            }
        };
        let note = match opened {
            Ok(session) => {
                backoff.reset();
                if notes.send(TaskNote::Hub(HubNote::Up { log: session.log })).await.is_err() {
                    return;
                }
                // The log may no longer have the messages from the cursor on.
                if session.next > wanted {
                    port.input(EngineInput::Trimmed { oldest: session.next }).await;
                }
                port.input(EngineInput::HubHead { head: session.head }).await;
                let (hub, since) = (session.hub, Instant::now());
                let ended = session.serve(&cursor, &port, &notes, access.clone(), cookie).await;
                if since.elapsed() < SHORT_SESSION {
                    context.hubs.failed(hub, std::time::Instant::now());
                }
                ended
            }
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotAllowed => HubNote::Refused { why: error.to_string() },
                ErrorKind::Usage | ErrorKind::Unreachable | ErrorKind::OtherSite | ErrorKind::Failed => {
                    HubNote::Down { why: error.to_string() }
                }
            },
        };
        if notes.send(TaskNote::Hub(note)).await.is_err() {
            return;
        }
        sleep(backoff.next_delay()).await;
    }
}

impl HubSession {
    /// Reads and acknowledges messages until the session ends; returns why.
    async fn serve(
        mut self,
        cursor: &DeliveryCursor,
        port: &EnginePort,
        notes: &mpsc::Sender<TaskNote>,
        mut access: watch::Receiver<GroupAccess>,
        Cookie(cookie): Cookie,
    ) -> HubNote {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut acks = AckSchedule::new(self.log);
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
                Ok(()) = access.changed() => {
                    let renew = self.newer_ticket(&access.borrow_and_update());
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

    /// Handles one frame; returns why the session is over, if it is.
    async fn handle_item(
        &mut self,
        item: FrameItem,
        port: &EnginePort,
        notes: &mpsc::Sender<TaskNote>,
    ) -> Option<HubNote> {
        let frame = match item {
            FrameItem::Run(run) => {
                self.handle_run(run, port).await;
                return None;
            }
            FrameItem::Control(bytes) => match pb::ServerFrame::decode(bytes) {
                Ok(frame) => frame.frame?,
                Err(error) => return Some(HubNote::Down { why: format!("the hub sent what cannot be read: {error}") }),
            },
        };
        match frame {
            pb::server_frame::Frame::Subscribed(subscribed) => {
                self.log = LogId(subscribed.log_id);
                self.head = Seq(subscribed.head_seq);
                // The member subscribes anew when the log is another one.
                let _ = notes.send(TaskNote::Hub(HubNote::Up { log: self.log })).await;
                None
            }
            pb::server_frame::Frame::Gap(gap) if gap.group_id == self.group.as_bytes()[..] => {
                port.input(EngineInput::Trimmed { oldest: Seq(gap.last_seq).next() }).await;
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

    /// Hands a run to the engine. Messages that the log held before the subscription are history.
    async fn handle_run(&self, run: Run, port: &EnginePort) {
        if run.header().group == self.group && run.header().log == self.log {
            let lane = if run.last_seq() <= self.head { Lane::History } else { Lane::Tcp };
            port.run(run, lane).await;
        }
    }

    /// A renewal of the ticket, if there is a newer one: the hub ends a session whose ticket has expired.
    fn newer_ticket(&mut self, access: &GroupAccess) -> Option<pb::client_frame::Frame> {
        if !access.group.private || access.ticket == self.ticket {
            return None;
        }
        self.ticket = access.ticket.clone();
        let renew = pb::Renew { group_id: self.group.into(), ticket: self.ticket.clone() };
        Some(pb::client_frame::Frame::Renew(renew))
    }

    async fn write(&mut self, frame: pb::client_frame::Frame) -> std::io::Result<()> {
        let bytes = encode_control(&pb::ClientFrame { frame: Some(frame) });
        timeout(PING, write(&mut self.writer, &bytes))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

/// Writes and flushes: TLS may hold back the end of what was written.
async fn write(writer: &mut WriteHalf<ServiceStream>, bytes: &[u8]) -> std::io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// When to acknowledge to the hub: at once after a pause, then each [`ACK_INTERVAL`].
struct AckSchedule {
    /// The log of the cursor. Once the session's is another one, the listener starts anew.
    log: LogId,
    acked: Option<u64>,
    soonest: Instant,
    moved: bool,
}

impl AckSchedule {
    fn new(log: LogId) -> Self {
        Self { log, acked: None, soonest: Instant::now(), moved: true }
    }

    /// Waits until an acknowledgement is due. Cancel safe.
    async fn due(&mut self, cursor: &DeliveryCursor) {
        if !self.moved {
            cursor.moved().await;
            self.moved = true;
        }
        sleep_until(self.soonest).await;
    }

    /// The seq to acknowledge, unless it was acknowledged before.
    fn take(&mut self, log: LogId, next: Seq) -> Option<u64> {
        self.moved = false;
        let delivered = next.0.saturating_sub(1);
        if log != self.log || self.acked.replace(delivered) == Some(delivered) {
            return None;
        }
        self.soonest = Instant::now() + ACK_INTERVAL;
        Some(delivered)
    }
}

fn ended_note(code: i32, message: String) -> HubNote {
    match kind_of_code(Code::from(code)) {
        ErrorKind::NotFound | ErrorKind::NotAllowed => HubNote::Refused { why: message },
        ErrorKind::Usage | ErrorKind::Unreachable | ErrorKind::OtherSite | ErrorKind::Failed => {
            HubNote::Down { why: message }
        }
    }
}

fn hello(context: &Context) -> Vec<u8> {
    let hello = pb::Hello {
        version: 1,
        client_id: context.client_id.into(),
        device_id: context.device.id().into(),
        name: context.name(),
        stream_key: context.stream_key.to_vec().into(),
    };
    encode_control(&pb::ClientFrame { frame: Some(pb::client_frame::Frame::Hello(hello)) }).into()
}

fn subscribe(access: &GroupAccess, from: Seq) -> Vec<u8> {
    let subscribe = pb::Subscribe {
        by: Some(pb::subscribe::By::GroupId(access.group.id.into())),
        log_id: if from == Seq::ZERO { 0 } else { access.group.log.0 },
        from_seq: from.0,
        ticket: access.ticket.clone(),
    };
    encode_control(&pb::ClientFrame { frame: Some(pb::client_frame::Frame::Subscribe(subscribe)) }).into()
}

async fn subscribed(
    reader: &mut FrameReader<ReadHalf<ServiceStream>>,
    group: GroupId,
) -> Result<pb::Subscribed, ClientError> {
    loop {
        let item = reader.next().await.map_err(|e| ClientError::Unreachable(format!("the hub broke off: {e}")))?;
        let Some(item) = item else {
            return Err(ClientError::Unreachable("the hub closed the connection at once".to_owned()));
        };
        // Each session starts subscribed to `everyone`, whose runs are not for this one.
        let FrameItem::Control(bytes) = item else { continue };
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
