//! The first process of a lab that stays: builds it, starts its programs, and holds it until a signal ends it.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use gaung_client::ErrorKind;
use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    error::Refusal,
    mounts,
    network::{Host, Network},
    rights::Rights,
    running::{InnerFolder, Running, RunningHost, StateFile},
    services::{Program, Ready, Starting, gaung, start},
    task::LabPlan,
    up::StartAnswer,
};

/// The group that the members of a lab listen to.
const GROUP: &str = "lobby";

/// Builds the lab, reports it on stdout, and holds it.
///
/// # Errors
/// The system's error. Why a lab could not be built is reported on stdout.
pub(crate) fn run(plan: LabPlan, rights: Rights) -> anyhow::Result<()> {
    // Until the lab is up it ends with the command that asked for it.
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot bind the lab to its command")?;
    let mut signals = SigSet::empty();
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block().context("cannot hold signals back")?;
    let mut lab = match Lab::build(&plan, rights) {
        Ok(lab) => lab,
        Err(error) => {
            let refused = error.downcast_ref::<Refusal>().map(|refusal| refusal.kind);
            return answer(&StartAnswer::Failed {
                why: format!("{error:#}"),
                is_usage: refused == Some(ErrorKind::Usage),
            });
        }
    };
    prctl::set_pdeathsig(None).context("cannot leave the lab by itself")?;
    answer(&StartAnswer::Ready(Box::new(lab.running.clone())))?;
    while signals.wait().context("cannot wait for signals")? == Signal::SIGCHLD {
        lab.note_the_ended()?;
    }
    Ok(())
}

fn answer(answer: &StartAnswer) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(answer)?).context("nobody waits for the lab")
}

/// A lab with its programs.
#[derive(Debug)]
struct Lab {
    running: Running,
    state: StateFile,
    /// Each process with the index of its host.
    processes: Vec<(Pid, usize)>,
    /// Holds the hosts.
    _network: Network,
    _inner: InnerFolder,
}

impl Lab {
    fn build(plan: &LabPlan, rights: Rights) -> anyhow::Result<Self> {
        let mut state = StateFile::take(&plan.name)?;
        let inner = InnerFolder::hold()?;
        let folder = inner.path.clone();
        let pid = fs::read_link("/proc/self").ok().and_then(|link| link.to_str()?.parse().ok());
        let pid = pid.context("cannot read /proc/self")?;
        mounts::make_private()?;
        mounts::memory_folder(&folder)?;
        let network = Network::build(plan.members, &folder)?;
        mounts::show_own(&folder.join("hosts"));
        if plan.delay.0.as_micros() > 0 {
            network.set_delay(plan.delay)?;
        }
        network.set_querier(plan.querier)?;
        let mut programs = start_programs(&network, &folder)?;
        if plan.loss.permille > 0 {
            network.set_loss(plan.loss)?;
        }
        let hosts = network.hosts().zip(&mut programs).map(|(host, program)| RunningHost {
            name: host.machine.name().to_owned(),
            ip: host.ip,
            runs: program.as_ref().map_or_else(String::new, |program| program.line.clone()),
            alive: true,
            task: host.machine.seen_from_outside().to_owned(),
        });
        let running = Running {
            name: plan.name.clone(),
            pid,
            rights,
            loss: plan.loss,
            delay: plan.delay,
            querier: plan.querier,
            group: GROUP.to_owned(),
            hosts: hosts.collect(),
            folder,
        };
        state.write(&running)?;
        let started = programs.iter().enumerate().filter_map(|(host, program)| Some((program.as_ref()?.pid(), host)));
        Ok(Self { processes: started.collect(), running, state, _network: network, _inner: inner })
    }

    /// Reaps every process that has ended: as the first process, this one is the parent of all orphans too.
    fn note_the_ended(&mut self) -> anyhow::Result<()> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => {
                    let ended = self.processes.iter().find(|(pid, _)| Some(*pid) == status.pid());
                    if let Some(&(_, host)) = ended {
                        self.running.hosts[host].alive = false;
                        self.state.write(&self.running)?;
                    }
                }
                Err(error) => return Err(error).context("cannot wait for the lab's processes"),
            }
        }
    }
}

/// Starts the services, a listener on each member, and nothing on the witness; in the order of the hosts.
fn start_programs(network: &Network, folder: &Path) -> anyhow::Result<Vec<Option<Program>>> {
    let server = &network.server;
    let args = ["up", "--headless", "--log", "memory"];
    let services = start(server, folder, &args, Ready::Stdout("registry"))?.until_ready()?;
    let made = server.machine.spawn(gaung(server, folder, &["group", "create", GROUP])?);
    if !made.and_then(|child| child.wait_with_output()).is_ok_and(|made| made.status.success()) {
        bail!("the group {GROUP} cannot be made");
    }
    let listen = ["listen", GROUP, "everyone"];
    let ready = || Ready::Stderr("listening to everyone");
    let members = network.members.iter().map(|member| start(member, folder, &listen, ready()));
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let members = members.into_iter().map(Starting::until_ready).collect::<Result<Vec<_>, _>>()?;
    until_known(server, network.members.len(), folder)?;
    Ok([services].into_iter().chain(members).map(Some).chain([None]).collect())
}

/// Waits until the relay knows every member, so that the first message's receipt counts all.
fn until_known(server: &Host, members: usize, folder: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let mut status = gaung(server, folder, &["status", GROUP, "--json"])?;
        status.stdout(Stdio::piped());
        let told = server.machine.spawn(status).and_then(|child| child.wait_with_output());
        let told = told.context("cannot ask for the members")?;
        // One line a member; of those that the relay has not heard of, no process is known.
        let rows =
            told.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let known = rows.filter(|row| !row["client"].is_null()).count();
        if known >= members {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("the relay has heard of {known} of {members} members");
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
