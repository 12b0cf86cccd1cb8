//! Whether a message is news to the person at the screen.

use gaung_proto::DeviceId;
use gaung_terminal::sanitise::one_line;

use crate::{
    incoming::IncomingMessage,
    model::{context::LocalUser, room::Room},
    people::mentions,
};

/// The most characters of a message that a notification shows.
const NOTIFIED: usize = 120;

/// A message of somebody else that is counted as unread until it is seen.
pub(super) struct News {
    /// Whether it names the person or replies to one of their messages.
    pub(super) is_mention: bool,
    /// The author and the group, for a notification.
    pub(super) title: String,
    /// The beginning of the message, without control characters.
    pub(super) body: String,
}

impl News {
    /// Returns what is new in a message; `None` for changes, joins and leaves, and for the person's own messages.
    pub(super) fn of(incoming: &IncomingMessage, room: &Room, me: &LocalUser) -> Option<Self> {
        let body = incoming.kind.text_body()?;
        let is_own = |device: DeviceId| device == me.device;
        if is_own(incoming.device) && !incoming.device.is_none() {
            return None;
        }
        let words = one_line(&String::from_utf8_lossy(&body[..body.len().min(4 * NOTIFIED)])).into_owned();
        let replied_to = incoming.kind.reply_to().and_then(|to| room.timeline.entry(to));
        Some(Self {
            is_mention: replied_to.is_some_and(|entry| is_own(entry.device))
                || mentions(&String::from_utf8_lossy(&body), &me.name),
            title: format!("{} · {}", incoming.name, room.name),
            body: words.chars().take(NOTIFIED).collect(),
        })
    }
}
