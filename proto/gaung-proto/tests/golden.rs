//! The bytes of `WIRE.md`, which were made by another program, against the codecs.
#![allow(clippy::unwrap_used, missing_docs)]

mod vectors;

use bytes::{Bytes, BytesMut};
use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, Epoch, Generation, GroupAddr, GroupId, GroupRetention,
    GroupTag, Kind, LogId, Pkt, SenderId, Seq,
    authorship::{self, AttestDigest, Authorship, SeenCheckpoint, SignedContext},
    block::{Author, Block, BlockBuilder, MessageRef, SentAt},
    body::{
        Broadcast, Cookie, Data, Heartbeat, Migrate, Nak, NakRange, Ncf, Parity, Probe, Puback, Publish,
        PublishOutcome, Status,
    },
    datagram::{Fragment, Header, PacketType, flags},
    frame::{self, AcceptedItems, FrameItem},
    pb::{self, registry},
    policy::{Policy, SignedPolicy},
    run::{Run, RunHeader},
    signing::{self, Method, SigningError},
};
use vectors::Vector;

const GROUP: GroupId = GroupId(0x0192_f0c1_7a2b_7c3d_8e4f_5061_7283_94a5_u128.to_be_bytes());
const LOG: LogId = LogId(0x0123_4567_89ab_cdef);
const EPOCH: Epoch = Epoch(3);
const GENERATION: Generation = Generation(2);
const COOKIE: Cookie = Cookie(0x1122_3344_5566_7788);
const BASE_TIME: u64 = 1_795_356_000_000_000;
const NONCE: u64 = 0xdead_beef_cafe_f00d;

#[test]
fn content_of_every_kind() {
    let vector = Vector::read("content");
    let mut content_types = Vec::new();
    for (says, golden) in vector.parts() {
        let content_type = says.split(' ').next().unwrap().parse().unwrap();
        content_types.push(content_type);
        let content = Content::decode(ContentType::from_byte(content_type), &Bytes::copy_from_slice(golden));
        let (name, fields) = content.kind.fields();
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        assert_eq!(format!("{content_type} {name} author={}{fields}", content.author_name), says);
        assert_eq!(content.encode(), (ContentType::from_byte(content_type), Bytes::copy_from_slice(golden)), "{says}");
    }
    let known = 1..=u8::MAX;
    let known = known.filter(|&byte| !matches!(ContentType::from_byte(byte), ContentType::Unknown(_)));
    assert_eq!(content_types, known.collect::<Vec<_>>(), "each kind has a vector in content.hex");
}

#[test]
fn block_and_run() {
    let mut out = BytesMut::new();
    block().write(&mut out);
    assert_eq!(out, Vector::read("block").whole());
    assert_eq!(Block::parse(&out).unwrap().count(), 3);

    let golden = Vector::read("run").whole();
    let header = RunHeader { group: GROUP, log: LOG, epoch: EPOCH, base_seq: Seq(41) };
    assert_eq!(Run::encode(header, &block()).as_bytes(), &golden);
    let run = Run::parse(golden.into()).unwrap();
    assert_eq!((run.header(), run.last_seq()), (&header, Seq(43)));
    let messages: Vec<_> = run.messages().collect();
    assert_eq!(messages[1].sent_at, SentAt(BASE_TIME + 1500));
    assert_eq!(messages[2].content_type, ContentType::Unknown(200));
    assert_eq!(messages[2].payload, &b"\x00\xff"[..]);
}

#[test]
fn frames() {
    let hello = pb::hub::Hello {
        version: 1,
        client_id: client(0xb0).into(),
        device_id: device(0xa0).into(),
        name: "Sari".to_owned(),
        stream_key: bytes::Bytes::new(),
    };
    let hello = pb::hub::ClientFrame { frame: Some(pb::hub::client_frame::Frame::Hello(hello)) };
    control("frame-hello", &hello);
    let acks = vec![pb::hub::PublishedRange { first_client_seq: 7, first_seq: 41, count: 1 }];
    let published = pb::hub::Published { tag: 9, log_id: LOG.0, acks };
    let published = pb::hub::ServerFrame { frame: Some(pb::hub::server_frame::Frame::Published(published)) };
    control("frame-published", &published);
}

