//! The line chat, for pipes, for terminals without a full screen, and for `--plain`.
//!
//! What is typed goes to the current group; messages are printed above the prompt.

mod console;
mod outbox;
mod typed;

use std::{collections::HashMap, time::Duration};

use gaung_client::{AuthorState, Client, LaneChoice, Moderation, StartAt};
use gaung_proto::{DeviceId, GroupAddr, GroupName, Seq, name::EVERYONE};
use tokio::{sync::mpsc, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{moderation::WhoArgs, talk::ChatArgs},
    context::Context,
    failure::Failure,
    group::{
        member_lines,
        moderation::{decide, outcome},
    },
    listen::{ended, lane_choice, ready},
    people::People,
    render::line::ReceivedMessage,
    sink::Sink,
    source::{Source, SourceEvent, UdpOnlySource},
};
use console::{Console, Input};
use outbox::{Outbox, Outcome};
use typed::TypedLine;

/// How long the end waits for the last own messages to come back and be shown.
const SHOW_TIMEOUT: Duration = Duration::from_secs(2);
/// How many events of all groups may wait to be shown.
const EVENT_QUEUE: usize = 256;

/// Chats until `stop` or `/quit`.
///
/// # Errors
/// [`gaung_client::ClientError`] if the first connection fails.
pub(crate) async fn run(context: &Context, args: ChatArgs, stop: &CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        chat = enter(context, args) => chat?.run(stop).await,
    }
}

async fn enter(context: &Context, args: ChatArgs) -> anyhow::Result<LineChat> {
    let lane = lane_choice(args.lane)?;
    if let Some(addr) = args.udp_only {
        let group = GroupAddr::new(*addr.ip(), addr.port()).map_err(|e| Failure::usage(e.to_string()))?;
        let session = UdpOnlySource::join(context, group).await?;
        let (label, device) = (session.label().to_owned(), session.device());
        let sink = Sink::UdpOnly(session.publisher());
        let mut chat = LineChat::new(context, None, lane, device)?;
        chat.add(label, sink, Source::UdpOnly(session));
        return Ok(chat);
    }
    let mut groups = args.groups;
    if groups.is_empty() {
        groups.push(EVERYONE.parse().expect("a valid name"));
    }
    let client = context.connect().await?;
    let device = client.device_id();
    let mut chat = LineChat::new(context, Some(client), lane, device)?;
    for group in groups.iter().rev() {
        chat.join(group).await?;
    }
    Ok(chat)
}

/// A chat in some groups, one of which is the current one.
struct LineChat {
    /// `None` with `--udp-only`.
    client: Option<Client>,
    lane: LaneChoice,
    device: DeviceId,
    people: People,
    console: Console,
    outboxes: HashMap<String, Outbox>,
    current: String,
    sources: JoinSet<()>,
    events: mpsc::Receiver<SourceEvent>,
    event_sender: mpsc::Sender<SourceEvent>,
    outcomes: mpsc::Receiver<Outcome>,
    outcome_sender: mpsc::Sender<Outcome>,
    /// TypedLine messages that were neither acknowledged nor refused yet.
    in_flight: u64,
    /// The seq of each group's last own message, until that is shown.
    unshown: HashMap<String, Seq>,
    leaving: CancellationToken,
}

impl LineChat {
    fn new(context: &Context, client: Option<Client>, lane: LaneChoice, device: DeviceId) -> anyhow::Result<Self> {
        let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
        let (outcome_sender, outcomes) = mpsc::channel(EVENT_QUEUE);
        // Datagrams alone prove no device, not even the person's own.
        let people = People::open(context, if client.is_some() { device } else { DeviceId::NONE })?;
        Ok(Self {
            client,
            lane,
            device,
            people,
            console: Console::open()?,
            outboxes: HashMap::new(),
            current: String::new(),
            sources: JoinSet::new(),
            events,
            event_sender,
            outcomes,
            outcome_sender,
            in_flight: 0,
            unshown: HashMap::new(),
            leaving: CancellationToken::new(),
        })
    }

