//! The agents of an experiment: processes on hosts that send or receive, and answer requests in lines of JSON.

mod handle;
mod listener;
mod marked;
mod speaker;

use std::{
    io::{BufRead as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    thread,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub(crate) use self::handle::{Agent, request_all};
use crate::task::AgentRole;

/// A request to an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentRequest {
    /// Report how much of a burst was received, once all of it was or after a time of silence.
    Tally {
        /// The burst's number.
        burst: u32,
        /// How many messages the burst has.
        count: u32,
        /// The time of silence, in ms.
        wait_ms: u64,
    },
    /// Create a group.
    Make {
        /// Its name.
        group: String,
        /// Whether its format is text, without repair.
        text: bool,
    },
    /// Wait until the relay knows so many members.
    UntilPresent {
        /// The group's name.
        group: String,
        /// How many members.
        count: usize,
    },
    /// Publish a burst to a group.
    Publish {
        /// The group's name.
        group: String,
        /// The burst.
        burst: Burst,
    },
    /// Send a burst to each of these addresses, message by message.
    SendToEach {
        /// The addresses.
        to: Vec<SocketAddrV4>,
        /// The burst.
        burst: Burst,
    },
    /// Report the receipts of the last `count` messages of a group.
    Receipts {
        /// The group's name.
        group: String,
        /// How many messages.
        count: u32,
        /// How long to wait for missing receipts, in ms.
        wait_ms: u64,
    },
}

/// A burst of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Burst {
    /// Its number, which no other burst has.
    pub(crate) number: u32,
    /// How many messages.
    pub(crate) count: u32,
    /// Length of a message's text, in bytes.
    pub(crate) bytes: usize,
    /// Pause after each ten messages, in µs.
    pub(crate) pause_us: u64,
}

/// An agent's reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentReply {
    /// The request is done.
    Done,
    /// What was received of a burst.
    Tally(Tally),
    /// A burst was sent.
    Sent(Sent),
    /// The receipts of each message.
    Receipts(Vec<KnownReceipts>),
    /// The request failed; the reason is for people.
    Failed(String),
}

/// What a listener received of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Messages received, without duplicates.
    pub(crate) heard: u32,
    /// When the last of them was received, in ns.
    pub(crate) last_ns: u64,
    /// When this listener was started, in ns.
    pub(crate) started_ns: u64,
}

/// Timing of a sent burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// The time before the first message, in ns.
    pub(crate) begun_ns: u64,
    /// Processor time of sending, in µs.
    pub(crate) cpu_us: u64,
}

/// The receipts that the sender knows of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownReceipts {
    /// Members that have received it.
    pub(crate) heard: u32,
    /// Members that were present.
    pub(crate) present: u32,
}

/// Runs an agent until its stdin ends.
///
/// # Errors
/// If the role cannot be taken.
pub(crate) fn run(role: AgentRole) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let requests = requests();
        match role {
            AgentRole::Listener(source) => listener::run(source, requests).await,
            AgentRole::Publisher => speaker::publisher(requests).await,
            AgentRole::Datagrams => speaker::datagrams(requests).await,
        }
    });
    runtime.shutdown_background();
    match outcome {
        Ok(()) => Ok(()),
        Err(error) => reply(&AgentReply::Failed(format!("{error:#}"))),
    }
}

/// Reads requests from the lines of stdin.
fn requests() -> mpsc::UnboundedReceiver<AgentRequest> {
    let (sender, requests) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        let asked = lines.filter_map(|line| serde_json::from_str(&line).ok());
        for ask in asked {
            if sender.send(ask).is_err() {
                return;
            }
        }
    });
    requests
}

fn reply(told: &AgentReply) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(told)?).context("nobody listens to this agent")
}

/// Any address and a free port, to bind to.
const ANYWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
