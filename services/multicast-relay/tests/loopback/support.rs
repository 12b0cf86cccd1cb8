//! A relay on loopback, a registry double beside it, and plain sockets that hear what it sends.

mod registry;

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use bytes::Bytes;
use gaung_proto::{
    ClientId, Content, GroupId,
    datagram::{Header, PacketType},
    pb::relay::{
        AckRange, Entry, FollowGroup, FollowRequest, FollowResponse, PublishRequest, PublishResponse, ReadRequest,
        SessionReport, SessionReports, follow_request::Change, follow_response::Event,
        relay_service_client::RelayServiceClient,
    },
    run::Run,
};
use multicast_relay::{Bound, Config, LogKind, bind};
use service_kit::secure::PlaintextPolicy;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};

pub(crate) use registry::{GroupKind, RegistryDouble};

/// Longer than anything here takes; a test that hangs fails.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A running relay.
pub(crate) struct TestRelay {
    pub(crate) grpc: SocketAddr,
    pub(crate) udp: SocketAddrV4,
    metrics: SocketAddr,
    stop: CancellationToken,
    run: JoinHandle<anyhow::Result<()>>,
}

/// A relay whose log is on disk, with one group `class`.
pub(crate) struct OneGroup {
    pub(crate) registry: RegistryDouble,
    pub(crate) relay: TestRelay,
    pub(crate) group: GroupId,
    pub(crate) addr: SocketAddrV4,
    pub(crate) client: RelayServiceClient<Channel>,
}

impl OneGroup {
    pub(crate) async fn start() -> Self {
        let registry = RegistryDouble::start().await;
        let relay = TestRelay::disk(&registry).await;
        let (group, addr) = registry.create("class", GroupKind::Proto).await;
        let client = relay.client().await;
        Self { registry, relay, group, addr, client }
    }
}

/// Settings of a relay on loopback that keeps nothing outside the registry's folder for it, and believes callers without proof.
pub(crate) fn config(registry: &RegistryDouble) -> Config {
    Config {
        registry: registry.target(),
        data: Some(registry.data().to_owned()),
        grpc_listen: "127.0.0.1:0".parse().unwrap(),
        plaintext: PlaintextPolicy::Any,
        udp_port: 0,
        iface: vec!["lo".to_owned()],
        metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
        workers: 2,
        drain: Duration::from_secs(3),
        ..Config::default()
    }
}

impl TestRelay {
    pub(crate) async fn start(config: Config) -> Self {
        let filter = std::env::var("GAUNG_LOG_LEVEL").unwrap_or_else(|_| "warn".to_owned());
        service_kit::telemetry::init(service_kit::telemetry::LogFormat::Text, &filter).unwrap();
        Self::run(bind(config).await.unwrap()).await
    }

    pub(crate) async fn run(bound: Bound) -> Self {
        let stop = CancellationToken::new();
        let (grpc, udp) = (bound.grpc_addr().unwrap(), bound.udp_addrs()[0]);
        let metrics = bound.metrics_addr().unwrap().unwrap();
        let readiness = bound.readiness();
        let run = tokio::spawn(bound.run(stop.clone()));
        eventually("the relay is ready", async || readiness.is_ready()).await;
        Self { grpc, udp, metrics, stop, run }
    }

    pub(crate) async fn disk(registry: &RegistryDouble) -> Self {
        Self::start(config(registry)).await
    }

    pub(crate) async fn memory(registry: &RegistryDouble) -> Self {
        Self::start(Config { log: LogKind::Memory, ..config(registry) }).await
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(LONG, self.run).await.expect("the relay drains").unwrap().unwrap();
    }

    /// What a scrape gives.
    pub(crate) async fn metrics_page(&self) -> String {
        let mut page = TcpStream::connect(self.metrics).await.unwrap();
        page.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        page.read_to_string(&mut text).await.unwrap();
        text
    }

    pub(crate) async fn client(&self) -> RelayServiceClient<Channel> {
        let client = RelayServiceClient::connect(format!("http://{}", self.grpc)).await.unwrap();
        client.max_decoding_message_size(4 << 20)
    }
}

