//! What the screen shows, and nothing of how: no terminal, no socket, no clock.
//!
//! [`Model::handle`] takes one input; afterwards [`ChatContext::next_effect`] is to be called until it gives `None`, and
//! the screen is to be drawn if [`ChatContext::take_changed`] says so.

pub(crate) mod completion;
pub(crate) mod composer;
pub(crate) mod context;
pub(crate) mod editor;
pub(crate) mod overlay;
mod read_marks;
pub(crate) mod room;
pub(crate) mod rooms;
pub(crate) mod roster;
pub(crate) mod timeline;

use context::ChatContext;
use overlay::Overlay;
use room::Room;
use rooms::Rooms;

/// Everything that the screen shows.
#[derive(Debug)]
pub(crate) struct Model {
    /// What all parts share.
    pub(crate) context: ChatContext,
    /// The address of the registry.
    pub(crate) server: String,
    /// The open groups.
    pub(crate) rooms: Rooms,
    /// What covers the conversation.
    pub(crate) overlay: Option<Overlay>,
    /// Whether the next Ctrl-C ends the chat.
    pub(crate) leaving_asked: bool,
    /// Whether the chat is to end.
    pub(crate) quit: bool,
}

impl Model {
    /// Makes a chat without a group.
    pub(crate) const fn new(context: ChatContext, server: String, rooms: Rooms) -> Self {
        Self { context, server, rooms, overlay: None, leaving_asked: false, quit: false }
    }

    /// Returns the group in view.
    pub(crate) fn room(&self) -> Option<&Room> {
        self.rooms.current()
    }
}
