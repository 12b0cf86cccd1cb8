//! A group that goes to another address while a member that has datagrams alone, and no registry to ask, listens to it
//! over real sockets: the relay's engine on one thread, the client's session on another.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_client::udp_only::{UdpOnlyEvent, UdpOnlyOptions, UdpOnlySession};
use gaung_engine::{Cookies, DEFAULT_REPAIR_BYTES, Rate, RelaySender, RepairShares, SenderConfig, Transmit};
use gaung_net::{
    SenderAddr, SocketError,
    driver::{Drive, Driver, DriverHandle, DriverSockets, SocketChange, SocketId, SocketUse},
    interface::Link,
    multicast::DataSocket,
};
use gaung_proto::{
    ClientId, ClientSeq, Content, DeviceId, Epoch, Generation, GroupAddr, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    datagram::Header,
    run::{Run, RunHeader},
};
use tokio::time::timeout;

const GROUP: GroupId = GroupId([7; 16]);
const LOG: LogId = LogId(42);
/// A test that hangs fails.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_member_of_datagrams_alone_follows_and_misses_nothing() {
    let mut relay = Relay::start();
    let mut member = Member::join(relay.addr).await;
    relay.until_heard().await;
    relay.say(50);
    member.hear_upto(50).await;
    for generation in 2..5 {
        let to = relay.go(generation);
        // Some of it before the group leaves, some while it does.
        for _ in 0..20 {
            relay.say(10);
            tokio::task::yield_now().await;
        }
        member.arrive_at(to).await;
        relay.say(10);
        member.hear_upto(relay.said).await;
    }
    assert_eq!(member.lost, 0);
}

#[tokio::test]
async fn through_a_time_without_an_address_too() {
    let mut relay = Relay::start();
    let mut member = Member::join(relay.addr).await;
    relay.until_heard().await;
    relay.say(5);
    member.hear_upto(5).await;
    relay.command(Command::Lapse);
    relay.say(100);
    let to = relay.go(2);
    member.arrive_at(to).await;
    member.hear_upto(105).await;
    assert_eq!(member.lost, 0);
}

/// A member that has no registry and no log.
struct Member {
    session: UdpOnlySession,
    heard: u64,
    lost: u64,
    at: Option<GroupAddr>,
}

impl Member {
    async fn join(group: GroupAddr) -> Self {
        let (iface, device) = (Some("lo".to_owned()), DeviceId::NONE);
        let options = UdpOnlyOptions { group, iface, name: None, device, patience: LONG };
        Self { session: UdpOnlySession::join(options).await.unwrap(), heard: 0, lost: 0, at: None }
    }

    async fn hear_upto(&mut self, last: u64) {
        while self.heard < last {
            self.hear().await;
        }
    }

    async fn arrive_at(&mut self, to: GroupAddr) {
        while self.at != Some(to) {
            self.hear().await;
        }
    }

    async fn hear(&mut self) {
        match timeout(LONG, self.session.next()).await.expect("something is heard").expect("the session goes on") {
            UdpOnlyEvent::Message { message, .. } => {
                self.heard += 1;
                assert_eq!(message.seq.0, self.heard, "each once and in order");
            }
            UdpOnlyEvent::Moved(to) => self.at = Some(to),
            UdpOnlyEvent::Lost(range) => self.lost += range.len(),
            UdpOnlyEvent::Forged(range) => panic!("nothing is forged: {range:?}"),
            UdpOnlyEvent::HistoryLost(log) => panic!("another log: {log:?}"),
            UdpOnlyEvent::Gap(_) | UdpOnlyEvent::GapFilled(_) | UdpOnlyEvent::Silent | UdpOnlyEvent::Heard => {}
        }
    }
}

/// The relay's engine over loopback.
struct Relay {
    driver: DriverHandle<Command>,
    addr: GroupAddr,
    said: u64,
}

