//! The experiment's handle of an agent.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{AgentReply, AgentRequest, KnownReceipts, Sent, Tally};
use crate::{
    isolation,
    network::Host,
    services::surroundings,
    task::{AgentRole, Task},
};

/// An agent's process on a host, which is killed when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    host: String,
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<AgentReply>,
}

/// How long a reply may take, longer than every wait that is requested.
const PATIENCE: Duration = Duration::from_secs(60);

impl Agent {
    /// Starts an agent on a host; [`Self::until_ready`] waits until it listens or can publish.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub(crate) fn start(host: &Host, folder: &Path, role: AgentRole) -> anyhow::Result<Self> {
        let name = host.machine.name().to_owned();
        let mut command = isolation::command(&Task::Agent(role))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Ctrl-C is for the experiment, which ends its agents itself.
        command.envs(surroundings(&name, folder)).process_group(0);
        let mut child = host.machine.spawn(command).with_context(|| format!("cannot start an agent on {name}"))?;
        let lines = BufReader::new(child.stdout.take().context("its stdout is piped")?).lines();
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let replies = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
            replies.into_iter().try_for_each(|reply| sender.send(reply))
        });
        let stdin = child.stdin.take();
        Ok(Self { host: name, child, stdin, answers })
    }

    /// Waits until the agent is ready.
    ///
    /// # Errors
    /// Why it does not become ready.
    pub(crate) fn until_ready(&self) -> anyhow::Result<()> {
        self.answer().map(drop)
    }

    /// Sends a request and waits for the reply.
    ///
    /// # Errors
    /// The agent's error; if it does not reply for a minute.
    pub(crate) fn request(&mut self, request: &AgentRequest) -> anyhow::Result<AgentReply> {
        self.send_request(request)?;
        self.answer()
    }

    /// Sends a request without waiting; [`Self::answer`] waits for the reply.
    ///
    /// # Errors
    /// If the agent has ended.
    pub(crate) fn send_request(&mut self, request: &AgentRequest) -> anyhow::Result<()> {
        let line = serde_json::to_string(request)? + "\n";
        let stdin = self.stdin.as_mut().context("an agent's stdin is open")?;
        stdin.write_all(line.as_bytes()).with_context(|| format!("the agent on {} has ended", self.host))
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub(crate) fn answer(&self) -> anyhow::Result<AgentReply> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(AgentReply::Failed(why)) => bail!("{}: {why}", self.host),
            Ok(told) => Ok(told),
            Err(_) => bail!("the agent on {} does not answer", self.host),
        }
    }

    /// Sends the process a signal, such as SIGSTOP.
    ///
    /// # Errors
    /// If the agent has ended.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("the agent on {}", self.host))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends all agents the same request, then waits for all replies.
///
/// # Errors
/// As [`Agent::request`].
pub(crate) fn request_all(agents: &mut [Agent], request: &AgentRequest) -> anyhow::Result<Vec<Tally>> {
    agents.iter_mut().try_for_each(|agent| agent.send_request(request))?;
    agents.iter().map(|agent| agent.answer()?.tally()).collect()
}

impl AgentReply {
    pub(crate) fn tally(self) -> anyhow::Result<Tally> {
        if let Self::Tally(tally) = self { Ok(tally) } else { bail!("no tally: {self:?}") }
    }

    pub(crate) fn sent(self) -> anyhow::Result<Sent> {
        if let Self::Sent(sent) = self { Ok(sent) } else { bail!("nothing sent: {self:?}") }
    }

    pub(crate) fn receipts(self) -> anyhow::Result<Vec<KnownReceipts>> {
        if let Self::Receipts(known) = self { Ok(known) } else { bail!("no receipts: {self:?}") }
    }
}
