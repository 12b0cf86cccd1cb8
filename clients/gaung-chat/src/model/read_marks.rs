//! How far a person has read one group, and what is new there.

use gaung_proto::Seq;

/// What was read and what was not.
#[derive(Debug, Default)]
pub(crate) struct ReadMarks {
    /// Everything up to this seq was read.
    pub(crate) read: Seq,
    /// Before this message stands the line above what is new.
    pub(crate) new_from: Option<Seq>,
    /// Messages of others that were not read.
    pub(crate) unread: u64,
    /// Those among them that mention the person.
    pub(crate) mentions: u64,
}

impl ReadMarks {
    /// A listener starts at the end of a log. What was logged since the last visit is new; at the first visit nothing
    /// is, and neither in another log, whose end may lie before what was read.
    pub(crate) fn begin(&mut self, head: Seq) {
        if self.read == Seq::ZERO || self.read > head {
            self.read = head;
        } else if self.read < head {
            self.new_from = Some(self.read.next());
            self.unread = head.0 - self.read.0;
        }
    }

    /// Counts a new message of somebody else.
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

    /// A message that is not counted as new was received.
    pub(crate) fn pass(&mut self, seq: Seq) {
        if self.unread == 0 {
            self.read = self.read.max(seq);
        }
    }

    /// The person turns to another group: what was new and was read is new no longer.
    pub(crate) fn leave(&mut self) {
        if self.unread == 0 {
            self.new_from = None;
        }
    }
}
