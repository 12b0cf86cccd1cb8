//! Whoever takes part in an experiment: a process on a host, which speaks or listens and is asked in lines of JSON.

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

pub(crate) use self::handle::{Agent, ask_all};
use crate::task::AgentRole;

/// What an agent can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// How much of a burst was heard; answered once all of it was, or after a time of silence.
    Tally {
        /// Which burst.
        burst: u32,
        /// How many messages it has.
        count: u32,
        /// How long nothing may come, ms.
        wait_ms: u64,
    },
    /// Make a group.
    Make {
        /// Its name.
        group: String,
        /// Of bare text, without repair.
        text: bool,
    },
    /// Wait until the relay knows of so many members.
    UntilPresent {
        /// Which group.
        group: String,
        /// How many.
        count: usize,
    },
    /// Send a burst to a group.
    Publish {
        /// Which group.
        group: String,
        /// What.
        burst: Burst,
    },
    /// Send a burst to each of these, message by message.
    SendToEach {
        /// Where.
        to: Vec<SocketAddrV4>,
        /// What.
        burst: Burst,
    },
    /// Who has heard the last `count` messages of a group.
    Receipts {
        /// Which group.
        group: String,
        /// How many messages.
        count: u32,
        /// How long to wait for those who have not, ms.
        wait_ms: u64,
    },
}

/// Messages that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Burst {
    /// Its number, different for each.
    pub(crate) number: u32,
    /// How many messages.
    pub(crate) count: u32,
    /// Text of one, bytes.
    pub(crate) bytes: usize,
    /// After each ten messages, so many µs.
    pub(crate) pause_us: u64,
}

/// What an agent answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// Nothing more to say.
    Done,
    /// Of a burst.
    Tally(Tally),
    /// A burst has left.
    Sent(Sent),
    /// Of each message asked for.
    Receipts(Vec<Known>),
    /// It cannot be done, for people.
    Failed(String),
}

/// What a listener heard of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Messages, each counted once.
    pub(crate) heard: u32,
    /// When the last of them came, ns.
    pub(crate) last_ns: u64,
    /// When this listener was started, ns.
    pub(crate) started_ns: u64,
}

/// How a burst was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Before the first message, ns.
    pub(crate) begun_ns: u64,
    /// What sending took of a processor, µs.
    pub(crate) cpu_us: u64,
}

/// What the sender knows of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Members that have heard.
    pub(crate) heard: u32,
    /// Members that were there.
    pub(crate) present: u32,
}

/// Is an agent until its stdin ends.
///
/// # Errors
/// If the role cannot be taken.
pub(crate) fn run(role: AgentRole) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let asks = asks();
        match role {
            AgentRole::Listener(source) => listener::run(source, asks).await,
            AgentRole::Publisher => speaker::publisher(asks).await,
            AgentRole::Datagrams => speaker::datagrams(asks).await,
        }
    });
    runtime.shutdown_background();
    match outcome {
        Ok(()) => Ok(()),
        Err(error) => tell(&Told::Failed(format!("{error:#}"))),
    }
}

/// The lines of stdin.
fn asks() -> mpsc::UnboundedReceiver<Ask> {
    let (sender, asks) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        let asked = lines.filter_map(|line| serde_json::from_str(&line).ok());
        for ask in asked {
            if sender.send(ask).is_err() {
                return;
            }
        }
    });
    asks
}

fn tell(told: &Told) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(told)?).context("nobody listens to this agent")
}

/// Any address, some free port.
const ANYWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
