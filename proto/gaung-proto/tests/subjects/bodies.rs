use bytes::BytesMut;
use gaung_proto::{
    ClientId, ClientSeq, DeviceId, Epoch, Generation, GroupAddr, GroupId, GroupTag, LogId, Pkt, SenderId, Seq,
    body::{
        Broadcast, Cookie, Data, Heartbeat, Migrate, Nak, NakRange, Ncf, Parity, Probe, Puback, Publish,
        PublishOutcome, ShardFields, Status,
    },
    datagram::{DATAGRAM_HEADER, Fragment, Header, MAX_PADDING, PacketType, flags},
    limits::{MAX_BODY, MAX_DATA_BODY, MAX_FRAGMENTS, MAX_NAK_RANGES},
};
use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{Decoded, Subject, id, length, random_bytes};

/// Shorthand for a fixed-layout body: decodes, and encodes again.
macro_rules! body {
    ($name:literal, $sample:expr, $decode:expr) => {
        Subject {
            name: $name,
            sample: |rng| written(|out| $sample(rng).write(out)),
            decode: |bytes| {
                let value = $decode(bytes).ok()?;
                Decoded::canonical(written(|out| value.write(out)))
            },
        }
    };
}

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "datagram", sample: datagram, decode: decode_datagram },
        Subject { name: "data", sample: |rng| data(rng, false), decode: |bytes| decode_data(bytes, false) },
        Subject { name: "data repair", sample: |rng| data(rng, true), decode: |bytes| decode_data(bytes, true) },
        Subject { name: "parity", sample: parity, decode: decode_parity },
        Subject { name: "data shard", sample: data_shard, decode: decode_data_shard },
        Subject { name: "publish", sample: publish, decode: decode_publish },
        Subject { name: "broadcast", sample: broadcast, decode: decode_broadcast },
        body!("heartbeat", heartbeat, Heartbeat::decode),
        body!("nak", nak, Nak::decode),
        body!("ncf", |rng| Ncf { ranges: ranges(rng) }, Ncf::decode),
        body!("status", status, Status::decode),
        body!("probe", probe, Probe::decode),
        body!("migrate", migrate, Migrate::decode),
        body!("puback", puback, Puback::decode),
    ]
}

fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

fn datagram(rng: &mut StdRng) -> Vec<u8> {
    let packet_type = *PacketType::ALL.choose(rng).expect("the list is not empty");
    let in_parts = matches!(packet_type, PacketType::Data | PacketType::Broadcast);
    let count = if in_parts { rng.random_range(1..=MAX_FRAGMENTS as u16) } else { 1 };
    let header = Header {
        packet_type,
        flags: rng.random_range(0..=flags::ALL),
        tag: GroupTag(rng.random()),
        epoch: Epoch(rng.random()),
        pkt: Pkt(rng.random()),
        seq: Seq(rng.random_range(1..=u64::MAX / 2)),
        fragment: Fragment { index: rng.random_range(0..count), count },
        ts_us: rng.random(),
    };
    let len = length(rng, MAX_BODY);
    let padding = if packet_type == PacketType::Data { rng.random_range(0..=MAX_PADDING) } else { 0 };
    header.encode_padded(&random_bytes(rng, len), padding).to_vec()
}

fn decode_datagram(bytes: &[u8]) -> Option<Decoded> {
    let (header, body) = Header::decode(bytes).ok()?;
    let padding = bytes.len() - DATAGRAM_HEADER - body.len();
    assert!(padding <= if header.packet_type == PacketType::Data { MAX_PADDING } else { 0 });
    Decoded::canonical(header.encode_padded(body, padding))
}

fn data(rng: &mut StdRng, repair: bool) -> Vec<u8> {
    let len = length(rng, MAX_DATA_BODY).max(1);
    let bytes = random_bytes(rng, len);
    let original = repair.then(|| Pkt(rng.random()));
    written(|out| Data { original, bytes: &bytes }.write(out))
}

fn decode_data(bytes: &[u8], repair: bool) -> Option<Decoded> {
    let data = Data::decode(bytes, repair).ok()?;
    Decoded::canonical(written(|out| data.write(out)))
}

fn parity(rng: &mut StdRng) -> Vec<u8> {
    let (k, r) = (rng.random_range(1..=Parity::MAX_BLOCK), rng.random_range(1..=64));
    let len = Parity::SHARD_FIELDS + length(rng, MAX_DATA_BODY) / 2 * 2;
    let shard = random_bytes(rng, len);
    let first_pkt = Pkt(rng.random_range(1..Pkt::FIRST_OTHER.0));
    let parity = Parity { first_pkt, k, r, index: rng.random_range(0..r), shard: &shard };
    written(|out| parity.write(out))
}

fn decode_parity(bytes: &[u8]) -> Option<Decoded> {
    let parity = Parity::decode(bytes).ok()?;
    Decoded::canonical(written(|out| parity.write(out)))
}

