//! A framed client and a text client without any protocol.

use std::{net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    ClientId, GroupId, Seq,
    frame::{AcceptedItems, FrameItem, decode, encode_control},
    pb::hub::{
        ClientFrame, Hello, Publish, PublishEntry, ServerFrame, Subscribe, Subscribed, Welcome, client_frame,
        server_frame, subscribe,
    },
    run::Run,
};
use prost::Message as _;
use rustls::client::ResolvesClientCert;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    site::client_config,
    world::{LONG, TestHub},
};

/// Connects with a small buffer, so that the hub soon notices a reader that stops.
async fn connect(socket: TcpSocket, addr: SocketAddr) -> TcpStream {
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.connect(addr).await.unwrap()
}

/// Connects to a port of the hub by TLS.
pub async fn connect_by_tls(hub: &TestHub, addr: SocketAddr) -> TlsStream<TcpStream> {
    connect_with_proof(hub, addr, None).await
}

/// The same, proving a device.
pub async fn connect_with_proof(
    hub: &TestHub,
    addr: SocketAddr,
    proof: Option<Arc<dyn ResolvesClientCert>>,
) -> TlsStream<TcpStream> {
    let stream = connect(TcpSocket::new_v4().unwrap(), addr).await;
    TlsConnector::from(client_config(proof)).connect(hub.role.server_name(), stream).await.unwrap()
}

/// A connection, plain or by TLS.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

pub struct FramedClient {
    pub stream: Box<dyn Duplex>,
    buffer: BytesMut,
    pub id: ClientId,
    /// The device that its hello names.
    pub device: Bytes,
}

#[derive(Debug)]
pub enum Received {
    Frame(server_frame::Frame),
    Run(Run),
}

impl FramedClient {
    pub async fn raw(addr: SocketAddr) -> Self {
        Self::raw_from([127, 0, 0, 1], addr).await
    }

    /// Connects from another address of this host.
    pub async fn raw_from(source: [u8; 4], addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        Self::over(connect(socket, addr).await)
    }

