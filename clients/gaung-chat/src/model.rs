//! What the screen shows, and nothing of how: no terminal, no socket, no clock.
//!
//! [`Model::handle`] takes one input; afterwards [`Model::next_effect`] is to be called until it gives `None`, and the
//! screen is to be drawn if [`Model::take_changed`] says so.

pub(crate) mod completion;
pub(crate) mod composer;
pub(crate) mod editor;
mod outbox;
pub(crate) mod overlay;
mod read_marks;
pub(crate) mod room;
pub(crate) mod rooms;
pub(crate) mod roster;
pub(crate) mod timeline;

use gaung_client::LaneChoice;
use gaung_proto::{ClientId, DeviceId};

use super::{
    effect::Effect,
    settings::Settings,
    words::{Lang, Word, Zone},
};
use completion::Completion;
use gaung_terminal::wrap::columns;
use outbox::Outbox;
use overlay::Overlay;
use room::Room;
use rooms::Rooms;
use timeline::{Notice, What};

/// How long a line at the bottom stays, µs.
const FLASH_US: u64 = 8_000_000;

/// Who sits at this screen.
#[derive(Debug, Clone)]
pub(crate) struct Me {
    /// Its device.
    pub(crate) device: DeviceId,
    /// This process.
    pub(crate) client: ClientId,
    /// As others see it.
    pub(crate) name: String,
}

/// Everything that the screen shows.
#[derive(Debug)]
pub(crate) struct Model {
    /// In which language.
    pub(crate) lang: Lang,
    /// In which time zone.
    pub(crate) zone: Zone,
    /// Who sits here.
    pub(crate) me: Me,
    /// The registry.
    pub(crate) server: String,
    /// How messages of groups shall come that are opened.
    pub(crate) choice: LaneChoice,
    /// The open groups.
    pub(crate) rooms: Rooms,
    /// What lies over the screen.
    pub(crate) overlay: Option<Overlay>,
    /// What the person chose.
    pub(crate) settings: Settings,
    /// The terminal is looked at; `None` if it does not tell.
    pub(crate) focused: Option<bool>,
    /// Columns and rows.
    pub(crate) size: (u16, u16),
    /// µs since 1970.
    pub(crate) now_us: u64,
    /// Completion under way.
    pub(crate) completion: Option<Completion>,
    /// One more Ctrl-C ends it.
    pub(crate) leaving_asked: bool,
    /// The end.
    pub(crate) quit: bool,
    /// Said in the first group once it is open.
    pub(crate) greeting: Option<String>,
    flash: Option<Flash>,
    outbox: Outbox,
    numbers: u64,
}

/// A line at the bottom.
#[derive(Debug, Clone)]
pub(crate) struct Flash {
    /// Harmless.
    pub(crate) text: String,
    /// Something failed.
    pub(crate) trouble: bool,
    until_us: u64,
}

impl Model {
    /// No group yet.
    pub(crate) fn new(lang: Lang, zone: Zone, me: Me, server: String, choice: LaneChoice, settings: Settings) -> Self {
        Self {
            lang,
            zone,
            me,
            server,
            choice,
            rooms: Rooms::default(),
            overlay: None,
            settings,
            focused: None,
            size: (80, 24),
            now_us: 0,
            completion: None,
            leaving_asked: false,
            quit: false,
            greeting: None,
            flash: None,
            outbox: Outbox::default(),
            numbers: 0,
        }
    }

    /// The group that is looked at.
    pub(crate) fn room(&self) -> Option<&Room> {
        self.rooms.current()
    }

    /// The group that is looked at, to change it.
    pub(crate) fn room_mut(&mut self) -> Option<&mut Room> {
        self.rooms.current_mut()
    }

    /// A number for another message.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Shows a line at the bottom for a while; one that has no room there stands in the conversation.
    pub(crate) fn flash(&mut self, text: String, trouble: bool) {
        let now_us = self.now_us;
        if columns(&text) + 2 > usize::from(self.size.0)
            && let Some(room) = self.room_mut().filter(|room| room.at_end())
        {
            room.timeline.note(What::Notice(Notice { text, trouble }), now_us);
            return self.touch();
        }
        self.flash = Some(Flash { text, trouble, until_us: self.now_us + FLASH_US });
        self.touch();
    }

    /// Shows a text of the catalogue there.
    pub(crate) fn tell(&mut self, word: Word, values: &[(&str, &str)]) {
        self.flash(self.lang.fill(word, values), false);
    }

    /// The same for something that does not work.
    pub(crate) fn warn(&mut self, word: Word, values: &[(&str, &str)]) {
        self.flash(self.lang.fill(word, values), true);
    }

    /// The line at the bottom.
    pub(crate) const fn flashing(&self) -> Option<&Flash> {
        self.flash.as_ref()
    }

    /// Takes the line at the bottom away.
    pub(crate) fn unflash(&mut self) {
        if self.flash.take().is_some() {
            self.touch();
        }
    }

    /// The time, which takes old lines away.
    pub(crate) fn tick(&mut self, now_us: u64) {
        self.now_us = now_us;
        if self.flash.as_ref().is_some_and(|flash| flash.until_us <= now_us) {
            self.unflash();
        }
    }

    /// Asks for an effect.
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.outbox.push(effect);
    }

    /// Takes the next effect.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.outbox.pop()
    }

    /// Asks for the screen to be drawn.
    pub(crate) const fn touch(&mut self) {
        self.outbox.touch();
    }

    /// Returns true once after each change of what the screen shows.
    pub(crate) const fn take_changed(&mut self) -> bool {
        self.outbox.take_changed()
    }

    /// Notifies the person, at most once a second.
    pub(crate) fn notify_person(&mut self, title: String, body: String) {
        self.outbox.notify(self.now_us, title, body);
    }

    /// The newest message of a group is looked at.
    pub(crate) fn is_seen(&self, index: usize) -> bool {
        index == self.rooms.current_index() && self.focused != Some(false) && self.rooms[index].at_end()
    }
}
