//! What the parts of the chat share: who reads, on which screen and when, and what the program has yet to do.

use std::collections::VecDeque;

use gaung_client::{KnownPeople, ShownName};
use gaung_proto::{ClientId, DeviceId};
use gaung_terminal::wrap::columns;

use super::timeline::Notice;
use crate::{
    effect::Effect,
    incoming::IncomingMessage,
    settings::Settings,
    ui_text::{Lang, UiText, Zone},
};

/// How long a status message is shown, in µs.
const STATUS_US: u64 = 8_000_000;

/// The person at this screen.
#[derive(Debug, Clone)]
pub(crate) struct LocalUser {
    /// The device, which is the same in every process of this person.
    pub(crate) device: DeviceId,
    /// This process.
    pub(crate) client: ClientId,
    /// The public key of the device.
    pub(crate) public_key: [u8; 32],
    /// The name that others see.
    pub(crate) name: String,
}

/// The reader, the screen and the clock, and a queue of effects.
///
/// Each part of the model that handles an input is given this to read from and to report to; none of them knows the
/// others.
#[derive(Debug)]
pub(crate) struct ChatContext {
    /// The language of the screen.
    pub(crate) lang: Lang,
    /// The time zone of the clock that is shown.
    pub(crate) zone: Zone,
    /// The person.
    pub(crate) me: LocalUser,
    /// Whom the person knows.
    pub(crate) people: KnownPeople,
    /// What the person chose.
    pub(crate) settings: Settings,
    /// Whether the terminal has the focus; `None` if it does not report that.
    pub(crate) focused: Option<bool>,
    /// Columns and rows of the terminal.
    pub(crate) size: (u16, u16),
    /// The time, in µs since 1970; it advances once a second.
    pub(crate) now_us: u64,
    status: Option<StatusMessage>,
    /// Status messages that are wider than the screen.
    wide: Vec<Notice>,
    effects: VecDeque<Effect>,
    changed: bool,
    notified_us: Option<u64>,
    last_number: u64,
}

/// A message that the status line shows for a while.
#[derive(Debug, Clone)]
pub(crate) struct StatusMessage {
    /// The text, without control characters.
    pub(crate) text: String,
    /// Whether something failed.
    pub(crate) is_error: bool,
    until_us: u64,
}

impl ChatContext {
    /// Makes a context for a screen of 80 columns and 24 rows that was never drawn.
    pub(crate) fn new(lang: Lang, zone: Zone, me: LocalUser, settings: Settings) -> Self {
        Self {
            lang,
            zone,
            me,
            people: KnownPeople::default(),
            settings,
            focused: None,
            size: (80, 24),
            now_us: 0,
            status: None,
            wide: Vec::new(),
            effects: VecDeque::new(),
            changed: true,
            notified_us: None,
            last_number: 0,
        }
    }

    /// Sets the clock, and removes the status message once its time is over.
    pub(crate) fn tick(&mut self, now_us: u64) {
        self.now_us = now_us;
        if self.status.as_ref().is_some_and(|status| status.until_us <= now_us) {
            self.clear_status();
        }
    }

    /// Returns how the name of a device is shown, and whether it is shown apart for the first time.
    pub(crate) fn meet(&mut self, name: &str, device: DeviceId) -> ShownName {
        self.people.meet(name, device, self.me.device)
    }

    /// Names the author of a message as this person knows the device; true if it is shown apart for the first time.
    pub(crate) fn introduce(&mut self, incoming: &mut IncomingMessage) -> bool {
        let shown = self.meet(&incoming.name, incoming.device);
        incoming.name = shown.name;
        shown.is_news
    }

    /// Queues an effect.
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Takes the next effect.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Marks the screen as changed.
    pub(crate) const fn touch(&mut self) {
        self.changed = true;
    }

    /// Returns true once after each change of what the screen shows.
    pub(crate) const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// Returns a number by which an answer finds the message or the list that it belongs to.
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Shows a text in the status line. One that is too wide for it is kept for [`Self::take_wide`].
    pub(crate) fn status(&mut self, text: String, is_error: bool) {
        if columns(&text) + 2 > usize::from(self.size.0) {
            self.wide.push(Notice { text, is_error });
        } else {
            self.show_status(text, is_error);
        }
    }

    /// Takes the status messages that are wider than the screen, for which the conversation has room.
    pub(crate) fn take_wide(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.wide)
    }

    /// Shows a text in the status line however wide it is.
    pub(crate) fn show_status(&mut self, text: String, is_error: bool) {
        self.status = Some(StatusMessage { text, is_error, until_us: self.now_us + STATUS_US });
        self.touch();
    }

    /// Shows a text of the catalogue in the status line.
    pub(crate) fn inform(&mut self, word: UiText, values: &[(&str, &str)]) {
        self.status(self.lang.fill(word, values), false);
    }

    /// Shows an error of the catalogue in the status line.
    pub(crate) fn warn(&mut self, word: UiText, values: &[(&str, &str)]) {
        self.status(self.lang.fill(word, values), true);
    }

    /// Returns the message that the status line shows.
    pub(crate) const fn status_message(&self) -> Option<&StatusMessage> {
        self.status.as_ref()
    }

    /// Removes the message from the status line.
    pub(crate) fn clear_status(&mut self) {
        if self.status.take().is_some() {
            self.touch();
        }
    }

    /// Notifies the person, at most once for each value of the clock: ten thousand bells in a second say no more than
    /// one.
    pub(crate) fn notify(&mut self, title: String, body: String) {
        if self.notified_us.replace(self.now_us) != Some(self.now_us) {
            self.effect(Effect::Notify { title, body });
        }
    }
}