impl Relay {
    fn start() -> Self {
        let (addr, now) = (free_group_addr(), Instant::now());
        let config = SenderConfig {
            group: GROUP,
            log: LOG,
            epoch: Epoch(1),
            generation: Generation(1),
            addr,
            ttl: 1,
            head: Seq::ZERO,
            oldest_logged: Seq::FIRST,
            repair_bytes: DEFAULT_REPAIR_BYTES,
            rate: Rate::from_mbit(100),
            pads: true,
            cookies: Cookies::new([1; 16]),
            repair_shares: RepairShares::default(),
        };
        let socket = DataSocket::open(&Link::loopback(), 0).unwrap();
        let usage = SocketUse { receive: true, multicast: true };
        let sockets = DriverSockets::new().data(SocketId(0), socket, usage);
        let drive = RelayDrive { sender: RelaySender::new(config, now) };
        Self { driver: Driver::spawn("relay", sockets, drive).unwrap(), addr, said: 0 }
    }

    fn command(&self, command: Command) {
        assert!(self.driver.send(command).is_ok(), "the relay runs");
    }

    /// `count` messages, each a run of its own.
    fn say(&mut self, count: u64) {
        for _ in 0..count {
            self.said += 1;
            self.command(Command::Send(run(self.said)));
        }
    }

    fn go(&mut self, generation: u32) -> GroupAddr {
        self.addr = free_group_addr();
        self.command(Command::Move(self.addr, Generation(generation)));
        self.addr
    }

    /// Waits until the member has told who it is: from then on it is spoken to, and can be told where the group has gone.
    async fn until_heard(&self) {
        let heard = async {
            loop {
                let (reply, members) = tokio::sync::oneshot::channel();
                self.command(Command::CountMembers(reply));
                if members.await.unwrap() > 0 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, heard).await.expect("the member reports itself");
    }
}

enum Command {
    Send(Run),
    Move(GroupAddr, Generation),
    Lapse,
    CountMembers(tokio::sync::oneshot::Sender<usize>),
}

struct RelayDrive {
    sender: RelaySender,
}

impl Drive for RelayDrive {
    type Command = Command;

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Send(run) => {
                self.sender.handle_run(now, &run);
                self.sender.flush(now);
            }
            Command::Move(addr, generation) => self.sender.handle_move(now, addr, 1, generation),
            Command::Lapse => self.sender.handle_lapse(now),
            Command::CountMembers(reply) => drop(reply.send(self.sender.members().count())),
        }
    }

    fn handle_datagram(&mut self, now: Instant, _socket: SocketId, from: SenderAddr, bytes: &[u8]) {
        if let Ok((header, body)) = Header::decode(bytes)
            && self.sender.is_addressed(header.tag)
        {
            let _ = self.sender.handle_datagram(now, from.0, None, &header, body);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.sender.handle_timeout(now);
    }

    fn handle_socket(&mut self, _now: Instant, _socket: SocketId, _outcome: Result<Vec<Link>, SocketError>) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        while self.sender.poll_event().is_some() {}
        self.sender.poll_transmit()
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.sender.poll_timeout().0)
    }
}

fn run(seq: u64) -> Run {
    let (content_type, payload): (_, Bytes) = Content::text("ani", format!("word {seq}")).encode();
    let mut block = BlockBuilder::new();
    block.push(&MessageRef {
        author: Author { device: DeviceId::NONE, client: ClientId([1; 16]) },
        client_seq: ClientSeq(seq),
        content_type,
        sent_at: SentAt(1),
        payload: &payload,
    });
    Run::encode(RunHeader { group: GROUP, log: LOG, epoch: Epoch(1), base_seq: Seq(seq) }, &block)
}

/// An address that no other test uses, and a port that was free a moment ago.
fn free_group_addr() -> GroupAddr {
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let [.., high, low] = rand::random::<u32>().to_be_bytes();
    let ip = Ipv4Addr::new(239, 255, high.max(1), low);
    GroupAddr::new(ip, socket.local_addr().unwrap().port()).unwrap()
}
