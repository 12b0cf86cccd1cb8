//! Which messages of a log moderators have hidden.

use std::collections::BTreeSet;

use gaung_proto::{
    Content, ContentType, GroupId, GroupName, Kind, LogId, Seq, authorship::Authorship, block::Message, policy::Role,
};

use crate::{
    client::Client,
    error::ClientError,
    history::{HistoryMessage, HistoryPage},
    moderation::GroupPolicy,
};

/// Limits the hidden messages that are remembered; above it those with the lowest seqs are shown again.
const MAX_HIDDEN: usize = 65_536;

impl GroupPolicy {
    /// Returns the message that `message` of the log `log` hides. It hides one if its author has signed it, has a role in the group
    /// by this policy, and names an earlier message.
    #[must_use]
    pub fn hidden_by(&self, log: LogId, message: &Message) -> Option<Seq> {
        if message.content_type != ContentType::Moderate {
            return None;
        }
        let Kind::Moderate { seq } = Content::decode(message.content_type, &message.payload).kind else { return None };
        let signer = Authorship::of_message(self.group.id, log, message).signer()?;
        (seq < message.seq && self.role(signer) >= Role::Moderator).then_some(seq)
    }
}

/// The messages of a group that its moderators have hidden, as far as its log was read.
#[derive(Debug, Clone)]
pub struct HiddenMessages {
    policy: GroupPolicy,
    log: LogId,
    seqs: BTreeSet<Seq>,
}

impl HiddenMessages {
    /// Creates an empty set for a group. `policy` says who may hide messages.
    #[must_use]
    pub const fn new(policy: GroupPolicy) -> Self {
        Self { log: policy.group.log, policy, seqs: BTreeSet::new() }
    }

    /// Returns the group.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.policy.group.id
    }

    /// Returns whether anybody may hide messages of the group; in one without an owner nobody may.
    #[must_use]
    pub const fn are_possible(&self) -> bool {
        self.policy.group.owner.is_some()
    }

    /// Takes a message of the log `log`, which may hide another one. The messages may come in any order.
    pub fn handle_message(&mut self, log: LogId, message: &Message) {
        if log != self.log {
            // The seqs of another log are counted anew.
            (self.log, self.seqs) = (log, BTreeSet::new());
        }
        if let Some(seq) = self.policy.hidden_by(log, message) {
            self.seqs.insert(seq);
            if self.seqs.len() > MAX_HIDDEN {
                self.seqs.pop_first();
            }
        }
    }

    /// Returns whether the words of a message are hidden: it was hidden itself, or it is an edit of one that was.
    #[must_use]
    pub fn hide(&self, log: LogId, seq: Seq, kind: &Kind) -> bool {
        let edited = if let Kind::Edit { seq, .. } = kind { Some(*seq) } else { None };
        log == self.log && (self.seqs.contains(&seq) || edited.is_some_and(|seq| self.seqs.contains(&seq)))
    }
}

impl Client {
    /// Reads a group's log from `from` to its end, to learn which of its messages moderators have hidden.
    ///
    /// # Errors
    /// As [`Client::policy`] and [`Client::history`].
    pub async fn hidden_messages(&self, group: &GroupName, from: Seq) -> Result<HiddenMessages, ClientError> {
        let mut hidden = HiddenMessages::new(self.policy(group).await?);
        if hidden.are_possible() {
            let mut history = self.history(group, HistoryPage::From(from), None).await?;
            while let Some(next) = history.next().await {
                let HistoryMessage { log, message, .. } = next?;
                hidden.handle_message(log, &message);
            }
        }
        Ok(hidden)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use ed25519_dalek::SigningKey;
    use gaung_proto::{
        ClientId, ClientSeq, DeviceId,
        authorship::{self, SeenCheckpoint, SignedContext},
        block::{Author, SentAt},
        policy::{Policy, PolicyChange},
    };

    use super::*;
    use crate::{group::GroupInfo, test_doubles};

    const LOG: LogId = test_doubles::LOG;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn device(key: &SigningKey) -> DeviceId {
        DeviceId::of_public_key(key.verifying_key().as_bytes())
    }

    fn message(seq: u64, author: &SigningKey, kind: Kind) -> Message {
        let (content_type, payload) = Content { author_name: String::new(), kind }.encode();
        let author = Author { device: device(author), client: ClientId([3; 16]) };
        Message { seq: Seq(seq), author, client_seq: ClientSeq(seq), content_type, sent_at: SentAt(1), payload }
    }

    fn signed(seq: u64, author: &SigningKey, kind: Kind) -> Message {
        let mut message = message(seq, author, kind);
        let context = SignedContext::of(test_doubles::group().id, LOG, &message);
        message.payload = authorship::sign(author, &context, &message.payload, SeenCheckpoint::NONE);
        message
    }

    /// A group of which device 1 is the owner and device 2 a moderator.
    fn hidden() -> HiddenMessages {
        let group = GroupInfo { owner: Some(device(&key(1))), ..(*test_doubles::group()).clone() };
        let change = PolicyChange::SetRole(device(&key(2)), Role::Moderator);
        let mut hidden = HiddenMessages::new(GroupPolicy { policy: Policy::unset(group.id).with(change), group });
        hidden.log = LOG;
        hidden
    }

    fn hide(seq: u64) -> Kind {
        Kind::Moderate { seq: Seq(seq) }
    }

    #[test]
    fn those_with_a_role_hide_earlier_messages_by_their_signature() {
        let mut hidden = hidden();
        for message in [
            signed(11, &key(1), hide(1)),
            signed(12, &key(2), hide(2)),
            signed(13, &key(3), hide(3)),
            message(14, &key(2), hide(4)),
            signed(15, &key(2), hide(15)),
        ] {
            hidden.handle_message(LOG, &message);
        }
        let text = Kind::Text(Bytes::new());
        let seqs: Vec<u64> = (1..20).filter(|seq| hidden.hide(LOG, Seq(*seq), &text)).collect();
        assert_eq!(seqs, [1, 2]);
        let edit = |seq| Kind::Edit { seq: Seq(seq), body: Bytes::new() };
        assert!(hidden.hide(LOG, Seq(16), &edit(1)) && !hidden.hide(LOG, Seq(16), &edit(3)));
    }

    #[test]
    fn a_signature_for_another_place_hides_nothing() {
        let mut hidden = hidden();
        let mut moved = signed(11, &key(2), hide(1));
        moved.client_seq = ClientSeq(12);
        hidden.handle_message(LOG, &moved);
        let other_log = LogId(LOG.0 + 1);
        hidden.handle_message(other_log, &signed(12, &key(2), hide(2)));
        let text = Kind::Text(Bytes::new());
        assert!(![LOG, other_log].into_iter().any(|log| (1..20).any(|seq| hidden.hide(log, Seq(seq), &text))));
    }

    #[test]
    fn another_log_begins_anew() {
        let mut hidden = hidden();
        hidden.handle_message(LOG, &signed(11, &key(2), hide(1)));
        let text = Kind::Text(Bytes::new());
        assert!(hidden.hide(LOG, Seq(1), &text));
        let other_log = LogId(LOG.0 + 1);
        hidden.handle_message(other_log, &message(1, &key(3), text.clone()));
        assert!(!hidden.hide(other_log, Seq(1), &text));
    }
}