#[test]
fn datagrams_with_messages() {
    let whole = one_message();
    datagram("data", header(PacketType::Data, 17, 41), |out| Data { original: None, bytes: &whole }.write(out));
    let padded = header(PacketType::Data, 17, 41);
    let golden = Vector::read("datagram-data-padded").whole();
    let mut body = BytesMut::new();
    Data { original: None, bytes: &whole }.write(&mut body);
    assert_eq!(padded.encode_padded(&body, 6), golden);
    assert_eq!(Header::decode(&golden), Ok((padded, &body[..])));
    let repair = Header { flags: flags::REPAIR, ..header(PacketType::Data, other(5), 41) };
    datagram("data-repair", repair, |out| Data { original: Some(Pkt(17)), bytes: &whole }.write(out));
    let part = Header { fragment: Fragment { index: 1, count: 3 }, ..header(PacketType::Data, 19, 42) };
    datagram("data-fragment", part, |out| Data { original: None, bytes: &fragment() }.write(out));
    let sender = sender();
    let broadcast = Header { epoch: Epoch(0), ..header(PacketType::Broadcast, 3, 41) };
    datagram("broadcast", broadcast, |out| Broadcast { sender, bytes: &whole }.write(out));
    let (_, payload) = Content::text("Sari", "halo semua").encode();
    let publish = Publish {
        sender: client(0xb0).into(),
        cookie: COOKIE,
        device: device(0xa0),
        content_type: 1,
        payload: &payload,
    };
    let unsure = Header { epoch: Epoch(0), ..header(PacketType::Publish, 2, 7) };
    datagram("publish", unsure, |out| publish.write(out));
}

#[test]
fn datagrams_of_the_relay() {
    let heartbeat = Heartbeat {
        group: GROUP,
        log: LOG,
        oldest_repairable: Seq(12),
        oldest_logged: Seq(1),
        epoch_start: Seq(40),
        last_pkt: Pkt(20),
        grtt_us: 850,
        group_size: 6,
        generation: GENERATION,
    };
    datagram("heartbeat", header(PacketType::Heartbeat, other(6), 43), |out| heartbeat.write(out));
    datagram("ncf", header(PacketType::Ncf, other(7), 0), |out| Ncf { ranges: ranges() }.write(out));
    let parity = Parity { first_pkt: Pkt(17), k: 4, r: 2, index: 1, shard: &fragment() };
    datagram("parity", header(PacketType::Parity, other(8), 0), |out| parity.write(out));
    let answer = Header { flags: flags::RESPONSE, ..header(PacketType::Probe, other(9), 0) };
    let probe = Probe { sender: sender(), nonce: NONCE, cookie: COOKIE };
    datagram("probe-response", answer, |out| probe.write(out));
    let to = GroupAddr::new([239, 255, 17, 4].into(), 20009).unwrap();
    let migrate = Migrate { group: GROUP, log: LOG, generation: Generation(3), to };
    datagram("migrate", header(PacketType::Migrate, other(10), 0), |out| migrate.write(out));
    let puback =
        Puback { client: client(0xb0), client_seq: ClientSeq(7), cookie: COOKIE, outcome: PublishOutcome::Logged };
    datagram("puback", header(PacketType::Puback, other(11), 41), |out| puback.write(out));
}

