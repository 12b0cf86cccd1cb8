//! Datagrams of the hostile host, forged in the relay's name.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    ClientId, ClientSeq, Content, DeviceId, Epoch, Generation, GroupId, GroupTag, Kind, LogId, Pkt, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    body::Heartbeat,
    datagram::{Fragment, Header, PacketType},
    pb::registry::Group,
    ports,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// How long something that comes at least every two seconds may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of headers of IPv4 and UDP.
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// One group as the hostile host hears it and speaks in it.
#[derive(Debug)]
pub struct GroupDatagrams {
    tag: GroupTag,
    epoch: Epoch,
    group: SocketAddrV4,
    relay: SocketAddrV4,
    ear: UdpSocket,
    raw: Socket,
}

impl GroupDatagrams {
    /// Joins the group, which the server has opened once.
    ///
    /// # Panics
    /// If it cannot be joined, or the host may not forge sources.
    #[must_use]
    pub fn join(server: Ipv4Addr, group: &Group) -> Self {
        let relay = SocketAddrV4::new(server, ports::RELAY_UDP);
        let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
            socket.connect(relay)?;
            socket.local_addr()
        });
        let std::net::IpAddr::V4(own) = own.expect("the server can be reached").ip() else {
            unreachable!("it is reached by IPv4")
        };
        let id = GroupId::try_from(&group.id[..]).expect("a group id");
        let addr = SocketAddrV4::new(group.address.parse().expect("an address"), group.port as u16);
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).expect("root may forge sources");
        raw.set_multicast_if_v4(&own).expect("an interface of this host");
        raw.set_multicast_loop_v4(false).expect("an option that every system has");
        Self {
            tag: GroupTag::of(id, Generation(group.generation), LogId(group.log_id)),
            epoch: Epoch(1),
            group: addr,
            relay,
            ear: hear(addr, own).expect("the group can be joined"),
            raw,
        }
    }

    /// The next heartbeat.
    ///
    /// # Panics
    /// If none comes.
    #[must_use]
    pub fn heartbeat(&self) -> (Header, Heartbeat) {
        let mut buffer = [0; 2048];
        loop {
            let length = self.ear.recv(&mut buffer).expect("heartbeats come");
            let Ok((header, body)) = Header::decode(&buffer[..length]) else { continue };
            if header.tag == self.tag && header.packet_type == PacketType::Heartbeat {
                return (header, Heartbeat::decode(body).expect("the relay's are well-formed"));
            }
        }
    }

    /// Sends to the group, from the relay's address, a DATA with `count` messages from `first` on.
    pub fn forge_data(&self, pkt: Pkt, first: Seq, count: u64) {
        let content = Content { author_name: "eve".to_owned(), kind: Kind::Text(Bytes::from_static(b"forged")) };
        let (content_type, payload) = content.encode();
        let mut block = BlockBuilder::new();
        for at in 0..count {
            block.push(&MessageRef {
                author: Author { device: DeviceId::NONE, client: ClientId([0xee; 16]) },
                client_seq: ClientSeq(at + 1),
                content_type,
                sent_at: SentAt(1),
                payload: &payload,
            });
        }
        let mut body = BytesMut::new();
        block.write(&mut body);
        self.forge(PacketType::Data, pkt, first, &body);
    }

    /// Sends to the group, from the relay's address, a heartbeat that differs from a true one as `change` says.
    pub fn forge_heartbeat(&self, head: Seq, mut heartbeat: Heartbeat, change: impl FnOnce(&mut Heartbeat)) {
        change(&mut heartbeat);
        let mut body = BytesMut::new();
        heartbeat.write(&mut body);
        self.forge(PacketType::Heartbeat, Pkt::FIRST_OTHER, head, &body);
    }

    fn forge(&self, packet_type: PacketType, pkt: Pkt, seq: Seq, body: &[u8]) {
        let payload = self.header(packet_type, pkt, seq).encode(body);
        let udp_length = (UDP_HEADER + payload.len()) as u16;
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 1, 17, 0, 0];
        packet[2..4].copy_from_slice(&(IP_HEADER as u16 + udp_length).to_be_bytes());
        packet.extend(self.relay.ip().octets());
        packet.extend(self.group.ip().octets());
        // Without a checksum, which UDP over IPv4 allows; the kernel makes that of IP.
        for field in [self.relay.port(), self.group.port(), udp_length, 0] {
            packet.extend(field.to_be_bytes());
        }
        packet.extend(payload);
        // A full queue only makes the attack weaker.
        let _ = self.raw.send_to(&packet, &SockAddr::from(SocketAddrV4::new(*self.group.ip(), 0)));
    }

    const fn header(&self, packet_type: PacketType, pkt: Pkt, seq: Seq) -> Header {
        let fragment = Fragment { index: 0, count: 1 };
        Header { packet_type, flags: 0, tag: self.tag, epoch: self.epoch, pkt, seq, fragment, ts_us: 1 }
    }
}

fn hear(group: SocketAddrV4, own: Ipv4Addr) -> io::Result<UdpSocket> {
    let ear = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    ear.set_reuse_address(true)?;
    ear.set_recv_buffer_size(4 << 20)?;
    ear.bind(&SockAddr::from(group))?;
    ear.join_multicast_v4(group.ip(), &own)?;
    ear.set_read_timeout(Some(PATIENCE))?;
    Ok(ear.into())
}
