//! A line chat, for pipes, for terminals that cannot be steered, and by wish. What is typed goes to the current group, what comes stands above the prompt.

mod console;
mod outbox;
mod typed;

use std::{collections::HashMap, time::Duration};

use gaung_client::{Client, LaneChoice, StartAt};
use gaung_proto::{DeviceId, GroupAddr, GroupName, Seq, name::EVERYONE};
use tokio::{sync::mpsc, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::talk::ChatArgs,
    context::Context,
    failure::Failure,
    group::member_lines,
    listen::{ended, lane_choice, ready},
    render::line::Received,
    sink::Sink,
    source::{Heard, Source},
};
use console::{Console, Input};
use outbox::{Outbox, Outcome};
use typed::Typed;

/// How long the end waits for one's own last messages to come back.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Events read ahead of the screen, of all groups together.
const AHEAD: usize = 256;

/// Chats until `stop` or `/quit`.
///
/// # Errors
/// [`gaung_client::ClientError`] if the first connection fails.
pub(crate) async fn run(context: &Context, args: ChatArgs, stop: &CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        room = enter(context, args) => room?.talk(stop).await,
    }
}

async fn enter(context: &Context, args: ChatArgs) -> anyhow::Result<Room> {
    let lane = lane_choice(args.lane)?;
    if let Some(addr) = args.udp_only {
        let group = GroupAddr::new(*addr.ip(), addr.port()).map_err(|e| Failure::usage(e.to_string()))?;
        let source = Source::udp_only(context, group).await?;
        let Source::UdpOnly(session) = &source else { unreachable!("asked for a session over datagrams alone") };
        let (label, device) = (session.label().to_owned(), session.device());
        let sink = Sink::UdpOnly(session.publisher());
        let mut room = Room::new(None, lane, device)?;
        room.add(label, sink, source);
        return Ok(room);
    }
    let mut groups = args.groups;
    if groups.is_empty() {
        groups.push(EVERYONE.parse().expect("a valid name"));
    }
    let client = context.connect().await?;
    let device = client.device_id();
    let mut room = Room::new(Some(client), lane, device)?;
    for group in groups.iter().rev() {
        room.join(group).await?;
    }
    Ok(room)
}

/// A person's chat: some groups, one of them current.
struct Room {
    /// None where datagrams alone are spoken.
    client: Option<Client>,
    lane: LaneChoice,
    device: DeviceId,
    console: Console,
    outboxes: HashMap<String, Outbox>,
    current: String,
    sources: JoinSet<()>,
    heard: mpsc::Receiver<Heard>,
    hearing: mpsc::Sender<Heard>,
    outcomes: mpsc::Receiver<Outcome>,
    outcome: mpsc::Sender<Outcome>,
    /// Typed messages that were neither acknowledged nor refused yet.
    in_flight: u64,
    /// Of each group: the seq of the last own message, until it has been shown.
    unseen: HashMap<String, Seq>,
    leaving: CancellationToken,
}

impl Room {
    fn new(client: Option<Client>, lane: LaneChoice, device: DeviceId) -> anyhow::Result<Self> {
        let (hearing, heard) = mpsc::channel(AHEAD);
        let (outcome, outcomes) = mpsc::channel(AHEAD);
        Ok(Self {
            client,
            lane,
            device,
            console: Console::open()?,
            outboxes: HashMap::new(),
            current: String::new(),
            sources: JoinSet::new(),
            heard,
            hearing,
            outcomes,
            outcome,
            in_flight: 0,
            unseen: HashMap::new(),
            leaving: CancellationToken::new(),
        })
    }

    /// Joins a group, or returns to it, and makes it the current one.
    async fn join(&mut self, group: &GroupName) -> anyhow::Result<()> {
        if !self.outboxes.contains_key(group.as_str()) {
            let Some(client) = &self.client else {
                return Err(Failure::usage("with --udp-only there is one group only").into());
            };
            let source = Source::member(client, vec![group.clone()], self.lane, StartAt::Next).await?;
            let sink = Sink::Relay(client.publisher(group).await?);
            self.add(group.to_string(), sink, source);
        }
        self.current = group.to_string();
        Ok(())
    }

    fn add(&mut self, group: String, sink: Sink, mut source: Source) {
        let (hearing, leaving) = (self.hearing.clone(), self.leaving.clone());
        self.sources.spawn(async move {
            while let Some(Ok(Some(heard))) = leaving.run_until_cancelled(source.next()).await {
                if hearing.send(heard).await.is_err() {
                    break;
                }
            }
            source.close().await;
        });
        self.outboxes.insert(group.clone(), Outbox::open(group.clone(), sink, self.outcome.clone()));
        self.current = group;
    }

