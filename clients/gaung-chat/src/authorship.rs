//! What is known about who wrote a message.

use std::cell::OnceCell;

use gaung_client::{GroupInfo, KnownPeople};
use gaung_proto::{
    DeviceId, LogId,
    authorship::{Authorship, SignedContext, ends_like_signed},
    block::Message,
};

use crate::ui_text::UiText;

/// A message's signature, verified when it is first asked for: most messages of a busy group are never drawn.
#[derive(Debug, Clone, Default)]
pub(crate) struct MessageSignature {
    /// What is verified; `None` for a message that has no signature.
    signed: Option<Box<SignedMessage>>,
    verified: OnceCell<Authorship>,
}

#[derive(Debug, Clone)]
struct SignedMessage {
    context: SignedContext,
    device: DeviceId,
    payload: Vec<u8>,
}

impl MessageSignature {
    /// Takes the signature of a message of this log.
    pub(crate) fn of(group: &GroupInfo, log: LogId, message: &Message) -> Self {
        let signed = ends_like_signed(&message.payload).then(|| {
            Box::new(SignedMessage {
                context: SignedContext::of(group.id, log, message),
                device: message.author.device,
                // A copy, since the payload shares the memory of many others.
                payload: message.payload.to_vec(),
            })
        });
        Self { signed, verified: OnceCell::new() }
    }

    /// Verifies it.
    pub(crate) fn authorship(&self) -> Authorship {
        let Some(signed) = &self.signed else { return Authorship::Unsigned };
        *self.verified.get_or_init(|| Authorship::of(&signed.context, signed.device, &signed.payload))
    }

    /// Returns about how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.signed.as_ref().map_or(0, |signed| signed.payload.len() + size_of::<SignedMessage>())
    }
}

/// What is shown about the author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthorState {
    /// The device has signed it, and the person has compared its key.
    Compared,
    /// The device has signed it.
    Signed,
    /// Nobody has signed it: it may be anybody's.
    Unsigned,
    /// Its signature does not fit: it was changed, or another one wrote it.
    Broken,
}

impl AuthorState {
    /// Returns the state of a message by this device.
    pub(crate) fn of(authorship: Authorship, device: DeviceId, people: &KnownPeople) -> Self {
        match authorship {
            Authorship::Signed { .. } if people.is_compared(device) => Self::Compared,
            Authorship::Signed { .. } => Self::Signed,
            Authorship::Unsigned => Self::Unsigned,
            Authorship::Broken => Self::Broken,
        }
    }

    /// Returns what it means.
    pub(crate) const fn explanation(self) -> UiText {
        match self {
            Self::Compared => UiText::SignedByCompared,
            Self::Signed => UiText::SignedByDevice,
            Self::Unsigned => UiText::NotSigned,
            Self::Broken => UiText::SignatureBroken,
        }
    }

    /// Returns the mark behind the name of the author, one column wide.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::Compared => "✓",
            Self::Signed => " ",
            Self::Unsigned => "~",
            Self::Broken => "✗",
        }
    }
}
