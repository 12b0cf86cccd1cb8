//! The full-screen chat: the loop between keys, services and picture. The model decides what anything means.
//!
//! [`model`] is what is shown, [`update`] what an input makes of it and which effects it wants, [`view`] a picture of it in a
//! buffer; [`rows`] is the text that the view draws and by whose rows the update scrolls. None of them does I/O or knows the
//! time, so that tests press keys and compare pictures. [`net`] runs each effect on the services as a task whose answer is an
//! input.
//!
//! - **Keys first, then the picture, then what arrived**: the loop takes them in this order, at most 256 inputs at a time,
//!   and draws at most 60 times a second, at once when it was idle. While ten thousand messages a second arrive, a key is
//!   echoed as fast as without them. A listener that is not read waits, and catches up from the log.
//! - **A group is a window over its log**, at most 3000 lines or 4 MiB, dense in seq. It is live while it reaches the head;
//!   scrolled up it drops its lower end, and is read again towards it. Edits, deletions and reactions are kept by their
//!   target and applied whenever it is in the window, whichever was read first; the first two only where the device is the
//!   author's.
//! - **Rows are made of what is visible**, from the lowest upwards, so that nothing depends on how much there is above.
//! - **Own messages are shown at once**, dim, until they come back with their seq: what the log says is what is shown.
//! - **`/me` is text that begins with `/me `**: a client that knows nothing of it shows it as it was typed.
//! - **Arrivals and departures come from the registry**, requested every five seconds for the group in view; neighbouring ones
//!   are folded into one line.
//! - **Stderr goes through a pipe while the screen is up**: the log of `gaung up` is shown in the bottom line and printed at
//!   the end.
//! - **All texts are in one catalogue** ([`ui_text`]), each in both languages, or it does not compile; a test finds texts
//!   elsewhere.

mod authorship;
mod effect;
mod incoming;
mod layout;
mod model;
mod net;
mod notify;
mod people;
mod rows;
mod settings;
mod state_writer;
mod stderr;
mod stored_state;
mod terminal;
#[cfg(test)]
mod test_chat;
mod theme;
mod typed_moderation;
mod ui_text;
mod update;
mod view;