#[test]
fn datagrams_of_members() {
    let nak = Nak { sender: sender(), cookie: COOKIE, ranges: ranges() };
    datagram("nak", header(PacketType::Nak, 4, 0), |out| nak.write(out));
    let status = Status {
        sender: sender(),
        cookie: COOKIE,
        device: device(0xa0),
        highest_pkt: Pkt(20),
        received: 18,
        lost: 2,
        repaired: 1,
        echo_ts_us: 12_345_678,
        echo_delay_us: 420,
    };
    datagram("status", header(PacketType::Status, 5, 41), |out| status.write(out));
    let question = Header { epoch: Epoch(0), ..header(PacketType::Probe, 1, 0) };
    let probe = Probe { sender: sender(), nonce: NONCE, cookie: Cookie(0) };
    datagram("probe", question, |out| probe.write(out));
}

#[test]
fn group_tag() {
    let vector = Vector::read("group-tag");
    assert_eq!(GroupTag::of(GROUP, GENERATION, LOG).0.to_be_bytes(), vector.part("tag"));
}

#[test]
fn signed_calls() {
    let vector = Vector::read("signing-call");
    let key = signing_key(&vector);
    let nonce = Bytes::copy_from_slice(vector.part("nonce"));
    let signed = signing::sign_call(&key, Method::Delete, GROUP, &nonce, "");
    assert_eq!(signed.public_key, vector.part("public key"));
    assert_eq!(signed.signature, vector.part("signature"));
    let device = signing::verify_call(&signed, Method::Delete, GROUP, "").unwrap();
    assert_eq!(device.as_bytes(), vector.part("device_id"));
    assert_eq!(signing::verify_call(&signed, Method::Reset, GROUP, ""), Err(SigningError::Forged));

    let vector = Vector::read("signing-redeem");
    let code = std::str::from_utf8(vector.part("subject: the code")).unwrap();
    let signed = signing::sign_call(&key, Method::Redeem, GroupId::NONE, &nonce, code);
    assert_eq!(signed.signature, vector.part("signature"));

    let vector = Vector::read("signing-keep");
    let month = 30 * 86_400_000;
    let keep = GroupRetention { max_age_ms: Some(month), max_bytes: None, max_messages: Some(500) };
    assert_eq!(keep.subject().as_bytes(), vector.part("subject: 30 days, any bytes, 500 messages"));
    let signed = signing::sign_call(&key, Method::Keep, GROUP, &nonce, &keep.subject());
    assert_eq!(signed.signature, vector.part("signature"));
}

#[test]
fn signed_device_calls() {
    let key = signing_key(&Vector::read("signing-call"));
    let vector = Vector::read("signing-device-calls");
    let nonce = Bytes::copy_from_slice(vector.part("nonce"));
    let client_id = Bytes::copy_from_slice(&counting::<16>(0xb0));
    let create = registry::CreateGroupRequest {
        request_id: Bytes::copy_from_slice(&counting::<16>(0xd0)),
        name: "kelas-3a".to_owned(),
        scope: registry::Scope::Site.into(),
        format: registry::Format::Proto.into(),
        private: true,
        address: Some("239.255.10.1".to_owned()),
        port: Some(7500),
        owner_name: "Ani".to_owned(),
        keep: Some(registry::Retention { max_age_ms: 30 * 86_400_000, max_bytes: 0, max_messages: 500 }),
        ..Default::default()
    };
    let join = registry::JoinGroupRequest {
        by: Some(registry::join_group_request::By::Id(GROUP.into())),
        member_name: "Ani".to_owned(),
        client_id: client_id.clone(),
        lane: "tcp".to_owned(),
        ..Default::default()
    };
    let leave = registry::LeaveGroupRequest { client_id, ..Default::default() };
    let invite = registry::CreateInviteRequest { uses: 10, expires_ms: 3_600_000, ..Default::default() };
    let calls = [
        ("create", Method::Create, GroupId::NONE, signing::create_subject(&create)),
        ("join", Method::Join, GROUP, signing::join_subject(&join)),
        ("leave", Method::Leave, GROUP, signing::leave_subject(&leave)),
        ("invite", Method::Invite, GROUP, signing::invite_subject(&invite)),
    ];
    for (name, method, group, subject) in calls {
        assert_eq!(subject.as_bytes(), vector.part(&format!("{name} subject")));
        let signed = signing::sign_call(&key, method, group, &nonce, &subject);
        assert_eq!(signed.signature, vector.part(&format!("{name} signature")), "{name}");
    }
}

