//! The receiving agent: counts the messages of bursts and notes when they came.

use crate::task::AgentSource;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use gaung_client::{Client, Event, LaneChoice, ListenOptions, Listener, StartAt, broadcast::BroadcastListener};
use gaung_proto::Kind;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    net::UdpSocket,
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

use super::{ANYWHERE, AgentReply, AgentRequest, Tally, marked, reply, speaker::connect};
use crate::clock::now_ns;

/// Receives messages and answers requests until stdin ends.
///
/// # Errors
/// If it cannot listen.
pub(super) async fn run(source: AgentSource, mut requests: UnboundedReceiver<AgentRequest>) -> anyhow::Result<()> {
    let started_ns = now_ns();
    let mut source = MessageSource::open(source).await?;
    reply(&AgentReply::Done)?;
    let mut heard = ReceivedBursts { started_ns, bursts: HashMap::new(), last_at: Instant::now() };
    let mut waiting: Option<PendingTally> = None;
    loop {
        if let Some(tally) = waiting.as_ref().and_then(|waiting| heard.answer(waiting)) {
            reply(&AgentReply::Tally(tally))?;
            waiting = None;
        }
        let until = waiting.as_ref().map_or_else(|| Instant::now() + A_WHILE, |waiting| heard.silent_at(waiting));
        tokio::select! {
            text = source.next() => heard.note(&text?),
            () = sleep_until(until) => {}
            ask = requests.recv(), if waiting.is_none() => match ask {
                Some(AgentRequest::Tally { burst, count, wait_ms }) => {
                    let silence = Duration::from_millis(wait_ms);
                    waiting = Some(PendingTally { burst, count, silence, asked_at: Instant::now() });
                }
                Some(other) => bail!("a listener cannot do {other:?}"),
                None => return Ok(()),
            },
        }
    }
}

/// A sleep that another event ends.
const A_WHILE: Duration = Duration::from_secs(3600);

struct PendingTally {
    burst: u32,
    count: u32,
    /// The silence after which nothing more is expected.
    silence: Duration,
    asked_at: Instant,
}

struct ReceivedBursts {
    started_ns: u64,
    bursts: HashMap<u32, ReceivedBurst>,
    last_at: Instant,
}

#[derive(Default)]
struct ReceivedBurst {
    indices: HashSet<u32>,
    last_ns: u64,
}

impl ReceivedBursts {
    fn note(&mut self, text: &[u8]) {
        let Some((burst, index)) = marked::read(text) else { return };
        let burst = self.bursts.entry(burst).or_default();
        if burst.indices.insert(index) {
            burst.last_ns = now_ns();
            self.last_at = Instant::now();
        }
    }

    /// Returns when the silence is long enough.
    fn silent_at(&self, waiting: &PendingTally) -> Instant {
        waiting.asked_at.max(self.last_at) + waiting.silence
    }

    fn answer(&self, waiting: &PendingTally) -> Option<Tally> {
        let none = ReceivedBurst::default();
        let burst = self.bursts.get(&waiting.burst).unwrap_or(&none);
        let heard = u32::try_from(burst.indices.len()).unwrap_or(u32::MAX);
        let over = heard >= waiting.count || Instant::now() >= self.silent_at(waiting);
        over.then_some(Tally { heard, last_ns: burst.last_ns, started_ns: self.started_ns })
    }
}

/// Where messages come from.
enum MessageSource {
    Member(Box<Listener>),
    Broadcast(Box<BroadcastListener>),
    Datagrams(UdpSocket),
}

impl MessageSource {
    async fn open(source: AgentSource) -> anyhow::Result<Self> {
        let (group, lane, from_start) = match source {
            AgentSource::Multicast { group, from_start } => (group, LaneChoice::Multicast, from_start),
            AgentSource::Tcp { group, from_start } => (group, LaneChoice::Tcp, from_start),
            AgentSource::Broadcast => {
                return Ok(Self::Broadcast(Box::new(connect().await?.broadcast_listener(None).await?)));
            }
            AgentSource::Datagrams { port } => return Self::datagrams(port).await,
        };
        let from = if from_start { StartAt::Oldest } else { StartAt::Next };
        let groups = vec![group.parse().context("a group's name")?];
        let client: Client = connect().await?;
        Ok(Self::Member(Box::new(client.listen(ListenOptions { groups, lane, from }).await?)))
    }

    async fn datagrams(port: u16) -> anyhow::Result<Self> {
        let mut address = ANYWHERE;
        address.set_port(port);
        let socket = UdpSocket::bind(address).await.with_context(|| format!("UDP port {port}"))?;
        // As large as a member's; a user who is not root has what the system allows.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
        Ok(Self::Datagrams(socket))
    }

    /// Returns the text of the next message. Cancel safe.
    async fn next(&mut self) -> anyhow::Result<Bytes> {
        loop {
            let content = match self {
                Self::Member(listener) => {
                    let event = listener.next().await.context("the group is gone")?;
                    let Event::Message { content, .. } = event else { continue };
                    content
                }
                Self::Broadcast(listener) => listener.next().await?.content,
                Self::Datagrams(socket) => {
                    let mut buffer = [0; 2048];
                    let len = socket.recv(&mut buffer).await.context("a datagram")?;
                    return Ok(Bytes::copy_from_slice(&buffer[..len]));
                }
            };
            if let Kind::Text(text) = content.kind {
                return Ok(text);
            }
        }
    }
}

const BUFFER: usize = 4 << 20;
