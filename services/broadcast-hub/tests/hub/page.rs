//! The page's port: files, headers, the API's errors, and WebSocket sessions beside framed ones.

use std::net::SocketAddr;

use broadcast_hub::Limits;
use bytes::BytesMut;
use gaung_proto::{
    ClientId, GroupId, Seq,
    frame::{AcceptedItems, FrameItem, decode, encode_control},
    pb::hub::{ClientFrame, Hello, ServerFrame, Subscribe, client_frame, server_frame, subscribe},
    run::Run,
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tungstenite::{
    Bytes, Message,
    protocol::{Role, WebSocketContext, frame::coding::CloseCode},
};

use crate::{
    client::{Duplex, FramedClient, Received, take},
    slow::flood,
    world::{LONG, World},
};

/// Sends one raw request; returns the status and the whole response.
pub async fn send_request(addr: SocketAddr, head: &str) -> (u16, String) {
    send_request_over(TcpStream::connect(addr).await.unwrap(), head).await
}

pub async fn send_request_over(mut stream: impl Duplex, head: &str) -> (u16, String) {
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer[9..12].parse().unwrap(), answer)
}

async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    send_request(addr, &format!("GET {path} HTTP/1.1\r\nhost: {addr}")).await
}

pub fn opening(addr: SocketAddr, origin: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nhost: {addr}\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\norigin: {origin}"
    )
}

pub fn hello() -> client_frame::Frame {
    let hello = Hello { version: 1, client_id: ClientId(rand::random()).into(), ..Hello::default() };
    client_frame::Frame::Hello(hello)
}

/// Encodes a frame as a browser sends it.
pub fn web_message(frame: client_frame::Frame) -> Vec<u8> {
    let mut wire = Wire::default();
    let message = Message::Binary(encode_control(&ClientFrame { frame: Some(frame) }));
    let mut context = WebSocketContext::new(Role::Client, None);
    context.write(&mut wire, message).unwrap();
    context.flush(&mut wire).unwrap();
    wire.output
}

/// The browser's side of a WebSocket session.
pub struct Browser {
    stream: Box<dyn Duplex>,
    context: WebSocketContext,
    wire: Wire,
    frames: BytesMut,
}

#[derive(Default)]
struct Wire {
    input: BytesMut,
    output: Vec<u8>,
}

impl Browser {
    async fn connect(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // A small buffer, so that the hub soon notices a reader that stops.
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let mut stream = socket.connect(addr).await.unwrap();
        let head = opening(addr, &format!("http://{addr}"));
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        Self::opened(stream).await
    }

    /// Takes a connection over on which the request has been sent.
    pub async fn opened(stream: impl Duplex + 'static) -> Self {
        let mut stream: Box<dyn Duplex> = Box::new(stream);
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        // The key is the example of RFC 6455, section 1.3.
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        let context = WebSocketContext::new(Role::Client, None);
        Self { stream, context, wire: Wire::default(), frames: BytesMut::new() }
    }

    async fn open(addr: SocketAddr) -> Self {
        let mut browser = Self::connect(addr).await;
        browser.hello().await;
        let Some(Received::Frame(server_frame::Frame::Welcome(_))) = browser.next().await else { panic!("no welcome") };
        browser
    }

    async fn hello(&mut self) {
        self.send(hello()).await;
    }

    async fn send(&mut self, frame: client_frame::Frame) {
        self.say(Message::Binary(encode_control(&ClientFrame { frame: Some(frame) }))).await;
    }