fn data_shard(rng: &mut StdRng) -> Vec<u8> {
    let count = rng.random_range(1..=MAX_FRAGMENTS as u16);
    let fragment = Fragment { index: rng.random_range(0..count), count };
    let length = length(rng, MAX_DATA_BODY).max(1);
    let fields = ShardFields { seq: Seq(rng.random_range(1..=u64::MAX / 2)), fragment, length: length as u16 };
    let body = random_bytes(rng, length);
    written(|out| {
        fields.write(out);
        out.extend_from_slice(&body);
        out.resize(out.len() + rng.random_range(0..9), 0);
    })
}

fn decode_data_shard(bytes: &[u8]) -> Option<Decoded> {
    let (fields, body) = ShardFields::decode(bytes).ok()?;
    Decoded::canonical(written(|out| {
        fields.write(out);
        out.extend_from_slice(body);
        out.resize(bytes.len(), 0);
    }))
}

fn publish(rng: &mut StdRng) -> Vec<u8> {
    let len = length(rng, Publish::MAX_PAYLOAD);
    let payload = random_bytes(rng, len);
    let publish = Publish {
        sender: SenderId(id(rng)),
        cookie: Cookie(rng.random()),
        device: DeviceId(id(rng)),
        content_type: rng.random(),
        payload: &payload,
    };
    written(|out| publish.write(out))
}

fn decode_publish(bytes: &[u8]) -> Option<Decoded> {
    let publish = Publish::decode(bytes).ok()?;
    Decoded::canonical(written(|out| publish.write(out)))
}

fn broadcast(rng: &mut StdRng) -> Vec<u8> {
    let len = length(rng, MAX_DATA_BODY).max(1);
    let bytes = random_bytes(rng, len);
    written(|out| Broadcast { sender: SenderId(id(rng)), bytes: &bytes }.write(out))
}

fn decode_broadcast(bytes: &[u8]) -> Option<Decoded> {
    let broadcast = Broadcast::decode(bytes).ok()?;
    Decoded::canonical(written(|out| broadcast.write(out)))
}

fn heartbeat(rng: &mut StdRng) -> Heartbeat {
    Heartbeat {
        group: GroupId(id(rng)),
        log: LogId(rng.random()),
        oldest_repairable: Seq(rng.random()),
        oldest_logged: Seq(rng.random()),
        epoch_start: Seq(rng.random()),
        last_pkt: Pkt(rng.random()),
        grtt_us: rng.random(),
        group_size: rng.random(),
        generation: Generation(rng.random()),
    }
}

fn ranges(rng: &mut StdRng) -> Vec<NakRange> {
    let count = rng.random_range(1..=MAX_NAK_RANGES);
    let range = |_| {
        let first = rng.random_range(1..=u64::MAX / 4);
        if rng.random() {
            return NakRange::messages(Seq(first), Seq(first + rng.random_range(0..5000)));
        }
        let first_fragment = rng.random_range(0..MAX_FRAGMENTS as u16);
        let last_fragment = rng.random_range(first_fragment..MAX_FRAGMENTS as u16);
        NakRange { first_seq: Seq(first), last_seq: Seq(first), first_fragment, last_fragment }
    };
    (0..count).map(range).collect()
}

fn nak(rng: &mut StdRng) -> Nak {
    Nak { sender: SenderId(id(rng)), cookie: Cookie(rng.random()), ranges: ranges(rng) }
}

fn status(rng: &mut StdRng) -> Status {
    Status {
        sender: SenderId(id(rng)),
        cookie: Cookie(rng.random()),
        device: DeviceId(id(rng)),
        highest_pkt: Pkt(rng.random()),
        received: rng.random(),
        lost: rng.random(),
        repaired: rng.random(),
        echo_ts_us: rng.random(),
        echo_delay_us: rng.random(),
    }
}

fn probe(rng: &mut StdRng) -> Probe {
    Probe { sender: SenderId(id(rng)), nonce: rng.random(), cookie: Cookie(rng.random()) }
}

fn migrate(rng: &mut StdRng) -> Migrate {
    let ip = [rng.random_range(224..=239), rng.random(), rng.random(), rng.random()].into();
    let to = GroupAddr::new(ip, rng.random_range(1..=u16::MAX)).expect("224/4 and no port 0");
    Migrate { group: GroupId(id(rng)), log: LogId(rng.random()), generation: Generation(rng.random()), to }
}

fn puback(rng: &mut StdRng) -> Puback {
    const OUTCOMES: [PublishOutcome; 6] = [
        PublishOutcome::Logged,
        PublishOutcome::NeedsCookie,
        PublishOutcome::NotFound,
        PublishOutcome::Refused,
        PublishOutcome::Unavailable,
        PublishOutcome::OutOfWindow,
    ];
    Puback {
        client: ClientId(id(rng)),
        client_seq: ClientSeq(rng.random()),
        cookie: Cookie(rng.random()),
        outcome: *OUTCOMES.choose(rng).expect("the list is not empty"),
    }
}
