//! Filters datagrams by source: only the relay's own address, while it is heard there.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Instant,
};

use super::ArrivalSocket;
use crate::timing::TIMING;

/// Where the relay's datagrams to the group come from.
#[derive(Debug)]
pub(super) struct RelaySource {
    /// The last datagram to the group from the address that the registry named, and which address that was. Answers by
    /// unicast do not count: they come from the address that was asked, and multicast may leave from another one.
    heard: Option<(Ipv4Addr, Instant)>,
}

/// How to treat a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceVerdict {
    /// It can be the relay's.
    Admitted,
    /// It can be the relay's if that has moved: the registry knows.
    Unexpected,
    /// The datagram is somebody else's; drop it.
    Foreign,
}

impl RelaySource {
    pub(super) const fn new() -> Self {
        Self { heard: None }
    }

    /// Judges a datagram by its source. `relay`: the address that is known of it; its port may change at a restart.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        via: ArrivalSocket,
        relay: Option<SocketAddrV4>,
        from: SocketAddrV4,
    ) -> SourceVerdict {
        let Some(relay) = relay.map(|relay| *relay.ip()) else { return SourceVerdict::Admitted };
        if *from.ip() == relay {
            if via == ArrivalSocket::Group {
                self.heard = Some((relay, now));
            }
            return SourceVerdict::Admitted;
        }
        let silent = self.heard.filter(|(heard, _)| *heard == relay).map(|(_, at)| now.saturating_duration_since(at));
        match silent {
            Some(silent) if silent < TIMING.source_suspicious => SourceVerdict::Foreign,
            Some(silent) if silent < TIMING.source_trusted => SourceVerdict::Unexpected,
            Some(_) | None => SourceVerdict::Admitted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn others_are_dropped_while_the_relay_is_heard_and_no_longer() {
        let [relay, other] = [1, 9].map(|last| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), 7402));
        let (start, mut source) = (Instant::now(), RelaySource::new());
        let mut judge = |after, relay, from| source.judge(start + after, ArrivalSocket::Group, relay, from);
        let zero = Duration::ZERO;
        assert_eq!(judge(zero, None, other), SourceVerdict::Admitted, "nobody has told an address");
        assert_eq!(judge(zero, Some(relay), other), SourceVerdict::Admitted, "it may have several addresses");
        assert_eq!(judge(zero, Some(relay), relay), SourceVerdict::Admitted);
        assert_eq!(judge(zero, Some(relay), other), SourceVerdict::Foreign);
        assert_eq!(judge(TIMING.source_suspicious, Some(relay), other), SourceVerdict::Unexpected);
        assert_eq!(judge(TIMING.source_trusted, Some(relay), other), SourceVerdict::Admitted);
        assert_eq!(judge(zero, Some(other), other), SourceVerdict::Admitted, "the registry told another address");
        assert_eq!(judge(zero, Some(other), relay), SourceVerdict::Foreign);
    }

    #[test]
    fn answers_from_one_address_do_not_deafen_to_multicast_from_another() {
        let [asked, other] = [1, 2].map(|last| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), 7402));
        let (now, mut source) = (Instant::now(), RelaySource::new());
        assert_eq!(source.judge(now, ArrivalSocket::Unicast, Some(asked), asked), SourceVerdict::Admitted);
        assert_eq!(source.judge(now, ArrivalSocket::Group, Some(asked), other), SourceVerdict::Admitted);
    }
}
