//! How far a person has read one group, and what is new there.

use gaung_proto::Seq;

/// The read position and the unread messages of one group.
#[derive(Debug, Default)]
pub(crate) struct ReadMarks {
    /// Everything up to this seq was read.
    pub(crate) read: Seq,
    /// The message above which the separator of new messages is shown.
    pub(crate) new_from: Option<Seq>,
    /// How many messages of others are unread.
    pub(crate) unread: u64,
    /// How many of those mention the person.
    pub(crate) mentions: u64,
}

impl ReadMarks {
    /// Starts at the end of a log. What was logged since the last visit is unread; at the first visit nothing is, nor in
    /// another log, whose end may be before the read position.
    pub(crate) fn begin(&mut self, head: Seq) {
        if self.read == Seq::ZERO || self.read > head {
            self.read = head;
        } else if self.read < head {
            self.new_from = Some(self.read.next());
            self.unread = head.0 - self.read.0;
        }
    }

    /// Counts a message of somebody else as unread.
    pub(crate) fn count(&mut self, seq: Seq, is_mention: bool) {
        self.unread += 1;
        self.mentions += u64::from(is_mention);
        self.new_from.get_or_insert(seq);
    }

    /// Counts everything up to `head` as read. True if something was not.
    pub(crate) fn read_all(&mut self, head: Seq) -> bool {
        let changed = self.unread > 0 || self.mentions > 0 || self.read < head;
        (self.unread, self.mentions) = (0, 0);
        self.read = self.read.max(head);
        changed
    }

    /// Advances the read position over a message that is not counted, if nothing before it is unread.
    pub(crate) fn pass(&mut self, seq: Seq) {
        if self.unread == 0 {
            self.read = self.read.max(seq);
        }
    }

    /// Removes the separator of new messages, if all are read, as the person turns to another group.
    pub(crate) fn leave(&mut self) {
        if self.unread == 0 {
            self.new_from = None;
        }
    }
}
