//! `gaung lab …`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Subcommand, builder::BoolishValueParser};
use gaung_lab::{LabName, network::Loss, samples::Experiment, words::Language};
use service_kit::config::parse_duration;

/// What can be done with a lab.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  sudo gaung lab up\n  sudo gaung lab shell m1\n  sudo gaung lab down\n\n\
    Hosts in network namespaces of this machine on one switch: the services, members, and a witness that never joins. \
    Nothing is created outside of the namespaces, and all of it ends with its first process. Without root it uses user \
    namespaces where the system allows them.")]
pub(crate) enum LabCommand {
    /// Build a lab that stays until `gaung lab down`.
    Up(LabUpArgs),
    /// End a lab and everything in it.
    Down(LabNameArgs),
    /// Show the running labs, and what their hosts sent and received.
    Status(LabStatusArgs),
    /// Run a shell, or one command, on a host of a lab.
    Shell(LabShellArgs),
    /// Measure multicast, broadcast, TCP and unicast on real sockets, in a network created for it.
    Experiment(LabExperimentArgs),
    /// Run all experiments, and write a report.
    Report(LabReportArgs),
    /// Started by a lab itself.
    #[command(hide = true)]
    Inside(LabInsideArgs),
}

/// Which lab.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung lab down")]
pub(crate) struct LabNameArgs {
    /// Name of the lab.
    #[arg(long, value_name = "NAME", default_value = "lab")]
    pub(crate) lab: LabName,
}

/// `gaung lab up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung lab up --members 4\n  gaung lab up --loss 5% --querier off\n  \
    gaung lab up --lab second --members 2\n\n\
    Hosts: server (registry, relay, hub, messages in memory), m1 and up (each listens to lobby and everyone), witness. \
    With the querier on the switch prunes: multicast goes to members only. Off, it floods, as a plain switch does. The delay \
    needs the kernel's netem, the loss nftables.")]
pub(crate) struct LabUpArgs {
    /// The lab.
    #[command(flatten)]
    pub(crate) which: LabNameArgs,
    /// How many members.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) members: usize,
    /// Share of received datagrams that each member and the witness lose.
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    pub(crate) loss: Loss,
    /// Delay of each frame.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration)]
    pub(crate) delay: Duration,
    /// Whether the switch is an IGMP querier.
    #[arg(long, value_name = "on|off", default_value = "on", action = ArgAction::Set, value_parser = BoolishValueParser::new(),
        hide_possible_values = true)]
    pub(crate) querier: bool,
}

/// `gaung lab status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung lab status\n  gaung lab status --json\n\n\
    With --json one object a lab: name, pid, rights, loss, delay, querier, group, folder, and hosts (name, ip, runs, \
    alive, task).")]
pub(crate) struct LabStatusArgs {
    /// Print one JSON object for each lab.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gaung lab shell`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung lab shell m1\n  gaung lab shell m1 gaung send lobby Halo semua\n  \
    gaung lab shell witness tcpdump -ni eth0 udp\n\n\
    The hosts' names are in /etc/hosts there: ping m2, nc server 8080. The output of members is in the folder that \
    `gaung lab status --json` prints, as m1.log. The exit code is that of the command.")]
pub(crate) struct LabShellArgs {
    /// The lab.
    #[command(flatten)]
    pub(crate) which: LabNameArgs,
    /// server, m1 and up, or witness.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// A command instead of your shell.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}

/// `gaung lab experiment`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sudo gaung lab experiment one-to-many\n  \
    sudo gaung lab experiment all --csv samples.csv\n\n\
    one-to-many: the same burst to 1, 2, 4, 8, 16 receivers by unicast, TCP, broadcast, multicast. who-hears: frames that reach a host that \
    did not join. threads: services with 1, 2, 4 workers. loss: receivers that lose up to 20 %, with repair and without. receipts: \
    what receipts report. late-joiner: a receiver that starts after the messages.\n\n\
    Prints medians and quartiles. Ctrl-C keeps what was measured.")]
pub(crate) struct LabExperimentArgs {
    /// The experiment.
    #[arg(value_name = "NAME|all", default_value = "all", value_parser = experiment)]
    pub(crate) experiment: Chosen,
    /// Measure as little as gives a result: less than a minute instead of some.
    #[arg(long)]
    pub(crate) quick: bool,
    /// File for all samples.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
}

/// `gaung lab report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  sudo gaung lab report --lang id\n  gaung lab report --from gaung-report --lang en --out english\n\n\
    The folder has report.html, which stands alone, report.md with its figures, samples.csv, and capture.pcap. Each sentence of the \
    analysis is checked against the samples, and marked where they do not support it. Takes some minutes; Ctrl-C writes \
    the report of what was measured."
)]
pub(crate) struct LabReportArgs {
    /// Language: en or id.
    #[arg(long, value_name = "en|id", default_value = "en")]
    pub(crate) lang: Language,
    /// Folder to write to; created if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "gaung-report")]
    pub(crate) out: PathBuf,
    /// Measure as little as gives a result: less than a minute instead of some.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write the report of this folder's run again, without measuring.
    #[arg(long, value_name = "DIR", conflicts_with = "quick")]
    pub(crate) from: Option<PathBuf>,
}

/// One experiment, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// All of them.
    All,
    /// This one.
    One(Experiment),
}

fn experiment(text: &str) -> Result<Chosen, String> {
    match text {
        "all" => Ok(Chosen::All),
        name => name.parse().map(Chosen::One).map_err(|error: String| format!("write all, or {error}")),
    }
}

/// `gaung lab inside`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung lab inside TASK\n\nFor internal use.")]
pub(crate) struct LabInsideArgs {
    /// What to do, in JSON.
    pub(crate) task: String,
}
