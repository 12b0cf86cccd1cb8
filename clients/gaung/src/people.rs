//! Names authors and members as this device knows them, and keeps whom it meets.

use gaung_client::{AuthorState, KnownPeople, PeopleFile};
use gaung_proto::DeviceId;
use gaung_terminal::sanitise::one_line;

use crate::{context::Context, output::say, render::line::ReceivedMessage};

/// The people that this device knows, with their file.
#[derive(Debug)]
pub(crate) struct People {
    known: KnownPeople,
    file: PeopleFile,
    own: DeviceId,
    has_failed: bool,
}

impl People {
    /// Reads whom the device `own` knows. The person's name is that device's; with [`DeviceId::NONE`] it is nobody's.
    ///
    /// # Errors
    /// The file in the data folder cannot be read.
    pub(crate) fn open(context: &Context, own: DeviceId) -> anyhow::Result<Self> {
        let file = PeopleFile::of(&context.data_dir);
        let mut known = file.load()?;
        known.meet(context.name.as_str(), own, own);
        Ok(Self { known, file, own, has_failed: false })
    }

    /// Names the author of a message; returns a notice if the device is shown apart for the first time.
    pub(crate) fn introduce(&mut self, received: &mut ReceivedMessage) -> Option<String> {
        let shown = self.known.meet(&received.author(), received.device(), self.own);
        self.keep();
        let notice = shown.is_news.then(|| {
            format!("another device had the name {} first: this one is shown as {}", received.author(), shown.name)
        });
        if shown.name != received.author() {
            received.content.author_name = shown.name;
        }
        notice
    }

    /// Replaces the name of a device by how it is shown, without control characters, unless it has none.
    pub(crate) fn rename(&mut self, name: &mut String, device: DeviceId) {
        if !name.is_empty() {
            *name = self.known.meet(&one_line(name), device, self.own).name;
            self.keep();
        }
    }

    /// Returns the mark behind the name of an author: `✓` signed, with a key that the person has compared, nothing if signed,
    /// `…` not known yet, `~` not signed, `✗` the signature does not fit.
    pub(crate) fn mark(&self, state: AuthorState) -> &'static str {
        match state {
            AuthorState::Signed(device) if self.known.is_compared(device) => "✓",
            AuthorState::Signed(_) => "",
            AuthorState::Pending => "…",
            AuthorState::Unsigned => "~",
            AuthorState::Broken => "✗",
        }
    }

    /// Returns what scripts read about an author.
    pub(crate) fn state_name(&self, state: AuthorState) -> &'static str {
        match state {
            AuthorState::Signed(device) if self.known.is_compared(device) => "verified",
            AuthorState::Signed(_) => "signed",
            AuthorState::Pending => "pending",
            AuthorState::Unsigned => "unsigned",
            AuthorState::Broken => "broken",
        }
    }

    fn keep(&mut self) {
        let lines: Vec<String> = std::iter::from_fn(|| self.known.poll_unsaved()).collect();
        if let Err(error) = self.file.append(&lines)
            && !std::mem::replace(&mut self.has_failed, true)
        {
            say(&format!("whom this device has met is not kept: {error}"));
        }
    }
}
