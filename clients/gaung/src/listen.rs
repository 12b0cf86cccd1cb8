//! `gaung listen`: prints messages to stdout as they come, everything else to stderr.

mod held;

use std::{collections::HashMap, time::Instant};

use gaung_client::{AuthorState, Client, HiddenMessages, LaneChoice, StartAt};
use gaung_proto::{DeviceId, GroupAddr, GroupId, GroupName, Seq, name::EVERYONE};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::talk::{LaneArg, ListenArgs, StartArg},
    context::Context,
    failure::Failure,
    output::{Output, say},
    people::People,
    render::{
        json,
        line::{self, ReceivedMessage},
    },
    source::{Source, SourceEvent, UdpOnlySource},
    stop,
};
use held::HeldMessages;

/// Listens until a signal, until `--count` is reached, or until every group is gone.
///
/// # Errors
/// [`gaung_client::ClientError`] if the first connection fails; not found once every group is gone.
pub(crate) async fn run(context: &Context, args: ListenArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    stop::on_hangup(&stop, stop::TerminalUse::OutputOnly)?;
    let source = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        source = open(context, &args) => source?,
    };
    let Opened { source, device, hidden } = source;
    let people = People::open(context, device)?;
    let held = args.verify.then(HeldMessages::default);
    let with_group = args.groups.len() + usize::from(args.everyone) > 1;
    let printer =
        Printer { output: Output::new(), people, held, hidden, json: args.json, with_group, left: args.count };
    printer.run(source, &stop).await
}

/// A source of messages, with what is known before the first of them.
struct Opened {
    source: Source,
    /// The device that listens; none by datagrams alone, which prove no device.
    device: DeviceId,
    hidden: Hidden,
}

/// The messages of each group that were hidden before it was joined.
type Hidden = HashMap<GroupId, HiddenMessages>;

async fn open(context: &Context, args: &ListenArgs) -> anyhow::Result<Opened> {
    if let Some(addr) = args.udp_only {
        only(
            matches!(args.lane, LaneArg::Auto | LaneArg::Multicast),
            "--udp-only hears multicast only; leave --lane out",
        )?;
        only(args.from == StartArg::Now, "--udp-only has no history; leave --from out")?;
        let group = GroupAddr::new(*addr.ip(), addr.port()).map_err(|e| Failure::usage(e.to_string()))?;
        let session = UdpOnlySource::join(context, group).await?;
        let (source, hidden) = (Source::UdpOnly(session), Hidden::new());
        return Ok(Opened { source, device: DeviceId::NONE, hidden });
    }
    if args.lane == LaneArg::Broadcast {
        let everyone = args.everyone || args.groups.iter().all(|group| group.as_str() == EVERYONE);
        only(
            everyone && args.groups.iter().all(|group| group.as_str() == EVERYONE),
            "only everyone is broadcast; give --everyone and no GROUP",
        )?;
        only(args.from == StartArg::Now, "broadcasts have no history; leave --from out")?;
        let client = context.connect().await?;
        let source = Source::broadcast(&client, args.broadcast_port).await?;
        return Ok(Opened { source, device: client.device_id(), hidden: Hidden::new() });
    }
    let client = context.connect().await?;
    let lane = lane_choice(args.lane)?;
    let hidden = hidden(&client, args).await;
    let source = Source::member(&client, groups(args), lane, start(args.from)).await?;
    Ok(Opened { source, device: client.device_id(), hidden })
}

/// Reads which of the messages that were written before this were hidden, because what hides a message comes after it. Where that cannot
/// be read now, it says so, and the words are shown.
async fn hidden(client: &Client, args: &ListenArgs) -> Hidden {
    let from = match args.from {
        StartArg::Start => Seq::ZERO,
        StartArg::At(seq) => seq,
        StartArg::Now => return Hidden::new(),
    };
    let mut all = Hidden::new();
    for group in groups(args) {
        match client.hidden_messages(&group, from).await {
            Ok(hidden) => drop(all.insert(hidden.group(), hidden)),
            Err(error) => say(&format!("messages of {group} that moderators hid are shown: {error}")),
        }
    }
    all
}