/// Waits until `met` is true.
pub(crate) async fn eventually(what: &str, mut met: impl AsyncFnMut() -> bool) {
    let waited = timeout(LONG, async {
        while !met().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

pub(crate) fn text(words: &str) -> Bytes {
    Content::text("ann", Bytes::copy_from_slice(words.as_bytes())).encode().1
}

pub(crate) fn entry(client_seq: u64, words: &str) -> Entry {
    Entry { client_seq, content_type: 1, payload: text(words) }
}

pub(crate) fn request(group: GroupId, client: u8, entries: Vec<Entry>) -> PublishRequest {
    PublishRequest {
        group_id: group.into(),
        client_id: ClientId([client; 16]).into(),
        device_id: Bytes::from(vec![client; 16]),
        entries,
        ..PublishRequest::default()
    }
}

/// Publishes until the relay knows the group.
pub(crate) async fn publish(client: &mut RelayServiceClient<Channel>, request: PublishRequest) -> PublishResponse {
    let publish = async {
        loop {
            match client.publish(request.clone()).await {
                Ok(response) => return response.into_inner(),
                Err(status) if status.code() == tonic::Code::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(status) => panic!("{status:?}"),
            }
        }
    };
    timeout(LONG, publish).await.expect("the group becomes available")
}

pub(crate) fn ack(first_client_seq: u64, first_seq: u64, count: u32) -> AckRange {
    AckRange { first_client_seq, first_seq, count }
}

/// Words of each message of a run, in order.
pub(crate) fn words(run: &Run) -> Vec<String> {
    let words = |message: gaung_proto::block::Message| {
        let content = Content::decode(message.content_type, &message.payload);
        let gaung_proto::Kind::Text(body) = content.kind else { panic!("{content:?}") };
        String::from_utf8(body.to_vec()).unwrap()
    };
    run.messages().map(words).collect()
}

pub(crate) async fn read(
    client: &mut RelayServiceClient<Channel>,
    group: GroupId,
    from_seq: u64,
    limit_messages: u64,
) -> Result<Vec<Run>, Status> {
    let request = ReadRequest { group_id: group.into(), from_seq, limit_messages, ..ReadRequest::default() };
    let mut stream = client.read(request).await?.into_inner();
    let mut runs = Vec::new();
    while let Some(response) = stream.message().await? {
        runs.push(Run::parse(response.run).unwrap());
    }
    Ok(runs)
}

/// The texts of the page of `limit` messages before `before_seq`.
pub(crate) async fn page_before(
    client: &mut RelayServiceClient<Channel>,
    group: GroupId,
    before_seq: u64,
    limit: u64,
) -> Result<Vec<String>, Status> {
    let request = ReadRequest { group_id: group.into(), before_seq, limit_messages: limit, ..ReadRequest::default() };
    let mut stream = client.read(request).await?.into_inner();
    let (mut page, mut first) = (Vec::new(), 0);
    while let Some(response) = stream.message().await? {
        first = first.max(response.first_seq);
        let run = Run::parse(response.run).unwrap();
        let seqs = run.first_seq().0..;
        page.extend(seqs.zip(words(&run)).filter(|(seq, _)| (first..before_seq).contains(seq)).map(|(_, text)| text));
    }
    Ok(page)
}

/// A Follow stream.
pub(crate) struct Following {
    pub(crate) requests: mpsc::Sender<FollowRequest>,
    responses: Streaming<FollowResponse>,
}

impl Following {
    pub(crate) async fn open(client: &mut RelayServiceClient<Channel>) -> Self {
        let (requests, queue) = mpsc::channel(16);
        let responses = client.follow(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    pub(crate) async fn add(&self, group: GroupId, log_id: u64, from_seq: u64) {
        self.add_by(group, log_id, from_seq, Bytes::new()).await;
    }

    /// The same for a private group.
    pub(crate) async fn add_by(&self, group: GroupId, log_id: u64, from_seq: u64, ticket: Bytes) {
        let add = FollowGroup { group_id: group.into(), log_id, from_seq, ticket };
        self.requests.send(FollowRequest { change: Some(Change::Add(add)) }).await.unwrap();
    }

    pub(crate) async fn report(&self, group: GroupId, log_id: u64, sessions: Vec<SessionReport>) {
        let reports = SessionReports { group_id: group.into(), log_id, sessions, ..SessionReports::default() };
        self.requests.send(FollowRequest { change: Some(Change::Sessions(reports)) }).await.unwrap();
    }

    /// Half-closes the stream: no requests follow.
    pub(crate) fn half_close(&mut self) {
        (self.requests, _) = mpsc::channel(1);
    }

    /// Waits for the end of the stream, before which no other event may come.
    pub(crate) async fn ended(&mut self) {
        let message = timeout(LONG, self.responses.message()).await.expect("the stream ends");
        assert_eq!(message.unwrap(), None);
    }

    pub(crate) async fn next(&mut self) -> Event {
        let message = timeout(LONG, self.responses.message()).await.expect("an event comes");
        message.unwrap().expect("the stream is open").event.unwrap()
    }

    /// The next run; where a new opening goes on is of no interest.
    pub(crate) async fn next_run(&mut self) -> Run {
        let bytes = loop {
            match self.next().await {
                Event::Started(_) | Event::Policy(_) => {}
                Event::Run(bytes) => break bytes,
                Event::Ended(ended) => panic!("{ended:?}"),
            }
        };
        Run::parse(bytes).unwrap()
    }
}

/// A plain socket that has joined a group on loopback.
pub(crate) fn join(group: SocketAddrV4) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_recv_buffer_size(1 << 20).unwrap();
    socket.bind(&group.into()).unwrap();
    socket.join_multicast_v4_n(group.ip(), &InterfaceIndexOrAddress::Address(Ipv4Addr::LOCALHOST)).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

/// A plain socket for unicast, and multicast by loopback.
pub(crate) fn unicast() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

pub(crate) async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 2048];
    let (length, from) = timeout(LONG, socket.recv_from(&mut buffer)).await.expect("a datagram comes").unwrap();
    buffer.truncate(length);
    (buffer, from)
}

/// The next datagram of a type.
pub(crate) async fn receive_type(socket: &UdpSocket, wanted: PacketType) -> (Header, Vec<u8>, SocketAddr) {
    loop {
        let (datagram, from) = receive(socket).await;
        let (header, body) = Header::decode(&datagram).unwrap();
        if header.packet_type == wanted {
            return (header, body.to_vec(), from);
        }
    }
}
