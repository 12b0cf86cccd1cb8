//! What others can make the relay send, counted from outside: by each address, by NAKs, by strangers.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddrV4,
    time::Duration,
};

use gaung_engine::Cookies;
use gaung_proto::{
    body::{Nak, Publish, Status},
    datagram::{Header, PacketType, flags},
};

/// Datagrams that one NAK can ask for. Of parity at most twice as much is sent, for some of it will be lost too.
const REPAIRS_OF_A_NAK: u64 = 64;
/// Repairs that one proven address can draw in one of the relay's seconds, or as many as DATA were sent in it.
const REPAIRS_OF_A_MEMBER: u64 = 512;
/// Repairs that all unproven addresses together can draw in one of the relay's seconds.
const REPAIRS_OF_STRANGERS: u64 = 128;
/// Repairs and parity of one of the relay's seconds, or as many as DATA were sent in it.
const REPAIRS_IN_ALL: u64 = 4096;
/// One of ours can overlap with so many of the relay's seconds, which begin when it likes and may be shorter; and what
/// was asked for in one more is still being gathered.
const SECONDS: u64 = 4;

/// Counts of one process of the relay.
#[derive(Debug, Default)]
pub(super) struct Limits {
    peers: BTreeMap<SocketAddrV4, Peer>,
    naks: u64,
    repairs: u64,
    parities: u64,
    second: u64,
    /// First-sent DATA of the last seconds, the newest last.
    data: VecDeque<u64>,
    /// By address that asked; `true`: with a proof.
    askers: BTreeMap<SocketAddrV4, (bool, u64)>,
    repairs_this_second: u64,
}

/// What of a datagram counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Repair,
    Parity,
    Other,
}

