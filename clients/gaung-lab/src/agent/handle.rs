//! An agent as the experiment sees it.

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

use super::{Ask, Known, Sent, Tally, Told};
use crate::{
    isolation,
    network::Host,
    services::surroundings,
    task::{AgentRole, Task},
};

/// A process on a host that takes part. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    host: String,
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<Told>,
}

/// Above every wait that an agent is asked for.
const PATIENCE: Duration = Duration::from_secs(60);

impl Agent {
    /// Starts it on a host; [`Self::until_ready`] says when it listens, or can speak.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(host: &Host, folder: &Path, role: AgentRole) -> anyhow::Result<Self> {
        let name = host.machine.name().to_owned();
        let mut command = isolation::command(&Task::Agent(role))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A person's Ctrl-C is for the experiment, which ends its agents itself.
        command.envs(surroundings(&name, folder)).process_group(0);
        let mut child = host.machine.spawn(command).with_context(|| format!("cannot start an agent on {name}"))?;
        let lines = BufReader::new(child.stdout.take().context("its stdout is piped")?).lines();
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let told = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
            told.into_iter().try_for_each(|told| sender.send(told))
        });
        let stdin = child.stdin.take();
        Ok(Self { host: name, child, stdin, answers })
    }

    /// Waits until it can do its part.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn until_ready(&self) -> anyhow::Result<()> {
        self.answer().map(drop)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What the agent says; if it does not answer for a minute.
    pub(crate) fn ask(&mut self, ask: &Ask) -> anyhow::Result<Told> {
        self.put(ask)?;
        self.answer()
    }

    /// Asks, without waiting: [`Self::answer`] follows.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn put(&mut self, ask: &Ask) -> anyhow::Result<()> {
        let line = serde_json::to_string(ask)? + "\n";
        let stdin = self.stdin.as_mut().context("an agent's stdin is open")?;
        stdin.write_all(line.as_bytes()).with_context(|| format!("the agent on {} has ended", self.host))
    }

    /// What it says next.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn answer(&self) -> anyhow::Result<Told> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(Told::Failed(why)) => bail!("{}: {why}", self.host),
            Ok(told) => Ok(told),
            Err(_) => bail!("the agent on {} does not answer", self.host),
        }
    }

    /// Lets it sleep, or go on.
    ///
    /// # Errors
    /// If it has ended.
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

/// Asks all the same, and then hears all answers.
///
/// # Errors
/// As [`Agent::ask`].
pub(crate) fn ask_all(agents: &mut [Agent], ask: &Ask) -> anyhow::Result<Vec<Tally>> {
    agents.iter_mut().try_for_each(|agent| agent.put(ask))?;
    agents.iter().map(|agent| agent.answer()?.tally()).collect()
}

impl Told {
    pub(crate) fn tally(self) -> anyhow::Result<Tally> {
        if let Self::Tally(tally) = self { Ok(tally) } else { bail!("no tally: {self:?}") }
    }

    pub(crate) fn sent(self) -> anyhow::Result<Sent> {
        if let Self::Sent(sent) = self { Ok(sent) } else { bail!("nothing sent: {self:?}") }
    }

    pub(crate) fn receipts(self) -> anyhow::Result<Vec<Known>> {
        if let Self::Receipts(known) = self { Ok(known) } else { bail!("no receipts: {self:?}") }
    }
}