/// Returns the groups of the command line, each once.
fn groups(args: &ListenArgs) -> Vec<GroupName> {
    let everyone = args.everyone.then(|| EVERYONE.parse().expect("a valid name"));
    let mut groups: Vec<GroupName> = Vec::new();
    for group in args.groups.iter().cloned().chain(everyone) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// Converts the lane of a member.
///
/// # Errors
/// [`Failure`] of usage for broadcast, which is no member's lane.
pub(crate) fn lane_choice(lane: LaneArg) -> Result<LaneChoice, Failure> {
    match lane {
        LaneArg::Auto => Ok(LaneChoice::Auto),
        LaneArg::Multicast => Ok(LaneChoice::Multicast),
        LaneArg::Tcp => Ok(LaneChoice::Tcp),
        LaneArg::Broadcast => {
            Err(Failure::usage("only `gaung listen --everyone` hears broadcasts; choose auto, multicast or tcp"))
        }
    }
}

/// Returns the line that says that every message from here on is delivered; scripts wait for it.
pub(crate) fn ready(event: (&str, gaung_proto::Seq, gaung_client::Lane)) -> String {
    let (group, from, lane) = event;
    format!("listening to {group} from seq {} by {lane}", line::seq(from))
}

fn start(from: StartArg) -> StartAt {
    match from {
        StartArg::Start => StartAt::Oldest,
        StartArg::Now => StartAt::Next,
        StartArg::At(seq) => StartAt::Seq(seq),
    }
}

fn only(condition: bool, otherwise: &str) -> Result<(), Failure> {
    if condition { Ok(()) } else { Err(Failure::usage(otherwise)) }
}

/// Waits until a message that is held counts as unsigned.
async fn due(held: Option<&HeldMessages>) {
    match held.and_then(HeldMessages::poll_timeout) {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

struct Printer {
    output: Output,
    people: People,
    /// With `--verify`.
    held: Option<HeldMessages>,
    hidden: Hidden,
    json: bool,
    with_group: bool,
    /// How many more messages to print; any number if `None`.
    left: Option<u64>,
}

impl Printer {
    async fn run(mut self, mut source: Source, stop: &CancellationToken) -> anyhow::Result<()> {
        let outcome = self.pass(&mut source, stop).await;
        let flushed = self.output.flush();
        source.close().await;
        outcome.and(flushed)
    }

    async fn pass(&mut self, source: &mut Source, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut gone = None;
        while self.left != Some(0) {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                event = source.next() => event?,
                () = due(self.held.as_ref()) => {
                    self.held.iter_mut().for_each(|held| held.handle_timeout(Instant::now()));
                    self.print_held()?;
                    continue;
                }
                () = std::future::ready(()), if self.output.is_dirty() => {
                    self.output.flush()?;
                    continue;
                }
            };
            match event {
                Some(SourceEvent::Message(received)) => match &mut self.held {
                    Some(held) => held.push(Instant::now(), received),
                    None => self.message(received, None)?,
                },
                Some(SourceEvent::Ready { group, from, lane }) => say(&ready((&group, from, lane))),
                Some(SourceEvent::Notice(text) | SourceEvent::Repair(text)) => say(&text),
                Some(SourceEvent::GroupGone(why)) => {
                    say(&why);
                    gone = Some(why);
                }
                None => return Err(ended(gone)),
            }
            self.print_held()?;
        }
        Ok(())
    }

    /// Prints the messages whose authors are known by now.
    fn print_held(&mut self) -> anyhow::Result<()> {
        while self.left != Some(0)
            && let Some((received, state)) = self.held.as_mut().and_then(HeldMessages::poll_ready)
        {
            self.message(received, Some(state))?;
        }
        Ok(())
    }

    /// Prints a message. `verified`: what is known about the author, attestations counted.
    fn message(&mut self, mut received: Box<ReceivedMessage>, verified: Option<AuthorState>) -> anyhow::Result<()> {
        let hidden = received.group_id.and_then(|group| self.hidden.get(&group));
        received.is_hidden = hidden
            .zip(received.log)
            .is_some_and(|(hidden, log)| hidden.hide(log, received.message.seq, &received.content.kind));
        if let Some(notice) = self.people.introduce(&mut received) {
            say(&notice);
        }
        if received.content.kind.is_for_programs() && !self.json {
            return Ok(());
        }
        let mark = verified.map_or("", |state| self.people.mark(state));
        let line = match (self.json, self.with_group) {
            (true, _) => {
                let state = verified.or_else(|| received.author_state());
                json::message(&received, state.map(|state| self.people.state_name(state)))
            }
            (false, true) => format!("{} {}", received.group, received.plain_with(mark)),
            (false, false) => received.plain_with(mark),
        };
        self.left = self.left.map(|left| left - 1);
        self.output.line(&line)
    }
}

/// Returns why a source has ended by itself.
pub(crate) fn ended(gone: Option<String>) -> anyhow::Error {
    match gone {
        Some(_) => Failure::new(gaung_client::ErrorKind::NotFound, "no group is left to listen to").into(),
        None => anyhow::anyhow!("the sockets cannot be used any more; start again"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        failure::exit_code,
        passphrase::PassphraseSource,
    };

    fn args(line: &str) -> ListenArgs {
        let Command::Listen(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!("{line}") };
        args
    }

    #[test]
    fn each_group_is_joined_once() {
        let names: Vec<_> =
            groups(&args("gaung listen a b a everyone --everyone")).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a", "b", "everyone"]);
    }

    #[tokio::test]
    async fn contradictory_options_are_refused_before_any_connection() {
        let name = "L".parse().unwrap();
        let context = Context {
            server: None,
            insecure: false,
            name,
            data_dir: "/nowhere".into(),
            iface: None,
            passphrases: PassphraseSource::new(None),
            device: Arc::default(),
        };
        for line in [
            "gaung listen a --lane broadcast",
            "gaung listen a --everyone --lane broadcast",
            "gaung listen --everyone --lane broadcast --from start",
            "gaung listen --udp-only 239.255.0.1:20000 --lane tcp",
            "gaung listen --udp-only 239.255.0.1:20000 --from 3",
        ] {
            let error = open(&context, &args(line)).await.err().unwrap();
            assert_eq!(exit_code(&error), 2, "{line}: {error}");
        }
    }

    #[test]
    fn the_ready_line_is_what_scripts_wait_for() {
        let line = ready(("lobby", gaung_proto::Seq(7), gaung_client::Lane::Tcp));
        assert_eq!(line, "listening to lobby from seq 7 by tcp");
    }
}
