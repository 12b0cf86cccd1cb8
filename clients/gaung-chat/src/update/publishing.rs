//! Publishing in one group, and what becomes of it.

use gaung_proto::Kind;

use crate::{
    effect::{Effect, PublishOutcome},
    model::{
        composer::ComposeIntent,
        context::ChatContext,
        room::{Room, RoomState},
    },
    ui_text::UiText,
};

impl Room {
    /// Publishes words as what the line is for: a message, a reply or an edit. False if they cannot be sent now.
    pub(super) fn say(&mut self, words: &str, context: &mut ChatContext) -> bool {
        let kind = self.composer.kind_of(words);
        if words.trim().is_empty() || !self.publish(kind, context) {
            return false;
        }
        self.composer.intent = ComposeIntent::Say;
        self.marks.new_from = None;
        context.clear_status();
        self.go_to_latest(context);
        true
    }

    /// Queues a message, and shows it as pending until it comes back from the log.
    pub(super) fn publish(&mut self, kind: Kind, context: &mut ChatContext) -> bool {
        let number = context.next_number();
        if matches!(self.state, RoomState::Gone) {
            context.warn(UiText::NothingCanBeSent, &[]);
            return false;
        }
        if self.composer.is_full() {
            context.warn(UiText::TooMuchUnderWay, &[]);
            return false;
        }
        self.composer.sent(number, &kind);
        context.effect(Effect::Publish { group: self.name.clone(), number, kind });
        context.touch();
        true
    }

    /// Handles the outcome of an own message.
    pub(super) fn published(&mut self, number: u64, outcome: PublishOutcome, context: &mut ChatContext) {
        match outcome {
            PublishOutcome::Late => self.composer.late(number),
            PublishOutcome::Logged(seq) => {
                let was_shown = self.composer.logged(number, seq, self.timeline.head() >= seq);
                // Edits and reactions have receipts too, but no line to show them under.
                if was_shown || self.timeline.entry(seq).is_some() {
                    context.effect(Effect::Receipts { group: self.name.clone(), seq });
                }
            }
            PublishOutcome::Failed(why) => {
                if let Err(why) = self.composer.failed(number, why) {
                    context.warn(UiText::NotSent, &[("why", &why)]);
                }
            }
        }
    }
}
