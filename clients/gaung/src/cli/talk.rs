//! The commands that talk: send, broadcast, listen, chat, text, history.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use clap::{Args, ValueEnum};
use gaung_chat::{Background, Lang};
use gaung_proto::{GroupName, Seq};
use service_kit::config::parse_duration;

/// `gaung send`.
#[derive(Debug, Args)]
#[command(
    override_usage = "gaung send [OPTIONS] GROUP TEXT…\n       gaung send [OPTIONS] GROUP -\n       \
        gaung send --udp-only ADDR:PORT TEXT…|-",
    after_help = "Examples:\n  gaung send lobby Halo semua\n  gaung send lobby Halo --receipts --wait 2s\n  seq 1000 | gaung send lobby -\n  \
        gaung send lobby -- --text that begins with a dash\n\n\
        Prints one seq a line, in order, as each message becomes durable. From stdin each line that is not empty \
        is one message and need not be UTF-8. If some were not acknowledged, stderr lists their lines.\n\n\
        With --receipts: which members have received each message, of those present (seen in the last 5 s, your own \
        included) when it was logged; text sessions cannot acknowledge. From stdin the line starts with the seq. \
        With --json one object for each message: seq, heard, present, silent, absent, missing (up to 16 names), and \
        error with nulls before it where the receipt is unknown."
)]
pub(crate) struct SendArgs {
    /// The group, then the words of the message; `-` alone reads lines from stdin. With --udp-only words only.
    #[arg(required = true, value_name = "GROUP TEXT")]
    pub(crate) words: Vec<String>,
    /// Use datagrams only, to the group at this address, without a registry.
    #[arg(long, value_name = "ADDR:PORT", value_parser = group_address)]
    pub(crate) udp_only: Option<SocketAddrV4>,
    /// Print who has received each message, once all present members have or --wait is over.
    #[arg(long, conflicts_with = "udp_only")]
    pub(crate) receipts: bool,
    /// How long to wait for members that have not received a message.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration, requires = "receipts")]
    pub(crate) wait: Duration,
    /// Print one JSON object for each message instead of text.
    #[arg(long, requires = "receipts")]
    pub(crate) json: bool,
    /// Sign also what comes faster than 20 messages a second, by attestations: messages of their own, up to 1024 lines each.
    #[arg(long, conflicts_with = "udp_only")]
    pub(crate) attest: bool,
}

/// `gaung broadcast`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung broadcast Server is going down at 5")]
pub(crate) struct BroadcastArgs {
    /// The words of the message; `-` alone reads lines from stdin.
    #[arg(required = true, value_name = "TEXT")]
    pub(crate) words: Vec<String>,
}

/// `gaung listen`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung listen lobby\n  gaung listen lobby rapat --from start --json\n  \
        gaung listen --everyone --lane broadcast\n  gaung listen --udp-only 239.255.3.7:20000\n\n\
        Prints on stderr `listening to G from seq N by LANE` when ready. With --json every message is one object: \
        group, group_id, seq, author, text, lane, sent_at, author_state (verified, signed, unsigned or broken); text that is not UTF-8 has text null and base64 in data; \
        messages that are not plain text have a kind.")]
pub(crate) struct ListenArgs {
    /// The groups.
    #[arg(value_name = "GROUP", required_unless_present_any = ["everyone", "udp_only"], conflicts_with = "udp_only")]
    pub(crate) groups: Vec<GroupName>,
    /// Listen to the group `everyone`.
    #[arg(long, conflicts_with = "udp_only")]
    pub(crate) everyone: bool,
    /// Lane of the messages: auto uses multicast while it works, else TCP; broadcast only with --everyone.
    #[arg(long, value_enum, default_value_t, value_name = "LANE")]
    pub(crate) lane: LaneArg,
    /// First message to print.
    #[arg(long, default_value = "now", value_name = "start|now|SEQ", value_parser = start)]
    pub(crate) from: StartArg,
    /// End after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Verify attestations too: a message that is not signed itself is printed once its author is known, 5 s later at most.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Use datagrams only, to the group at this address, without a registry.
    #[arg(long, value_name = "ADDR:PORT", value_parser = group_address)]
    pub(crate) udp_only: Option<SocketAddrV4>,
    /// UDP port of --lane broadcast.
    #[arg(long, value_name = "P", default_value_t = gaung_proto::ports::BROADCAST)]
    pub(crate) broadcast_port: u16,
}