#[test]
fn hello_proof() {
    let vector = Vector::read("signing-hello");
    let (challenge, signature) = (vector.part("challenge"), vector.part("signature"));
    let key = signing_key(&Vector::read("signing-call"));
    let public_key = key.verifying_key().to_bytes();
    assert_eq!(client(0xb0).as_bytes(), vector.part("client_id"));
    assert_eq!(signing::sign_hello(&key, challenge, client(0xb0)), signature);
    let verify = |client| signing::verify_hello(&public_key, signature, challenge, client);
    assert_eq!(verify(client(0xb0)), Ok(DeviceId::of_public_key(&public_key)));
    assert_eq!(verify(client(0xb1)), Err(SigningError::Forged));
}

#[test]
fn ticket() {
    let key = signing_key(&Vector::read("signing-call"));
    let vector = Vector::read("signing-ticket");
    let device = DeviceId::of_public_key(key.verifying_key().as_bytes());
    let expires = 1_795_356_060_000;
    let ticket = signing::issue_ticket(&key, GROUP, device, expires, 0);
    assert_eq!(ticket, vector.part("SignedTicket { ticket, signature }"));
    let verify = |now| signing::verify_ticket(key.verifying_key().as_bytes(), &ticket, GROUP, device, now);
    assert_eq!(verify(expires), Ok(expires));
    assert_eq!(verify(expires + 1), Err(SigningError::Expired));
}

#[test]
fn signed_policy() {
    let key = signing_key(&Vector::read("signing-call"));
    let vector = Vector::read("signing-policy");
    let device = |first| DeviceId(counting(first));
    let policy = Policy {
        group: GROUP,
        version: 2,
        previous: Some(counting(0xc0)),
        admins: [device(0x10)].into(),
        moderators: [device(0x20), device(0x30)].into(),
        bans: [device(0x40)].into(),
        mutes: [(device(0x50), 1_795_356_060_000)].into(),
        kicks: [(device(0x60), 1)].into(),
    };
    let encoded =
        vector.part("Policy { group_id, version 2, previous_hash, an admin, two moderators, a ban, a mute, a kick }");
    assert_eq!(policy.encode(), encoded);
    let signed = SignedPolicy::sign(&key, policy);
    assert_eq!(signed.encoded(), vector.part("SignedPolicy { policy, public_key, signature }"));
    assert_eq!(SignedPolicy::decode(signed.encoded()), Ok(signed));
}

#[test]
fn authors_trailer() {
    let vector = Vector::read("signing-author");
    let payload = vector.part("payload of content-text.hex");
    let key = signing_key(&Vector::read("signing-call"));
    let context = SignedContext {
        group: GROUP,
        log: LOG,
        client: client(0xb0),
        client_seq: ClientSeq(7),
        content_type: ContentType::Text,
    };
    let seen = SeenCheckpoint { seq: Seq(41), hash: counting(0xc0) };
    let signed = authorship::sign(&key, &context, payload, seen);
    assert_eq!(signed, vector.whole());
    let public_key = key.verifying_key().to_bytes();
    assert_eq!(vector.part("public key"), public_key);
    let author = DeviceId::of_public_key(&public_key);
    assert_eq!(Authorship::of(&context, author, &signed), Authorship::Signed { public_key, seen });

    let mut digest = AttestDigest::default();
    digest.add(ClientSeq(7), ContentType::Text, payload);
    digest.add(ClientSeq(8), ContentType::Unknown(200), b"\x00\xff");
    assert_eq!(digest.finish(), Vector::read("signing-attest").whole()[..]);
}