use std::{
    env,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crossterm::event::{Event as TerminalEvent, EventStream};
use gaung_client::{Client, LaneChoice, MetSite, PeopleFile};
use gaung_proto::{GroupName, name::EVERYONE};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use effect::{Effect, Input};
use model::{
    Model,
    context::{ChatContext, LocalUser},
    rooms::Rooms,
};
use net::ServiceTasks;
use state_writer::StateWriter;
use stderr::StderrCapture;
use stored_state::StoredState;
use terminal::{ScreenSize, TerminalScreen};
use theme::Theme;
use ui_text::{UiText, Zone};

pub use theme::Background;
pub use typed_moderation::{MODERATION_COMMANDS, parse_moderation};
pub use ui_text::Lang;

/// The shortest time between two frames: 60 frames a second.
const FRAME: Duration = Duration::from_micros(16_667);
/// How many inputs may wait for the loop; the tasks that send them then wait too.
const INPUT_QUEUE: usize = 256;
/// How long the end waits for acknowledgements of own messages.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after a change of a draft it is stored at the latest.
const STORE_DRAFTS: Duration = Duration::from_secs(2);
/// How often read positions are stored while nothing is typed.
const STORE_POSITIONS: Duration = Duration::from_secs(30);

/// The choices with which a chat starts.
#[derive(Debug, Clone, Default)]
pub struct ScreenOptions {
    /// The groups to open besides those that were open the last time; the first one is in view.
    pub groups: Vec<GroupName>,
    /// The lanes that messages may come by.
    pub lane: LaneChoice,
    /// The language; that of the environment if `None`.
    pub lang: Option<Lang>,
    /// The background of the terminal.
    pub background: Background,
    /// The commands by which others join, if this process runs the services.
    pub join_commands: Vec<String>,
}

/// Runs the chat until `stop`, or until the person quits.
///
/// # Errors
/// If the terminal cannot be used, or has gone.
pub async fn run(client: Client, options: ScreenOptions, stop: &CancellationToken) -> anyhow::Result<()> {
    let (sender, inputs) = mpsc::channel(INPUT_QUEUE);
    let file = stored_state::path(client.device_id());
    let stored = file.as_deref().map(StoredState::read).unwrap_or_default();
    let mut model = initial_model(&client, options.clone(), &stored);
    let people_file = client.people_file();
    model.context.people = people_file.load()?;
    model.context.meet(&client.name(), client.device_id());
    let theme = Theme::of(options.background, |name| env::var(name).ok());
    let stderr = StderrCapture::start(sender.clone())?;
    let terminal = TerminalScreen::open(theme, model.context.settings.mouse)?;
    let notifier = notify::Notifier::of_environment(|name| env::var(name).ok());
    let state_writer = StateWriter::of(&model, file);
    let mut chat = ChatLoop {
        model,
        terminal,
        services: ServiceTasks::new(client, sender),
        inputs,
        notifier,
        state_writer,
        people_file,
    };
    let outcome = chat.run(stop).await;
    let ChatLoop { model, terminal, services, inputs, state_writer, .. } = chat;
    // The person gets the terminal back before the state is written and the groups are left.
    drop(terminal);
    drop(stderr);
    drop(inputs);
    state_writer.close(&model).await;
    services.close().await;
    outcome
}

/// Makes the model with the groups that were open the last time and those in `options`.
fn initial_model(client: &Client, options: ScreenOptions, stored: &StoredState) -> Model {
    let lang = options.lang.unwrap_or_else(|| Lang::of_environment(|name| env::var(name).ok()));
    let me = LocalUser {
        device: client.device_id(),
        client: client.client_id(),
        public_key: client.public_key(),
        name: client.name(),
    };
    let server = client.server();
    let mut context = ChatContext::new(lang, Zone::Local, me, stored.settings);
    context.tick(now_us());
    let mut rooms = Rooms::new(options.lane);
    let before = stored.open.get(&server).into_iter().flatten().filter_map(|name| name.parse().ok());
    let mut names: Vec<GroupName> = before.collect();
    names.extend(options.groups.iter().cloned());
    if names.is_empty() {
        names.push(EVERYONE.parse().expect("a valid name"));
    }
    for name in names {
        if rooms.index_of(&name).is_none() {
            let index = rooms.open(name.clone());
            if let Some(stored) = stored.room(&server, name.as_str()) {
                rooms.restore(index, stored);
            }
            rooms.enter(index, &mut context);
        }
    }
    if let Some(index) = options.groups.first().and_then(|name| rooms.index_of(name)) {
        rooms.turn_to(index);
    }
    context.effect(Effect::Groups);
    if let Some(met) = client.site().filter(MetSite::is_first_contact) {
        rooms.greeting = Some(lang.fill(UiText::FirstContact, &[("code", &met.id.code().to_string())]));
    }
    if !options.join_commands.is_empty() {
        rooms.greeting = Some(lang.fill(UiText::Joining, &[("commands", &options.join_commands.join(" · "))]));
    }
    Model::new(context, server, rooms)
}

/// The loop, with everything that it reads and writes.
struct ChatLoop {
    model: Model,
    terminal: TerminalScreen,
    services: ServiceTasks,
    inputs: mpsc::Receiver<Input>,
    notifier: notify::Notifier,
    state_writer: StateWriter,
    people_file: PeopleFile,
}

impl ChatLoop {
    async fn run(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut terminal_events = EventStream::new();
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut batch, mut frame_at) = (Vec::with_capacity(INPUT_QUEUE), Instant::now());
        let (mut dirty, mut leaving_at) = (true, None);
        self.resized(self.terminal.size());
        loop {
            self.run_effects()?;
            self.keep_people();
            dirty |= self.model.context.take_changed();
            if self.model.quit && leaving_at.is_none() {
                leaving_at = Some(Instant::now() + CLOSE_TIMEOUT);
            }
            if leaving_at.is_some_and(|at| !self.services.is_publishing() || at <= Instant::now()) {
                return Ok(());
            }
            tokio::select! {
                // What arrives comes last, since there may be no end of it.
                biased;
                () = stop.cancelled() => return Ok(()),
                event = terminal_events.next() => match event {
                    Some(event) => self.terminal_event(event?),
                    None => return Ok(()),
                },
                () = sleep_until(frame_at), if dirty => {
                    self.terminal.draw(&self.model)?;
                    dirty = false;
                    frame_at = Instant::now() + FRAME;
                }
                _ = self.inputs.recv_many(&mut batch, INPUT_QUEUE) => {
                    batch.drain(..).for_each(|input| self.model.handle(input));
                }
                _ = seconds.tick() => {
                    self.state_writer.write_within(STORE_POSITIONS);
                    self.model.handle(Input::Tick(now_us()));
                }
                failed = self.state_writer.run(&self.model) => {
                    if let Some(why) = failed {
                        self.model.show_status(why, true);
                    }
                }
                () = sleep_until(leaving_at.unwrap_or(frame_at)), if leaving_at.is_some() => {}
            }
        }
    }

    fn terminal_event(&mut self, event: TerminalEvent) {
        let input = match event {
            TerminalEvent::Key(key) => Input::Key(key),
            TerminalEvent::Paste(text) => Input::Paste(text),
            TerminalEvent::Mouse(event) => Input::Mouse(event),
            TerminalEvent::Resize(columns, rows) => return self.resized(ScreenSize::reported((columns, rows))),
            TerminalEvent::FocusGained => Input::Focus(true),
            TerminalEvent::FocusLost => Input::Focus(false),
        };
        // It may have changed a draft.
        self.state_writer.write_within(STORE_DRAFTS);
        self.model.handle(input);
    }

    fn resized(&mut self, size: ScreenSize) {
        self.model.handle(Input::Resize(size.columns, size.rows));
        if size.is_assumed {
            let (columns, rows) = (size.columns.to_string(), size.rows.to_string());
            let text = self.model.context.lang.fill(UiText::SizeAssumed, &[("columns", &columns), ("rows", &rows)]);
            self.model.show_status(text, true);
        }
    }

    /// Keeps whom the person met since the last call.
    fn keep_people(&mut self) {
        let people = &mut self.model.context.people;
        let lines: Vec<String> = std::iter::from_fn(|| people.poll_unsaved()).collect();
        if let Err(error) = self.people_file.append(&lines) {
            self.model.show_status(error.to_string(), true);
        }
    }

    fn run_effects(&mut self) -> anyhow::Result<()> {
        while let Some(effect) = self.model.context.next_effect() {
            match effect {
                Effect::Notify { title, body } => {
                    self.terminal.send(&self.notifier.bytes(self.model.context.settings, &title, &body))?;
                }
                Effect::Mouse(on) => self.terminal.capture_mouse(on)?,
                Effect::Redraw => self.terminal.redraw()?,
                Effect::Save => self.state_writer.write_within(STORE_DRAFTS),
                request @ (Effect::Enter { .. }
                | Effect::Leave { .. }
                | Effect::Publish { .. }
                | Effect::Read { .. }
                | Effect::Search { .. }
                | Effect::Members(_)
                | Effect::Receipts { .. }
                | Effect::Create { .. }
                | Effect::Invite { .. }
                | Effect::Redeem(_)
                | Effect::Moderate { .. }
                | Effect::Groups
                | Effect::Status { .. }
                | Effect::Rename(_)) => self.services.run(request),
            }
        }
        Ok(())
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
