//! What the person writes in one group: the line, what it is for, and the messages that are pending.

use bytes::Bytes;
use gaung_proto::{Kind, Seq};
use gaung_terminal::sanitise::lines_of_bytes;

use super::{completion::Completion, editor::Editor};

/// The most pending messages of one group.
const MAX_PENDING: usize = 64;

/// The line of one group and its pending messages.
#[derive(Debug, Default)]
pub(crate) struct Composer {
    /// The line.
    pub(crate) editor: Editor,
    /// What the line is for.
    pub(crate) intent: ComposeIntent,
    /// The completion of the word before the cursor, while Tab is pressed again and again.
    pub(crate) completion: Option<Completion>,
    /// The messages that have not come back from the log, in order.
    pub(crate) pending: Vec<PendingMessage>,
}

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ComposeIntent {
    /// A message of its own.
    #[default]
    Say,
    /// A reply to this message.
    Reply(Seq),
    /// A new text for this own message.
    Edit(Seq),
}

/// An own message that has not come back from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingMessage {
    /// Its number among the messages of this process.
    pub(crate) number: u64,
    /// Its text, without control characters.
    pub(crate) words: String,
    /// The content that was published.
    pub(crate) kind: Kind,
    /// The stage of its delivery.
    pub(crate) stage: DeliveryStage,
}

/// The stage of a message's delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeliveryStage {
    /// Sent, and not acknowledged.
    Sending,
    /// Not acknowledged for longer than usual.
    Late,
    /// Acknowledged with this seq, and not received back.
    Logged(Seq),
    /// Not logged, for this reason.
    Failed(String),
}

impl Composer {
    /// Returns the content that these words make.
    pub(crate) fn kind_of(&self, words: &str) -> Kind {
        let body = Bytes::copy_from_slice(words.as_bytes());
        match self.intent {
            ComposeIntent::Say => Kind::Text(body),
            ComposeIntent::Reply(to) => Kind::Reply { to, body },
            ComposeIntent::Edit(seq) => Kind::Edit { seq, body },
        }
    }

    /// Clears the line and what it is for; false if there was nothing to clear.
    pub(crate) fn clear(&mut self) -> bool {
        if self.editor.is_empty() && self.intent == ComposeIntent::Say {
            return false;
        }
        self.editor.cut_all();
        self.intent = ComposeIntent::Say;
        true
    }

    /// Cancels a reply or an edit, whose text is removed. False if the line was a message of its own.
    pub(crate) fn cancel_intent(&mut self) -> bool {
        let intent = std::mem::take(&mut self.intent);
        if matches!(intent, ComposeIntent::Edit(_)) {
            self.editor.cut_all();
        }
        intent != ComposeIntent::Say
    }

    /// Returns whether as many messages are pending as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.iter().filter(|pending| !pending.is_failed()).count() >= MAX_PENDING
    }

    /// Adds a pending message, and removes those that failed.
    pub(crate) fn sent(&mut self, number: u64, kind: &Kind) {
        self.pending.retain(|pending| !pending.is_failed());
        if let Some(body) = kind.text_body() {
            let words = lines_of_bytes(&body);
            self.pending.push(PendingMessage { number, words, kind: kind.clone(), stage: DeliveryStage::Sending });
        }
    }

    /// Marks a message as late.
    pub(crate) fn late(&mut self, number: u64) {
        if let Some(at) = self.position(number) {
            self.pending[at].stage = DeliveryStage::Late;
        }
    }

    /// Marks a message as logged; removes it if `received` says that it has come back already. False if it was not shown.
    pub(crate) fn logged(&mut self, number: u64, seq: Seq, received: bool) -> bool {
        let Some(at) = self.position(number) else { return false };
        if received {
            self.pending.remove(at);
        } else {
            self.pending[at].stage = DeliveryStage::Logged(seq);
        }
        true
    }

    /// Marks a message as failed, and puts its text into the line if that is empty. Returns the reason if it was not shown.
    pub(crate) fn failed(&mut self, number: u64, why: String) -> Result<(), String> {
        let Some(at) = self.position(number) else { return Err(why) };
        self.pending[at].stage = DeliveryStage::Failed(why);
        if self.editor.is_empty() {
            self.editor.set(&self.pending[at].words.clone());
        }
        Ok(())
    }

    /// Removes the pending message that came back from the log.
    pub(crate) fn received(&mut self, seq: Seq, kind: &Kind) {
        let found = self.pending.iter().position(|pending| match pending.stage {
            DeliveryStage::Logged(logged) => logged == seq,
            DeliveryStage::Sending | DeliveryStage::Late => pending.kind == *kind,
            DeliveryStage::Failed(_) => false,
        });
        if let Some(at) = found {
            self.pending.remove(at);
        }
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.pending.iter().position(|pending| pending.number == number)
    }
}

impl PendingMessage {
    const fn is_failed(&self) -> bool {
        matches!(self.stage, DeliveryStage::Failed(_))
    }
}