/// The frame around `message` is the vector, and the vector decodes to the same message.
fn control<M: prost::Message + Default + PartialEq + std::fmt::Debug>(name: &str, message: &M) {
    let golden = Vector::read(name).whole();
    assert_eq!(frame::encode_control(message), golden, "{name}");
    let item = frame::decode(&mut BytesMut::from(&golden[..]), AcceptedItems::Control).unwrap();
    let Some(FrameItem::Control(body)) = item else { panic!("{name} gives {item:?}") };
    assert_eq!(M::decode(body).unwrap(), *message, "{name}");
}

/// The datagram that `header` and the body make is the vector, and the vector decodes to the same header and body.
fn datagram(name: &str, header: Header, write: impl FnOnce(&mut BytesMut)) {
    let golden = Vector::read(&format!("datagram-{name}")).whole();
    let mut body = BytesMut::new();
    write(&mut body);
    assert_eq!(header.encode(&body), golden, "{name}");
    assert_eq!(Header::decode(&golden), Ok((header, &body[..])), "{name}");
}

fn header(packet_type: PacketType, pkt: u32, seq: u64) -> Header {
    Header {
        packet_type,
        flags: 0,
        tag: GroupTag::of(GROUP, GENERATION, LOG),
        epoch: EPOCH,
        pkt: Pkt(pkt),
        seq: Seq(seq),
        fragment: Fragment::WHOLE,
        ts_us: 12_345_678,
    }
}

fn other(count: u32) -> u32 {
    Pkt::FIRST_OTHER.0 + count
}

fn block() -> BlockBuilder {
    let sari = Author { device: device(0xa0), client: client(0xb0) };
    let budi = Author { device: device(0xc0), client: client(0xd0) };
    let (_, text) = Content::text("Sari", "halo semua").encode();
    let react = Kind::React { seq: Seq(41), emoji: "👍".to_owned(), remove: true };
    let (_, react) = Content { author_name: "Budi".to_owned(), kind: react }.encode();
    let mut block = BlockBuilder::new();
    let mut push = |author, client_seq, content_type, after_us, payload: &[u8]| {
        let sent_at = SentAt(BASE_TIME + after_us);
        block.push(&MessageRef { author, client_seq: ClientSeq(client_seq), content_type, sent_at, payload });
    };
    push(sari, 7, ContentType::Text, 0, &text);
    push(budi, 1, ContentType::React, 1500, &react);
    push(sari, 8, ContentType::Unknown(200), 2_000_000, b"\x00\xff");
    block
}

fn one_message() -> BytesMut {
    let author = Author { device: device(0xa0), client: client(0xb0) };
    let (content_type, payload) = Content::text("Sari", "halo semua").encode();
    let mut block = BlockBuilder::new();
    let sent_at = SentAt(BASE_TIME);
    block.push(&MessageRef { author, client_seq: ClientSeq(7), content_type, sent_at, payload: &payload });
    let mut out = BytesMut::new();
    block.write(&mut out);
    out
}

fn ranges() -> Vec<NakRange> {
    let fragments = NakRange { first_seq: Seq(42), last_seq: Seq(42), first_fragment: 1, last_fragment: 2 };
    vec![NakRange::messages(Seq(38), Seq(40)), fragments]
}

fn fragment() -> Vec<u8> {
    (0..48_u8).map(|i| i.wrapping_mul(7).wrapping_add(3)).collect()
}

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from + i as u8)
}

fn device(from: u8) -> DeviceId {
    DeviceId(counting(from))
}

fn client(from: u8) -> ClientId {
    ClientId(counting(from))
}

fn sender() -> SenderId {
    SenderId(counting(0x10))
}

fn signing_key(vector: &Vector) -> SigningKey {
    SigningKey::from_bytes(vector.part("Ed25519 secret key").try_into().unwrap())
}