    async fn talk(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        self.console.prompt(&self.current);
        let outcome = self.pass(stop).await;
        self.leaving.cancel();
        while self.sources.join_next().await.is_some() {}
        self.console.close()?;
        outcome
    }

    async fn pass(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(heard) = self.heard.recv() => {
                    self.show(heard)?;
                    continue;
                }
                Some(outcome) = self.outcomes.recv() => {
                    self.settle(outcome)?;
                    continue;
                }
                input = self.console.input() => input,
                () = std::future::ready(()), if self.console.is_dirty() => {
                    self.console.flush()?;
                    continue;
                }
            };
            let typed = match input {
                Input::Line(line) => Typed::of(line),
                Input::Interrupted => return Ok(()),
                Input::End => Typed::Quit,
            };
            if typed == Typed::Quit {
                return self.last_words(stop).await;
            }
            self.obey(typed, stop).await?;
            self.console.prompt(&self.current);
        }
    }

    async fn obey(&mut self, typed: Typed, stop: &CancellationToken) -> anyhow::Result<()> {
        match typed {
            Typed::Nothing | Typed::Quit => Ok(()),
            Typed::Say(body) => self.publish(body, stop).await,
            Typed::Help => typed::HELP.lines().try_for_each(|line| self.console.tell(line)),
            Typed::Members => self.tell_members().await,
            Typed::Join(name) => match self.join(&name).await {
                Ok(()) => Ok(()),
                Err(error) => self.console.tell(&format!("cannot join {name}: {error:#}")),
            },
            Typed::Wrong(why) => self.console.tell(&why),
        }
    }

    /// Hands a message to its group's outbox; while that is full, what comes is still shown.
    async fn publish(&mut self, body: bytes::Bytes, stop: &CancellationToken) -> anyhow::Result<()> {
        let entry = self.outboxes.get(&self.current).expect("the current group was joined").entry();
        tokio::pin!(entry);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                permit = &mut entry => {
                    match permit {
                        Ok(permit) => {
                            permit.send(body);
                            self.in_flight += 1;
                        }
                        Err(_) => self.console.tell("nothing can be sent to this group any more")?,
                    }
                    return Ok(());
                }
                Some(outcome) = self.outcomes.recv() => self.settle(outcome)?,
                Some(heard) = self.heard.recv() => self.show(heard)?,
            }
        }
    }

    async fn tell_members(&mut self) -> anyhow::Result<()> {
        let (Some(client), Ok(group)) = (&self.client, self.current.parse::<GroupName>()) else {
            return self.console.tell("with --udp-only nobody knows the members");
        };
        match client.members(&group).await {
            Ok(members) => member_lines(&members).iter().try_for_each(|line| self.console.tell(line)),
            Err(error) => self.console.tell(&format!("cannot list the members: {error}")),
        }
    }

    fn show(&mut self, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Message(received) => self.show_message(&received),
            Heard::Ready { group, from, lane } => self.console.tell(&ready((&group, from, lane))),
            Heard::Told(text) | Heard::Repair(text) => self.console.tell(&text),
            Heard::Gone(why) => {
                self.console.tell(&why)?;
                if self.outboxes.len() <= 1 { Err(ended(Some(why))) } else { Ok(()) }
            }
        }
    }

    fn show_message(&mut self, received: &Received) -> anyhow::Result<()> {
        let own = received.message.author.device == self.device;
        let line = received.styled(self.console.style(), self.outboxes.len() > 1);
        if self.unseen.get(&received.group).is_some_and(|seq| *seq <= received.message.seq) {
            self.unseen.remove(&received.group);
        }
        self.console.message(&line, !own)
    }

    fn settle(&mut self, outcome: Outcome) -> anyhow::Result<()> {
        match outcome {
            Outcome::Logged { group, seq } => {
                self.in_flight -= 1;
                self.unseen.insert(group, seq);
                Ok(())
            }
            Outcome::Failed { group, text, why } => {
                self.in_flight -= 1;
                self.console.tell(&format!("not sent to {group}: {text} ({why})"))
            }
            Outcome::Late { group, text } => self.console.tell(&format!("waiting for {group}'s relay to take: {text}")),
        }
    }

    /// Waits for the acknowledgements of what was typed, and a little for it to come back and be shown.
    async fn last_words(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut patience = None;
        while self.in_flight > 0 || !self.unseen.is_empty() {
            let until = *patience.get_or_insert_with(|| time::Instant::now() + LAST_WORDS);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(outcome) = self.outcomes.recv() => {
                    self.settle(outcome)?;
                    patience = None;
                }
                Some(heard) = self.heard.recv() => self.show(heard)?,
                () = time::sleep_until(until), if self.in_flight == 0 => return Ok(()),
            }
        }
        Ok(())
    }
}
