//! Of which messages a person is notified, and how.

use super::command::NotifyChange;
use crate::{
    settings::{Desktop, Notify, Settings},
    ui_text::{Lang, UiText},
};

impl Settings {
    /// Returns whether the person is to be notified of a message.
    pub(super) const fn wants(&self, is_mention: bool) -> bool {
        match self.notify {
            Notify::All => true,
            Notify::Mentions => is_mention,
            Notify::Off => false,
        }
    }

    /// Changes the notifications.
    pub(super) const fn change(&mut self, change: NotifyChange) {
        match change {
            NotifyChange::Of(notify) => self.notify = notify,
            NotifyChange::Bell(on) => self.bell = on,
            NotifyChange::Desktop(desktop) => self.desktop = desktop,
        }
    }

    /// Returns the notifications in one line.
    pub(super) fn notify_summary(&self, lang: Lang) -> String {
        let of = match self.notify {
            Notify::Mentions => UiText::NotifyMentions,
            Notify::All => UiText::NotifyAll,
            Notify::Off => UiText::NotifyOff,
        };
        let switch = |on| lang.text(if on { UiText::On } else { UiText::Off });
        let desktop = match self.desktop {
            Desktop::Auto => switch(true),
            Desktop::Osc9 => "OSC 9",
            Desktop::Osc777 => "OSC 777",
            Desktop::Off => switch(false),
        };
        lang.fill(UiText::NotifyNow, &[("of", lang.text(of)), ("bell", switch(self.bell)), ("desktop", desktop)])
    }
}