    pub fn over(stream: impl Duplex + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: BytesMut::new(),
            id: ClientId(rand::random()),
            device: Bytes::from_static(&[9; 16]),
        }
    }

    /// Connects and says hello, which also subscribes to `everyone`.
    pub async fn open(addr: SocketAddr) -> (Self, Welcome) {
        let mut client = Self::raw(addr).await;
        let welcome = client.greet().await;
        (client, welcome)
    }

    /// The same by TLS.
    pub async fn open_by_tls(hub: &TestHub) -> Self {
        let mut client = Self::over(connect_by_tls(hub, hub.tcp).await);
        client.greet().await;
        client
    }

    /// Says hello and waits for the welcome.
    pub async fn greet(&mut self) -> Welcome {
        self.hello().await;
        let Received::Frame(server_frame::Frame::Welcome(welcome)) = self.next().await else { panic!("no welcome") };
        welcome
    }

    pub async fn hello(&mut self) {
        let hello = Hello {
            version: 1,
            client_id: self.id.into(),
            device_id: self.device.clone(),
            name: "t".into(),
            ..Hello::default()
        };
        self.send(client_frame::Frame::Hello(hello)).await;
    }

    pub async fn send(&mut self, frame: client_frame::Frame) {
        self.stream.write_all(&encode_control(&ClientFrame { frame: Some(frame) })).await.unwrap();
    }

    pub async fn subscribe(&mut self, name: &str, from_seq: u64, log_id: u64) -> Subscribed {
        self.subscribe_frame(name, from_seq, log_id).await;
        loop {
            match self.next().await {
                Received::Frame(server_frame::Frame::Subscribed(subscribed)) if subscribed.name == name => {
                    return subscribed;
                }
                Received::Frame(server_frame::Frame::Error(error)) => panic!("{error:?}"),
                Received::Frame(_) | Received::Run(_) => {}
            }
        }
    }

    pub async fn subscribe_frame(&mut self, name: &str, from_seq: u64, log_id: u64) {
        let by = Some(subscribe::By::Name(name.to_owned()));
        let subscribe = Subscribe { by, log_id, from_seq, ticket: Default::default() };
        self.send(client_frame::Frame::Subscribe(subscribe)).await;
    }

    pub async fn publish(&mut self, group: GroupId, tag: u64, first: u64, count: u64) {
        let entry = |client_seq| {
            let (content_type, payload) = gaung_proto::Content::text("t", client_seq_text(client_seq)).encode();
            PublishEntry { client_seq, content_type: content_type.to_byte().into(), payload }
        };
        let entries = (first..first + count).map(entry).collect();
        let publish = Publish { tag, group_id: group.into(), entries, ..Publish::default() };
        self.send(client_frame::Frame::Publish(publish)).await;
    }

    pub async fn next(&mut self) -> Received {
        self.try_next().await.expect("the stream goes on")
    }

    /// Receives the next frame or run; `None` when the hub closed the stream.
    pub async fn try_next(&mut self) -> Option<Received> {
        let reading = async {
            loop {
                match decode(&mut self.buffer, AcceptedItems::ControlAndRuns).unwrap() {
                    Some(FrameItem::Run(run)) => return Some(Received::Run(run)),
                    Some(FrameItem::Control(body)) => {
                        return Some(Received::Frame(ServerFrame::decode(body).unwrap().frame.unwrap()));
                    }
                    None => {}
                }
                self.buffer.reserve(64 * 1024);
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        timeout(LONG, reading).await.expect("something comes within a minute")
    }

    /// Receives the next control frame and drops runs before it.
    pub async fn next_frame(&mut self) -> server_frame::Frame {
        loop {
            if let Received::Frame(frame) = self.next().await {
                return frame;
            }
        }
    }

    /// Reads the group's messages from `next` up to `last`; panics at a gap or a duplicate.
    pub async fn read_up_to(&mut self, group: GroupId, next: &mut Seq, last: Seq) {
        while *next <= last {
            match self.next().await {
                Received::Run(run) => take(group, next, &run),
                Received::Frame(frame) => assert!(!matches!(frame, server_frame::Frame::Bye(_)), "{frame:?} at {next}"),
            }
        }
    }
}

/// Checks that `run` continues at `next`.
pub fn take(group: GroupId, next: &mut Seq, run: &Run) {
    if run.header().group != group {
        return;
    }
    assert!(run.first_seq() <= *next, "a gap: {} came when {next} was due", run.first_seq());
    assert!(run.last_seq() >= *next, "a duplicate: {} came when {next} was due", run.last_seq());
    *next = run.last_seq().next();
}

pub fn client_seq_text(client_seq: u64) -> String {
    format!("message {client_seq}")
}

pub struct TextClient {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl TextClient {
    pub async fn open(addr: SocketAddr) -> (Self, String) {
        Self::open_from([127, 0, 0, 1], addr).await
    }

    /// Connects from another address of this host.
    pub async fn open_from(source: [u8; 4], addr: SocketAddr) -> (Self, String) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let mut bare = Self { stream: socket.connect(addr).await.unwrap(), buffer: Vec::new() };
        let welcome = bare.line().await;
        (bare, welcome)
    }

    pub async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits until the hub closes the connection.
    pub async fn has_ended(&mut self) -> bool {
        let reading = async { while self.stream.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0) {} };
        timeout(LONG, reading).await.is_ok()
    }

    pub async fn line(&mut self) -> String {
        String::from_utf8(self.line_bytes().await).unwrap()
    }

    pub async fn line_bytes(&mut self) -> Vec<u8> {
        let reading = async {
            loop {
                if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                    let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                    line.pop();
                    return line;
                }
                let n = self.stream.read_buf(&mut self.buffer).await.unwrap();
                assert!(n > 0, "the hub closed the session");
            }
        };
        timeout(LONG, reading).await.expect("a line comes within a minute")
    }
}
