//! The grammar of the command line, without the commands' code.
//!
//! Every command's help ends in an example, which a test checks. A value comes from the flag, else from the
//! environment; there is no configuration file.

pub(crate) mod device;
pub(crate) mod doctor;
pub(crate) mod group;
pub(crate) mod lab;
pub(crate) mod log;
pub(crate) mod moderation;
pub(crate) mod site;
pub(crate) mod talk;
pub(crate) mod up;

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use gaung_proto::{DisplayName, GroupName};
use gaung_site::ServerAddress;

/// Group chat and one-to-many messaging for local networks: sent once, heard by all.
#[derive(Debug, Parser)]
#[command(name = "gaung", version, max_term_width = 100, arg_required_else_help = true, args_override_self = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Flags of all commands.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  gaung up                      serve this network, and chat
  gaung chat                    chat, on this or any other machine of the network
  gaung group create lobby      make a group
  gaung send lobby Halo semua   send one message
  gaung listen lobby --json     read as one JSON object a line
  gaung doctor                  find out why messages do not arrive
  gaung lab up                  try it in a network of namespaces on this machine

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 not allowed, 5 unreachable; of doctor
also 6 warnings, 7 problems; 8 another server than the known one; 129 the terminal hung up.
Results go to stdout, everything else to stderr. NO_COLOR turns colours off.";

/// Flags that every command takes, before or after its name. Their variables are read by [`crate::context`], where an
/// empty one counts as unset.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct CommonArgs {
    /// Registry to connect to, and the code of the site that must answer [env: GAUNG_SERVER] [default: the one that
    /// discovery finds, else this machine].
    #[arg(long, global = true, value_name = "HOST[:PORT][#CODE]", value_parser = server_with_code)]
    pub(crate) server: Option<String>,
    /// Connect without encryption, which others on the network can read and change; never to a known site [env:
    /// GAUNG_INSECURE].
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// Name shown to others [env: GAUNG_NAME] [default: your login name].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) name: Option<DisplayName>,
    /// Network interface for multicast and broadcast [env: GAUNG_IFACE] [default: all that support it].
    #[arg(long, global = true, value_name = "IF", value_parser = not_empty)]
    pub(crate) iface: Option<String>,
    /// Folder for this user's device key and, with `up`, for the services' data [env: GAUNG_DATA] [default:
    /// $XDG_DATA_HOME/gaung].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve this network: registry, relay and hub in one process; on a terminal, chat too.
    Up(Box<up::UpArgs>),
    /// Make, show and manage groups.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Send text to a group, and print the seq of each message once it is durable.
    Send(talk::SendArgs),
    /// Send text to everyone who is connected.
    Broadcast(talk::BroadcastArgs),
    /// Print the messages of groups as they come.
    Listen(talk::ListenArgs),
    /// Chat in groups.
    Chat(talk::ChatArgs),
    /// Open a plain text session over TCP, as netcat does.
    Text(talk::TextArgs),
    /// Print messages from a group's log.
    History(talk::HistoryArgs),
    /// Show services, groups and members.
    Status(StatusArgs),
    /// List, trust and forget the sites that this device knows.
    Site(site::SiteArgs),
    /// Show this device, protect its key by a passphrase, and take it to other machines.
    Device(device::DeviceArgs),
    /// Diagnose multicast and broadcast on this machine, and say how to fix what fails.
    Doctor(doctor::DoctorArgs),
    /// Repair the stored logs of a relay that is not running.
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Run a network of namespaces on this machine, to try and to measure multicast, broadcast and unicast.
    #[command(subcommand)]
    Lab(lab::LabCommand),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages.
    Man(ManArgs),
}

/// `gaung status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung status --server 192.168.1.10\n  gaung status lobby --json\n\n\
    For a group, one line for each member: its lane, datagrams lost and how many of them were repaired by multicast, \
    round trip, last message delivered, and how many messages it is behind. With --json one object each: name, device, \
    client, lane, here, delivered, behind, received_datagrams, lost_datagrams, loss_percent, repairs, round_trip_us; \
    null means unknown.")]
pub(crate) struct StatusArgs {
    /// Show only this group, member by member.
    pub(crate) group: Option<GroupName>,
    /// Print one JSON object instead of tables; with GROUP one for each member.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gaung completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung completions bash > ~/.local/share/bash-completion/completions/gaung")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `gaung man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder to write to; created if it does not exist.
    pub(crate) dir: PathBuf,
}

impl Cli {
    /// Returns the whole grammar, for completions and manual pages.
    pub(crate) fn grammar() -> clap::Command {
        Self::command()
    }
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Checks `HOST` as [`server`] does, and the code after a `#`; with a code HOST may be left to discovery.
pub(crate) fn server_with_code(text: &str) -> Result<String, String> {
    let named = ServerAddress::parse(text).map_err(|error| error.to_string())?;
    if named.code.is_none() || !named.host.is_empty() {
        server(named.host)?;
    }
    Ok(text.to_owned())
}

/// Checks `HOST`, `HOST:PORT`, `IPV6`, `[IPV6]` or `[IPV6]:PORT`; resolving it is left to the connection.
pub(crate) fn server(text: &str) -> Result<String, String> {
    let wrong = || Err("write it like 192.168.1.10, lab.local or lab.local:7400".to_owned());
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return wrong();
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, port)) = rest.split_once(']') else { return wrong() };
        let is_port = |text: &str| text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        let fits = host.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
        return if fits { Ok(text.to_owned()) } else { wrong() };
    }
    match text.rsplit_once(':') {
        None => Ok(text.to_owned()),
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        Some(_) => wrong(),
    }
}

#[cfg(test)]
mod tests;
