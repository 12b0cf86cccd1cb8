//! What the person writes in one group: the line, what it is for, and the messages on their way.

use bytes::Bytes;
use gaung_proto::{Kind, Seq};
use gaung_terminal::sanitise::lines_of_bytes;

use super::{completion::Completion, editor::Editor};

/// Limits the messages of one group that are on their way.
const UNDER_WAY: usize = 64;

/// The composer of one group.
#[derive(Debug, Default)]
pub(crate) struct Composer {
    /// The line.
    pub(crate) editor: Editor,
    /// What the line is for.
    pub(crate) intent: ComposeIntent,
    /// The completion of the word before the cursor, while Tab is pressed again and again.
    pub(crate) completion: Option<Completion>,
    /// Messages that did not come back yet, in order.
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
    /// New words for this own message.
    Edit(Seq),
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingMessage {
    /// Counts this program's messages.
    pub(crate) number: u64,
    /// Its words, without control characters.
    pub(crate) words: String,
    /// What was published.
    pub(crate) kind: Kind,
    /// How far it is.
    pub(crate) stage: DeliveryStage,
}

/// How far a message is.
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
    /// The message that these words make.
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

    /// Makes the line a message of its own again; the words of an edited message go. False if it was one already.
    pub(crate) fn cancel_intent(&mut self) -> bool {
        let intent = std::mem::take(&mut self.intent);
        if matches!(intent, ComposeIntent::Edit(_)) {
            self.editor.cut_all();
        }
        intent != ComposeIntent::Say
    }

    /// Whether as many messages are on their way as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.iter().filter(|pending| !pending.is_failed()).count() >= UNDER_WAY
    }

    /// Shows a message as sent until it comes back, and forgets those that failed.
    pub(crate) fn sent(&mut self, number: u64, kind: &Kind) {
        self.pending.retain(|pending| !pending.is_failed());
        if let Kind::Text(body) | Kind::Reply { body, .. } = kind {
            let words = lines_of_bytes(body);
            self.pending.push(PendingMessage { number, words, kind: kind.clone(), stage: DeliveryStage::Sending });
        }
    }

    /// Marks a message as late.
    pub(crate) fn late(&mut self, number: u64) {
        if let Some(at) = self.position(number) {
            self.pending[at].stage = DeliveryStage::Late;
        }
    }

    /// A message was logged. `received`: whether it has come back already. True if it was shown as on its way.
    pub(crate) fn logged(&mut self, number: u64, seq: Seq, received: bool) -> bool {
        let Some(at) = self.position(number) else { return false };
        if received {
            self.pending.remove(at);
        } else {
            self.pending[at].stage = DeliveryStage::Logged(seq);
        }
        true
    }

    /// A message was not logged; its words return to an empty line. Gives the reason back if it was not shown.
    pub(crate) fn failed(&mut self, number: u64, why: String) -> Result<(), String> {
        let Some(at) = self.position(number) else { return Err(why) };
        self.pending[at].stage = DeliveryStage::Failed(why);
        if self.editor.is_empty() {
            self.editor.set(&self.pending[at].words.clone());
        }
        Ok(())
    }

    /// An own message was received: it need not be shown as on its way any more.
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
