//! A member on its thread: the driver's datagrams into the engine, its deliveries into the tally.

use std::{sync::mpsc as std_mpsc, time::Instant};

use gaung_engine::{ArrivalSocket, HistoryEnd, LanePolicy, MemberReceiver, ReceiverConfig, ReceiverEvent, Transmit};
use gaung_net::{
    SenderAddr, SocketError,
    driver::{CommandSender, Drive, Driver, DriverHandle, DriverSockets, SocketChange, SocketId, SocketUse},
    interface::{self, Link},
    multicast::{DataSocket, GroupSocket},
};
use gaung_proto::{DeviceId, SenderId, Seq, SeqRange, datagram::Header, net::Lane, run::Run};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use gaung_tests::clock;

use super::{arguments::Arguments, group::Place, tally::Tally};

/// NAK, STATUS and PROBE leave from it; unicast repairs come to it.
const OWN: SocketId = SocketId(0);
const GROUP: SocketId = SocketId(1);

/// What the member's thread is told.
#[derive(Debug)]
pub(super) enum Command {
    /// A run read from the log.
    Run(Run),
    /// The reading has ended.
    End(HistoryEnd),
    /// The log has nothing before this.
    Trimmed(Seq),
    /// So many messages were published: say `COMPLETE` when all are there.
    Total(u64),
    /// Say what came.
    Report(std_mpsc::Sender<Value>),
}

/// Starts a member that begins after the log's head. What it wants read from the log comes out of the receiver.
pub(super) fn start(
    arguments: &Arguments,
    place: &Place,
) -> anyhow::Result<(DriverHandle<Command>, mpsc::UnboundedReceiver<SeqRange>)> {
    let chosen = interface::choose(&interface::interfaces()?, Some(&arguments.ip.to_string()))?;
    let own = DataSocket::open_unicast(0)?;
    let group = GroupSocket::open(place.group.addr.socket_addr(), &chosen.links)?;
    let sockets =
        DriverSockets::new().data(OWN, own, SocketUse { receive: true, multicast: false }).group(GROUP, group);
    let (wanted, reads) = mpsc::unbounded_channel();
    let config = ReceiverConfig {
        group: place.group.id,
        log: place.group.log,
        tag: place.group.tag(),
        next: place.log.head.next(),
        sender: SenderId(rand::random()),
        device: DeviceId::NONE,
        relay: Some(place.relay_udp),
        policy: LanePolicy::MulticastOnly,
        history: true,
        rng_seed: rand::random(),
    };
    let receiver = MemberReceiver::new(config, Instant::now());
    let member = Member { receiver, tally: Tally::default(), total: None, wanted, counted: Counted::default() };
    Ok((Driver::spawn("member", sockets, member)?, reads))
}

#[derive(Debug)]
struct Member {
    receiver: MemberReceiver,
    tally: Tally,
    /// Taken once it is reached.
    total: Option<u64>,
    wanted: mpsc::UnboundedSender<SeqRange>,
    counted: Counted,
}

#[derive(Debug, Default)]
struct Counted {
    gaps: u64,
    decode_errors: u64,
}

impl Member {
    /// Takes all that the engine has to say.
    fn drain(&mut self) {
        let mut now_ns = None;
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Message { message, lane } => {
                    let now_ns = *now_ns.get_or_insert_with(clock::now_ns);
                    self.tally.deliver(now_ns, &message.payload, lane);
                }
                // Nobody reads any more once the process is ending.
                ReceiverEvent::NeedHistory(range) => drop(self.wanted.send(range)),
                ReceiverEvent::Lost(range) => self.tally.lose(range.last.0 - range.first.0 + 1),
                ReceiverEvent::Gap(_) => self.counted.gaps += 1,
                ReceiverEvent::GapFilled(_)
                | ReceiverEvent::Forged(_)
                | ReceiverEvent::LaneUp
                | ReceiverEvent::LaneDown { .. }
                | ReceiverEvent::Stale
                | ReceiverEvent::Moved { .. } => {}
            }
        }
        if self.total.is_some_and(|total| self.tally.unique() >= total) {
            self.total = None;
            println!("COMPLETE");
        }
    }

    fn report(&self) -> Value {
        let mut report = self.tally.to_json();
        let stats = self.receiver.stats();
        report["engine"] = json!({
            "data": stats.data, "duplicates": stats.duplicates, "refused": stats.refused, "naks": stats.naks,
            "ncfs": stats.ncfs, "reads": stats.history, "ignored": stats.ignored, "gaps": self.counted.gaps,
            "decode_errors": self.counted.decode_errors,
        });
        report
    }
}

impl Drive for Member {
    type Command = Command;

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            // Of a log that was replaced: of no use.
            Command::Run(run) => drop(self.receiver.handle_run(now, &run, Lane::History)),
            Command::End(end) => self.receiver.handle_history(now, end),
            Command::Trimmed(oldest) => self.receiver.handle_trimmed(now, oldest),
            Command::Total(total) => self.total = Some(total),
            Command::Report(reply) => drop(reply.send(self.report())),
        }
        self.drain();
    }

    fn handle_datagram(&mut self, now: Instant, socket: SocketId, _from: SenderAddr, bytes: &[u8]) {
        let via = if socket == OWN { ArrivalSocket::Unicast } else { ArrivalSocket::Group };
        let taken =
            Header::decode(bytes).and_then(|(header, body)| self.receiver.handle_datagram(now, via, &header, body));
        self.counted.decode_errors += u64::from(taken.is_err());
        self.drain();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.receiver.handle_timeout(now);
        self.drain();
    }

    fn handle_socket(&mut self, _now: Instant, _socket: SocketId, _outcome: Result<Vec<Link>, SocketError>) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.receiver.poll_transmit()
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }
}

/// What a reader of the log hands over to.
pub(super) type Commands = CommandSender<Command>;