impl Kind {
    fn of(bytes: &[u8]) -> Self {
        match Header::decode(bytes) {
            Ok((header, _)) if header.packet_type == PacketType::Data && header.has(flags::REPAIR) => Self::Repair,
            Ok((header, _)) if header.packet_type == PacketType::Data => Self::Data,
            Ok((header, _)) if header.packet_type == PacketType::Parity => Self::Parity,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    is_proven: bool,
    received_bytes: u64,
    sent_bytes: u64,
    second: u64,
    repairs: u64,
}

impl Limits {
    /// The relay takes a datagram.
    pub(super) fn received(&mut self, now: Duration, from: SocketAddrV4, bytes: &[u8], cookies: &Cookies) {
        self.turn(now);
        let peer = self.peers.entry(from).or_default();
        peer.received_bytes += bytes.len() as u64;
        let Ok((header, body)) = Header::decode(bytes) else { return };
        let cookie = match header.packet_type {
            PacketType::Nak => Nak::decode(body).ok().map(|nak| nak.cookie),
            PacketType::Status => Status::decode(body).ok().map(|status| status.cookie),
            PacketType::Publish => Publish::decode(body).ok().map(|publish| publish.cookie),
            PacketType::Data
            | PacketType::Heartbeat
            | PacketType::Ncf
            | PacketType::Parity
            | PacketType::Probe
            | PacketType::Migrate
            | PacketType::Puback
            | PacketType::Broadcast => None,
        };
        let proves = cookie.is_some_and(|cookie| cookies.proves(from, cookie));
        peer.is_proven |= proves;
        if header.packet_type == PacketType::Nak {
            self.naks += 1;
            self.askers.insert(from, (proves || self.is_proven_asker(from), second_of(now)));
        }
    }

    /// The relay sends a datagram, to `peer` or to the group; gives what is wrong with that.
    pub(super) fn sent(&mut self, now: Duration, peer: Option<SocketAddrV4>, bytes: &[u8]) -> Option<String> {
        self.turn(now);
        let kind = Kind::of(bytes);
        if kind == Kind::Data {
            *self.data.back_mut().expect("a turn has begun") += 1;
        }
        let data: u64 = self.data.iter().sum();
        if let Some(addr) = peer {
            let second = second_of(now);
            let peer = self.peers.entry(addr).or_default();
            peer.sent_bytes += bytes.len() as u64;
            if !peer.is_proven && peer.sent_bytes > peer.received_bytes {
                return Some(format!(
                    "{addr} proved nothing, sent {} B and was sent {} B",
                    peer.received_bytes, peer.sent_bytes
                ));
            }
            if peer.second != second {
                (peer.second, peer.repairs) = (second, 0);
            }
            peer.repairs += u64::from(kind == Kind::Repair);
            if peer.repairs > SECONDS * REPAIRS_OF_A_MEMBER + data {
                return Some(format!("{addr} was sent {} repairs within a second of {data} DATA", peer.repairs));
            }
        }
        match kind {
            Kind::Repair => self.repairs += 1,
            Kind::Parity => self.parities += 1,
            Kind::Data | Kind::Other => return None,
        }
        self.repairs_this_second += 1;
        if self.repairs > self.naks * REPAIRS_OF_A_NAK || self.parities > self.naks * REPAIRS_OF_A_NAK * 2 {
            return Some(format!("{} NAKs drew {} repairs and {} parity", self.naks, self.repairs, self.parities));
        }
        let members = self.askers.values().filter(|(proven, _)| *proven).count() as u64;
        let by_askers = REPAIRS_OF_STRANGERS * SECONDS + members * (REPAIRS_OF_A_MEMBER * SECONDS + data);
        let most = (2 * by_askers).min(SECONDS * REPAIRS_IN_ALL + data);
        (self.repairs_this_second > most).then(|| {
            format!("{members} members and any strangers drew {} repairs within a second", self.repairs_this_second)
        })
    }

    fn is_proven_asker(&self, addr: SocketAddrV4) -> bool {
        self.askers.get(&addr).is_some_and(|(proven, _)| *proven)
    }

    fn turn(&mut self, now: Duration) {
        let second = second_of(now);
        if second != self.second || self.data.is_empty() {
            self.second = second;
            self.data.push_back(0);
            if self.data.len() as u64 > SECONDS + 1 {
                self.data.pop_front();
            }
            self.repairs_this_second = 0;
            self.askers.retain(|_, (_, last)| *last + SECONDS >= second);
        }
    }
}

const fn second_of(now: Duration) -> u64 {
    now.as_secs()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::{Bytes, BytesMut};
    use gaung_proto::{
        Epoch, GroupTag, Pkt, SenderId, Seq,
        body::{Cookie, NakRange},
        datagram::Fragment,
    };

    use super::*;

    const MEMBER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 5000);

    fn datagram(packet_type: PacketType, flags: u8, body: &[u8]) -> Bytes {
        let (tag, epoch, fragment) = (GroupTag(1), Epoch(1), Fragment::WHOLE);
        Header { packet_type, flags, tag, epoch, pkt: Pkt(1), seq: Seq(1), fragment, ts_us: 0 }.encode(body)
    }

    fn nak(cookie: Cookie) -> Bytes {
        let mut body = BytesMut::new();
        Nak { sender: SenderId([1; 16]), cookie, ranges: vec![NakRange::messages(Seq(1), Seq(1))] }.write(&mut body);
        datagram(PacketType::Nak, 0, &body)
    }

    #[test]
    fn one_nak_draws_sixty_four_repairs_and_not_one_more() {
        let cookies = Cookies::new([3; 16]);
        let mut limits = Limits::default();
        limits.received(Duration::ZERO, MEMBER, &nak(cookies.of(MEMBER)), &cookies);
        let repair = datagram(PacketType::Data, flags::REPAIR, &[0; 500]);
        for _ in 0..REPAIRS_OF_A_NAK {
            assert_eq!(limits.sent(Duration::ZERO, Some(MEMBER), &repair), None);
        }
        assert!(limits.sent(Duration::ZERO, Some(MEMBER), &repair).is_some());
    }

    #[test]
    fn who_proved_nothing_is_not_sent_more_than_it_sent() {
        let cookies = Cookies::new([3; 16]);
        let mut limits = Limits::default();
        let asked = nak(Cookie(1));
        limits.received(Duration::ZERO, MEMBER, &asked, &cookies);
        assert_eq!(limits.sent(Duration::ZERO, Some(MEMBER), &asked), None);
        assert!(limits.sent(Duration::ZERO, Some(MEMBER), &asked).is_some());
    }

    #[test]
    fn strangers_together_draw_little_in_a_second() {
        let cookies = Cookies::new([3; 16]);
        let mut limits = Limits::default();
        let repair = datagram(PacketType::Data, flags::REPAIR, &[0; 500]);
        let wrong = (0..3 * SECONDS * REPAIRS_OF_STRANGERS).find_map(|_| {
            limits.received(Duration::ZERO, MEMBER, &nak(Cookie(1)), &cookies);
            limits.sent(Duration::ZERO, None, &repair)
        });
        assert!(wrong.is_some());
        limits.received(Duration::from_secs(9), MEMBER, &nak(Cookie(1)), &cookies);
        assert_eq!(limits.sent(Duration::from_secs(9), None, &repair), None, "another second");
    }
}