    /// Joins a group if it is not joined yet, and makes it the current one.
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
        let (event_sender, leaving) = (self.event_sender.clone(), self.leaving.clone());
        self.sources.spawn(async move {
            while let Some(Ok(Some(event))) = leaving.run_until_cancelled(source.next()).await {
                if event_sender.send(event).await.is_err() {
                    break;
                }
            }
            source.close().await;
        });
        self.outboxes.insert(group.clone(), Outbox::open(group.clone(), sink, self.outcome_sender.clone()));
        self.current = group;
    }

    async fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        self.console.prompt(&self.current);
        let outcome = self.run_loop(stop).await;
        self.leaving.cancel();
        while self.sources.join_next().await.is_some() {}
        self.console.close()?;
        outcome
    }

    async fn run_loop(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(event) = self.events.recv() => {
                    self.show(event)?;
                    continue;
                }
                Some(outcome) = self.outcomes.recv() => {
                    self.handle_outcome(outcome)?;
                    continue;
                }
                input = self.console.input() => input,
                () = std::future::ready(()), if self.console.is_dirty() => {
                    self.console.flush()?;
                    continue;
                }
            };
            let typed = match input {
                Input::Line(line) => TypedLine::parse(line),
                Input::Interrupted => return Ok(()),
                Input::End => TypedLine::Quit,
            };
            if typed == TypedLine::Quit {
                return self.finish(stop).await;
            }
            self.execute(typed, stop).await?;
            self.console.prompt(&self.current);
        }
    }

    async fn execute(&mut self, typed: TypedLine, stop: &CancellationToken) -> anyhow::Result<()> {
        match typed {
            TypedLine::Nothing | TypedLine::Quit => Ok(()),
            TypedLine::Words(body) => self.publish(body, stop).await,
            TypedLine::Help => typed::HELP.lines().try_for_each(|line| self.console.notice(line)),
            TypedLine::Members => self.list_members().await,
            TypedLine::Moderate(who, what) => self.moderate(&who, what).await,
            TypedLine::Join(name) => match self.join(&name).await {
                Ok(()) => Ok(()),
                Err(error) => self.console.notice(&format!("cannot join {name}: {error:#}")),
            },
            TypedLine::Invalid(why) => self.console.notice(&why),
        }
    }

    /// Puts a message into its group's outbox; while that is full, messages are still shown.
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
                        Err(_) => self.console.notice("nothing can be sent to this group any more")?,
                    }
                    return Ok(());
                }
                Some(outcome) = self.outcomes.recv() => self.handle_outcome(outcome)?,
                Some(event) = self.events.recv() => self.show(event)?,
            }
        }
    }

    async fn moderate(&mut self, who: &str, what: Moderation) -> anyhow::Result<()> {
        let (Some(client), Ok(group)) = (&self.client, self.current.parse::<GroupName>()) else {
            return self.console.notice("with --udp-only nobody can be moderated");
        };
        let whom = WhoArgs { group, who: who.to_owned() };
        let said = match decide(client, &whom, what).await {
            Ok(person) => outcome(&person, &whom.group, what),
            Err(error) => format!("{error:#}"),
        };
        self.console.notice(&said)
    }

    async fn list_members(&mut self) -> anyhow::Result<()> {
        let (Some(client), Ok(group)) = (&self.client, self.current.parse::<GroupName>()) else {
            return self.console.notice("with --udp-only nobody knows the members");
        };
        match client.members(&group).await {
            Ok(mut members) => {
                members.iter_mut().for_each(|member| self.people.rename(&mut member.name, member.device));
                member_lines(&members).iter().try_for_each(|line| self.console.notice(line))
            }
            Err(error) => self.console.notice(&format!("cannot list the members: {error}")),
        }
    }

    fn show(&mut self, event: SourceEvent) -> anyhow::Result<()> {
        match event {
            SourceEvent::Message(mut received) => {
                if let Some(notice) = self.people.introduce(&mut received) {
                    self.console.notice(&notice)?;
                }
                self.show_message(&received)
            }
            SourceEvent::Ready { group, from, lane } => self.console.notice(&ready((&group, from, lane))),
            SourceEvent::Notice(text) | SourceEvent::Repair(text) => self.console.notice(&text),
            SourceEvent::GroupGone(why) => {
                self.console.notice(&why)?;
                if self.outboxes.len() <= 1 { Err(ended(Some(why))) } else { Ok(()) }
            }
        }
    }

    fn show_message(&mut self, received: &ReceivedMessage) -> anyhow::Result<()> {
        let own = received.device() == self.device;
        if received.content.kind.is_for_programs() {
            return Ok(());
        }
        let mark = self.people.mark(received.author_state().unwrap_or(AuthorState::Unsigned));
        let line = received.styled(self.console.style(), self.outboxes.len() > 1, mark);
        if self.unshown.get(&received.group).is_some_and(|seq| *seq <= received.message.seq) {
            self.unshown.remove(&received.group);
        }
        self.console.message(&line, !own)
    }

    fn handle_outcome(&mut self, outcome: Outcome) -> anyhow::Result<()> {
        match outcome {
            Outcome::Logged { group, seq } => {
                self.in_flight -= 1;
                self.unshown.insert(group, seq);
                Ok(())
            }
            Outcome::Failed { group, text, why } => {
                self.in_flight -= 1;
                self.console.notice(&format!("not sent to {group}: {text} ({why})"))
            }
            Outcome::Late { group, text } => {
                self.console.notice(&format!("waiting for {group}'s relay to take: {text}"))
            }
        }
    }

    /// Waits until all typed messages are acknowledged, and at most [`SHOW_TIMEOUT`] until they are shown.
    async fn finish(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut patience = None;
        while self.in_flight > 0 || !self.unshown.is_empty() {
            let until = *patience.get_or_insert_with(|| time::Instant::now() + SHOW_TIMEOUT);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(outcome) = self.outcomes.recv() => {
                    self.handle_outcome(outcome)?;
                    patience = None;
                }
                Some(event) = self.events.recv() => self.show(event)?,
                () = time::sleep_until(until), if self.in_flight == 0 => return Ok(()),
            }
        }
        Ok(())
    }
}