/// `gaung chat`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung chat\n  gaung chat lobby rapat --name Lina\n  \
    gaung chat lobby --server 192.168.1.10\n  gaung chat --lang id\n\n\
    Uses the full screen on a terminal, else lines; ? or /help lists the keys. Without GROUP it opens the groups of the \
    last time, or everyone. Open groups, drafts and read positions are kept in $XDG_STATE_HOME/gaung.")]
pub(crate) struct ChatArgs {
    /// The groups to open; the first one is shown, and gets what is typed until /join.
    #[arg(value_name = "GROUP", conflicts_with = "udp_only")]
    pub(crate) groups: Vec<GroupName>,
    /// Lane of the messages: auto uses multicast while it works, else TCP.
    #[arg(long, value_enum, default_value_t, value_name = "LANE")]
    pub(crate) lane: LaneArg,
    /// Use datagrams only, to the group at this address, without a registry; implies --plain.
    #[arg(long, value_name = "ADDR:PORT", value_parser = group_address)]
    pub(crate) udp_only: Option<SocketAddrV4>,
    /// The appearance.
    #[command(flatten)]
    pub(crate) look: AppearanceArgs,
}

/// How the chat looks.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct AppearanceArgs {
    /// Chat line by line, also on a terminal.
    #[arg(long)]
    pub(crate) plain: bool,
    /// Language of the screen: English or Indonesian [default: LC_ALL, LC_MESSAGES or LANG].
    #[arg(long, value_enum, value_name = "en|id")]
    pub(crate) lang: Option<Lang>,
    /// Background of the terminal [default: from COLORFGBG, else colours that are readable on both].
    #[arg(long, value_enum, default_value_t, value_name = "auto|dark|light", hide_default_value = true)]
    pub(crate) theme: Background,
}

/// `gaung text`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gaung text 192.168.1.10\n\n\
    Lines of stdin go to the hub, its lines to stdout. /join GROUP and /name NAME are commands of the hub. Runs until \
    the hub ends the session, also after the end of stdin.")]
pub(crate) struct TextArgs {
    /// The hub's text port.
    #[arg(value_name = "HOST[:8080]", value_parser = super::server)]
    pub(crate) host: String,
}

/// `gaung history`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  gaung history lobby --limit 20\n  gaung history lobby --limit 20 --before 481\n  \
    gaung history lobby --from 1 --json\n\n\
    Always oldest first. For the page before, set --before to the first SEQ of this one."
)]
pub(crate) struct HistoryArgs {
    /// The group.
    pub(crate) group: GroupName,
    /// First message [default: the oldest kept, or with --limit so many before the end].
    #[arg(long, value_name = "SEQ", value_parser = seq)]
    pub(crate) from: Option<Seq>,
    /// Only messages before this one; with --limit the newest of them.
    #[arg(long, value_name = "SEQ", value_parser = seq, conflicts_with = "from")]
    pub(crate) before: Option<Seq>,
    /// At most so many messages: the newest, unless --from is given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Print one JSON object a line, as `gaung listen --json` does.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How messages shall come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LaneArg {
    /// Multicast while it works, else TCP.
    #[default]
    Auto,
    /// IP multicast only.
    Multicast,
    /// The hub's TCP only.
    Tcp,
    /// UDP broadcast only.
    Broadcast,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartArg {
    /// The oldest message kept.
    Start,
    /// What comes from now on.
    Now,
    /// The message with this seq.
    At(Seq),
}

fn start(text: &str) -> Result<StartArg, String> {
    match text {
        "start" => Ok(StartArg::Start),
        "now" => Ok(StartArg::Now),
        number => seq(number).map(StartArg::At).map_err(|_| "write start, now, or a seq from 1".to_owned()),
    }
}

fn seq(text: &str) -> Result<Seq, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a seq is a whole number from 1".to_owned()),
        Ok(number) => Ok(Seq(number)),
    }
}

fn group_address(text: &str) -> Result<SocketAddrV4, String> {
    let wrong = || "write a group's address and port, like 239.255.3.7:20000".to_owned();
    let addr: SocketAddrV4 = text.parse().map_err(|_| wrong())?;
    let ip: Ipv4Addr = *addr.ip();
    if !ip.is_multicast() {
        return Err(format!("{ip} is not a multicast address; {}", wrong()));
    }
    if addr.port() == 0 {
        return Err(wrong());
    }
    Ok(addr)
}
