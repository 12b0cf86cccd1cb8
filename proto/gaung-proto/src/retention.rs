//! How much of one group's log is kept.

use crate::pb::registry as pb;

/// Limits of one group's log; what is older or more goes, from the oldest message on. The default keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GroupRetention {
    /// Drop runs whose messages are all older, by their `sent_at`.
    pub max_age_ms: Option<u64>,
    /// Drop the oldest runs above so many bytes of runs; the newest run stays.
    pub max_bytes: Option<u64>,
    /// Drop the oldest messages above so many.
    pub max_messages: Option<u64>,
}

impl GroupRetention {
    /// Whether anything is ever dropped.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        *self != Self::default()
    }

    /// As the schema has it: 0 for no limit, and nothing where there is none at all.
    #[must_use]
    pub fn to_pb(self) -> Option<pb::Retention> {
        let [max_age_ms, max_bytes, max_messages] = self.words();
        self.is_limited().then_some(pb::Retention { max_age_ms, max_bytes, max_messages })
    }

    /// What a device signs when it sets these limits: the three numbers, 0 for no limit, with a space between.
    #[must_use]
    pub fn subject(&self) -> String {
        self.words().map(|word| word.to_string()).join(" ")
    }

    fn words(self) -> [u64; 3] {
        [self.max_age_ms, self.max_bytes, self.max_messages].map(|limit| limit.unwrap_or(0))
    }
}

impl From<Option<pb::Retention>> for GroupRetention {
    fn from(keep: Option<pb::Retention>) -> Self {
        let pb::Retention { max_age_ms, max_bytes, max_messages } = keep.unwrap_or_default();
        let limit = |word: u64| Some(word).filter(|word| *word != 0);
        Self { max_age_ms: limit(max_age_ms), max_bytes: limit(max_bytes), max_messages: limit(max_messages) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nought_is_no_limit_and_no_limits_are_nothing() {
        let keep = GroupRetention { max_age_ms: Some(60_000), max_bytes: None, max_messages: Some(7) };
        assert_eq!(GroupRetention::from(keep.to_pb()), keep);
        assert_eq!(keep.subject(), "60000 0 7");
        assert_eq!(GroupRetention::default().to_pb(), None);
        assert_eq!(GroupRetention::from(Some(pb::Retention::default())), GroupRetention::default());
    }
}
