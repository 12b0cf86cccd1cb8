//! Publishing in one group: messages, and changes to them.

use gaung_proto::{Kind, Seq};

use crate::{
    effect::{Effect, PublishOutcome},
    model::{
        composer::ComposeIntent,
        context::ChatContext,
        room::{Room, RoomState},
        timeline::{MessageBody, MessageEntry},
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
    fn publish(&mut self, kind: Kind, context: &mut ChatContext) -> bool {
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

    /// Replies to a message, the last one of somebody else if none is named. Without words, the next line is the reply.
    pub(super) fn reply_to(&mut self, to: Option<Seq>, words: &str, context: &mut ChatContext) {
        let own = context.me.device;
        let last = || self.timeline.newest().find(|entry| entry.device != own && entry.text().is_some());
        let Some(seq) = to.or_else(|| last().map(|entry| entry.seq)) else {
            return context.warn(UiText::NothingToReply, &[]);
        };
        self.composer.intent = ComposeIntent::Reply(seq);
        self.selected = None;
        if !words.is_empty() {
            self.say(words, context);
        }
    }

    /// Edits an own message, the last one if none is named. Without words, those of the message are put into the line.
    pub(super) fn edit(&mut self, seq: Option<Seq>, words: &str, context: &mut ChatContext) {
        let Some(entry) = self.own_message(seq, context) else { return context.warn(UiText::NotYours, &[]) };
        let (seq, former) = (entry.seq, entry.text().unwrap_or_default().to_owned());
        self.selected = None;
        self.composer.intent = ComposeIntent::Edit(seq);
        if words.is_empty() {
            self.composer.editor.set(&former);
        } else {
            self.say(words, context);
        }
    }

    /// Deletes an own message, the last one if none is named.
    pub(super) fn delete(&mut self, seq: Option<Seq>, context: &mut ChatContext) {
        let Some(entry) = self.own_message(seq, context) else { return context.warn(UiText::NotYours, &[]) };
        let seq = entry.seq;
        self.selected = None;
        self.publish(Kind::Delete { seq }, context);
    }

    /// Reacts to a message, or removes a reaction; to the last one of somebody else if none is named.
    pub(super) fn react(&mut self, to: Option<Seq>, emoji: String, remove: bool, context: &mut ChatContext) {
        let own = context.me.device;
        let last = || {
            let mut newest = self.timeline.newest();
            newest
                .find(|entry| entry.body != MessageBody::Deleted && (remove || entry.device != own))
                .map(|entry| entry.seq)
        };
        match to.or_else(last) {
            Some(seq) => drop(self.publish(Kind::React { seq, emoji, remove }, context)),
            None => context.warn(UiText::NothingToReply, &[]),
        }
    }

    /// Returns a message of this device that still has words: the one named, or the last one.
    fn own_message(&self, seq: Option<Seq>, context: &ChatContext) -> Option<&MessageEntry> {
        self.timeline.newest().find(|entry| {
            entry.device == context.me.device && entry.text().is_some() && seq.is_none_or(|seq| entry.seq == seq)
        })
    }
}