    async fn say(&mut self, message: Message) {
        self.context.write(&mut self.wire, message).unwrap();
        self.context.flush(&mut self.wire).unwrap();
        let bytes = std::mem::take(&mut self.wire.output);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Receives the next WebSocket message; `None` at the end.
    async fn message(&mut self) -> Option<Message> {
        loop {
            match self.context.read(&mut self.wire) {
                Ok(message) => return Some(message),
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
            let read = timeout(LONG, self.stream.read_buf(&mut self.wire.input)).await.expect("something comes");
            if !matches!(read, Ok(1..)) {
                return None;
            }
        }
    }

    pub async fn next(&mut self) -> Option<Received> {
        loop {
            match decode(&mut self.frames, AcceptedItems::ControlAndRuns).unwrap() {
                Some(FrameItem::Run(run)) => return Some(Received::Run(run)),
                Some(FrameItem::Control(body)) => {
                    return Some(Received::Frame(ServerFrame::decode(body).unwrap().frame.unwrap()));
                }
                None => {}
            }
            match self.message().await? {
                Message::Binary(bytes) => self.frames.extend_from_slice(&bytes),
                Message::Close(_) => return None,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Receives runs up to the message `last`, and no end of the session.
    async fn read_up_to(&mut self, group: GroupId, next: &mut Seq, last: Seq) {
        while *next <= last {
            match self.next().await.unwrap() {
                Received::Run(run) => take(group, next, &run),
                Received::Frame(frame) => assert!(!matches!(frame, server_frame::Frame::Bye(_)), "{frame:?}"),
            }
        }
    }

    pub async fn subscribe(&mut self, name: &str, from_seq: u64) {
        let by = Some(subscribe::By::Name(name.to_owned()));
        self.send(client_frame::Frame::Subscribe(Subscribe { by, from_seq, ..Subscribe::default() })).await;
    }
}

impl std::io::Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.input.is_empty() {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.input.len());
        buffer[..length].copy_from_slice(&self.input.split_to(length));
        Ok(length)
    }
}

impl std::io::Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_browser_and_a_framed_client_get_the_same_runs() {
    let world = World::start(Limits::default()).await;
    let group = world.group("lobby", 2);
    world.relay.append(group, 500, 100);
    let mut browser = Browser::open(world.hub.page).await;
    let (mut framed, _) = FramedClient::open(world.hub.tcp).await;
    browser.subscribe("lobby", 1).await;
    framed.subscribe("lobby", 1, 0).await;

    let (mut next, mut bytes) = (Seq::FIRST, Vec::new());
    let mut from = |run: &Run, next: &mut Seq| {
        take(group, next, run);
        bytes.push(run.as_bytes().clone());
    };
    while next <= Seq(500) {
        if let Received::Run(run) = browser.next().await.unwrap() {
            from(&run, &mut next);
        }
    }
    let (mut next, mut index) = (Seq::FIRST, 0);
    while next <= Seq(500) {
        if let Received::Run(run) = framed.next().await {
            take(group, &mut next, &run);
            assert_eq!(run.as_bytes(), &bytes[index]);
            index += 1;
        }
    }
    world.relay.append(group, 1, 100);
    let Received::Run(run) = browser.next().await.unwrap() else { panic!("no run") };
    assert_eq!(run.last_seq(), Seq(501));
    world.stop().await;
}

#[tokio::test]
async fn a_stopping_hub_says_bye_and_closes_the_websocket() {
    let world = World::start(Limits::default()).await;
    let mut browser = Browser::open(world.hub.page).await;
    let stop = tokio::spawn(world.stop());
    let reason = loop {
        if let Received::Frame(server_frame::Frame::Bye(bye)) = browser.next().await.unwrap() {
            break bye.reason;
        }
    };
    assert!(reason.contains("stopping"), "{reason}");
    let Some(Message::Close(Some(close))) = browser.message().await else { panic!("no close") };
    assert_eq!(close.code, CloseCode::Away);
    drop(browser);
    stop.await.unwrap();
}

#[tokio::test]
async fn pings_are_answered_and_text_messages_are_refused() {
    let world = World::start(Limits::default()).await;
    let mut browser = Browser::connect(world.hub.page).await;
    browser.say(Message::Ping(Bytes::from_static(b"here?"))).await;
    assert_eq!(browser.message().await, Some(Message::Pong(Bytes::from_static(b"here?"))));
    browser.say(Message::text("hello")).await;
    assert_eq!(browser.message().await, None);
    // The first message may be no longer than a hello.
    let mut browser = Browser::connect(world.hub.page).await;
    browser.say(Message::Binary(vec![0; 5000].into())).await;
    assert_eq!(browser.message().await, None);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_browser_delays_nobody_and_is_disconnected_with_its_position() {
    let world = World::start(Limits { ring_bytes: 512 * 1024, ..Limits::default() }).await;
    let group = world.group("g", 2);
    let mut slow = Browser::open(world.hub.page).await;
    slow.subscribe("g", 1).await;
    let (mut fast, _) = FramedClient::open(world.hub.tcp).await;
    fast.subscribe("g", 1, 0).await;
    let (mut slow_next, mut fast_next) = (Seq::FIRST, Seq::FIRST);
    // Both are at the head once, so that neither counts as a newcomer, who may read the log more often.
    world.relay.append(group, 1, 100);
    slow.read_up_to(group, &mut slow_next, Seq(1)).await;
    fast.read_up_to(group, &mut fast_next, Seq(1)).await;
    flood(&world, &mut fast, &mut fast_next).await;
    slow.read_up_to(group, &mut slow_next, world.relay.head(group)).await;
    flood(&world, &mut fast, &mut fast_next).await;
    let bye = loop {
        match slow.next().await.unwrap() {
            Received::Run(run) => take(group, &mut slow_next, &run),
            Received::Frame(server_frame::Frame::Bye(bye)) => break bye,
            Received::Frame(_) => {}
        }
    };
    assert!(bye.reason.contains("slow") && !bye.r#final, "{bye:?}");
    let resume = bye.resume.iter().find(|resume| resume.group_id == group.as_bytes()[..]).unwrap();
    assert_eq!(Seq(resume.from_seq), slow_next);
    world.stop().await;
}

#[tokio::test]
async fn only_the_hubs_own_page_opens_a_session() {
    let world = World::start(Limits::default()).await;
    let page = world.hub.page;
    let (status, answer) = send_request(page, &opening(page, "http://evil.example")).await;
    assert_eq!(status, 403, "{answer}");
    let (status, _) = send_request(page, &opening(page, "null")).await;
    assert_eq!(status, 403);
    let (status, _) = get(page, "/ws").await;
    assert_eq!(status, 426);
    // An internet name that points to the hub.
    let (status, answer) = send_request(page, "GET / HTTP/1.1\r\nhost: evil.example").await;
    assert_eq!(status, 421);
    assert!(answer.contains("--advertise"), "{answer}");
    let post =
        format!("POST /api/challenge HTTP/1.1\r\nhost: {page}\r\norigin: http://evil.example\r\ncontent-length: 0");
    assert_eq!(send_request(page, &post).await.0, 403);
    world.stop().await;
}

#[tokio::test]
async fn files_have_a_strict_policy_and_are_sent_once() {
    let world = World::start(Limits::default()).await;
    let page = world.hub.page;
    for path in ["/", "/lab", "/js/main.js", "/css/base.css", "/nowhere"] {
        let (status, answer) = get(page, path).await;
        assert_eq!(status, if path == "/nowhere" { 404 } else { 200 });
        let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self';"), "{head}");
        assert!(!head.contains("unsafe"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
    let (_, answer) = get(page, "/").await;
    let tag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (status, again) = send_request(page, &format!("GET / HTTP/1.1\r\nhost: {page}\r\nif-none-match: {tag}")).await;
    assert_eq!(status, 304, "{again}");
    world.stop().await;
}

fn posting(page: SocketAddr, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {page}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn the_registry_charges_the_browser_and_not_the_hub() {
    let world = World::start(Limits::default()).await;
    let (key, id) = ("07".repeat(32), "07".repeat(16));
    let signature = format!(r#""signature":{{"public_key":"{key}","nonce":"{key}","signature":"{key}{key}"}}"#);
    let group = world.everyone;
    for (path, body) in [
        ("/api/groups".to_owned(), format!(r#"{{"request_id":"{id}","name":"a","member_name":"b",{signature}}}"#)),
        (format!("/api/groups/{group}/join"), format!(r#"{{"client":"{id}",{signature}}}"#)),
        (format!("/api/groups/{group}/invites"), format!(r#"{{{signature}}}"#)),
        ("/api/invites/redeem".to_owned(), format!(r#"{{"code":"a",{signature}}}"#)),
    ] {
        // An address of this machine that differs from the one the hub calls from.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(world.hub.page).await.unwrap();
        stream.write_all(posting(world.hub.page, &path, &body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 501"), "{path}: {answer}");
    }
    assert_eq!(world.registry.charged(), [Some("127.0.0.7".parse().unwrap()); 4]);
    world.stop().await;
}

#[tokio::test]
async fn the_api_reports_what_is_wrong_with_a_request() {
    let world = World::start(Limits::default()).await;
    let page = world.hub.page;
    let post = |path: &str, body: &str| posting(page, path, body);
    for (head, status, words) in [
        (post("/api/groups", r#"{"request_id":"0g"}"#), 422, "hexadecimal"),
        (post("/api/groups", "{"), 400, "error"),
        (post("/api/groups", &format!(r#"{{"name":"{}"}}"#, "0".repeat(20_000))), 413, "error"),
        (post("/api/policies", &format!(r#"{{"policy":"{}"}}"#, "00".repeat(66_000))), 413, "error"),
        // As long as a policy may be: it reaches the registry, which this test's does not have.
        (post("/api/policies", &format!(r#"{{"policy":"{}"}}"#, "00".repeat(65_536))), 501, "error"),
        (post("/api/device", r#"{"seed":"00"}"#), 404, "no such path"),
        (post(&format!("/api/groups/{}/join", world.everyone), r#"{"public_key":"00","client":""}"#), 422, "signature"),
        (format!("GET /api/groups/x/members HTTP/1.1\r\nhost: {page}"), 400, "must be a UUID"),
        (format!("GET /api/qr?text={} HTTP/1.1\r\nhost: {page}", "a".repeat(257)), 400, "256"),
        (format!("GET /api/nothing HTTP/1.1\r\nhost: {page}"), 404, "no such path"),
    ] {
        let (got, answer) = send_request(page, &head).await;
        assert_eq!(got, status, "{answer}");
        assert!(answer.contains(words), "{answer}");
    }
    let (status, answer) = send_request(page, &post("/api/challenge", "{}")).await;
    assert_eq!(status, 200);
    let expected = format!(r#"{{"nonce":"{}","unix_ms":0}}"#, "07".repeat(32));
    assert!(answer.ends_with(&expected), "the registry's: {answer}");
    world.stop().await;
}

#[tokio::test]
async fn browsers_count_as_sessions() {
    let limits = Limits { sessions_per_address: 2, ..Limits::default() };
    let world = World::start(limits).await;
    let first = Browser::open(world.hub.page).await;
    let _second = Browser::open(world.hub.page).await;
    let (status, answer) = get(world.hub.page, "/").await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("too many sessions"), "{answer}");
    drop(first);
    let mut freed = 503;
    for _ in 0..1000 {
        freed = get(world.hub.page, "/").await.0;
        if freed == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(freed, 200, "the place is free again");
    world.stop().await;
}

#[tokio::test]
async fn known_groups_are_listed_without_a_registry() {
    let mut world = World::start(Limits::default()).await;
    world.group("lobby", 2);
    let mut browser = Browser::open(world.hub.page).await;
    // The hub looks the group up when a session subscribes to it.
    browser.subscribe("lobby", 0).await;
    while !matches!(browser.next().await, Some(Received::Frame(server_frame::Frame::Subscribed(of))) if of.name == "lobby")
    {
    }
    world.kill_registry();
    let (status, answer) = get(world.hub.page, "/api/groups").await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("everyone") && answer.contains("lobby"), "{answer}");
    let (_, answer) = get(world.hub.page, "/api/groups?search=LOB").await;
    assert!(!answer.contains("everyone") && answer.contains("lobby"), "{answer}");
    let (_, answer) = get(world.hub.page, &format!("/api/groups?ids=x,{}", world.everyone)).await;
    assert!(answer.contains("everyone") && !answer.contains("lobby"), "{answer}");
    let (status, answer) = get(world.hub.page, "/api/lab").await;
    assert_eq!(status, 503);
    assert!(answer.contains("try again"), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn a_request_without_its_body_is_disconnected() {
    let world = World::start(Limits::default()).await;
    let addr = world.hub.page;
    let mut slow = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST /api/groups HTTP/1.1\r\nhost: {addr}\r\norigin: http://{addr}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, slow.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    world.stop().await;
}
