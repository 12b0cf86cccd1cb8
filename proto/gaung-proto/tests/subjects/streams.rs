use bytes::{Bytes, BytesMut};
use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, Epoch, GroupId, Kind, LogId, Seq,
    authorship::{self, Authorship, SeenCheckpoint, SignedContext},
    block::{Author, Block, BlockBuilder, MessageRef, SentAt},
    frame::{self, AcceptedItems, FrameItem},
    limits::MAX_PAYLOAD,
    pb,
    policy::{Policy, PolicyChange, Role, SignedPolicy},
    run::{Run, RunHeader},
    signing,
};
use prost::Message as _;
use rand::{Rng as _, rngs::StdRng};

use super::{Decoded, Subject, id, length, random_bytes};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "block", sample: block, decode: decode_block },
        Subject { name: "run", sample: |rng| run(rng).as_bytes().to_vec(), decode: decode_run },
        Subject { name: "stream", sample: stream, decode: |bytes| decode_stream(bytes, AcceptedItems::ControlAndRuns) },
        Subject {
            name: "control stream",
            sample: control,
            decode: |bytes| decode_stream(bytes, AcceptedItems::Control),
        },
        Subject { name: "content", sample: content, decode: decode_content },
        Subject { name: "signed content", sample: signed_content, decode: decode_signed_content },
        Subject { name: "ticket", sample: ticket, decode: decode_ticket },
        Subject { name: "policy", sample: policy, decode: decode_policy },
    ]
}

fn builder(rng: &mut StdRng) -> BlockBuilder {
    let authors: Vec<Author> =
        (0..rng.random_range(1..4)).map(|_| Author { device: DeviceId(id(rng)), client: ClientId(id(rng)) }).collect();
    let mut builder = BlockBuilder::new();
    let mut sent_at = rng.random_range(0..u64::MAX / 2);
    for _ in 0..rng.random_range(1..12) {
        let limit = if rng.random_range(0..2000) == 0 { MAX_PAYLOAD / 12 } else { 2000 };
        let len = length(rng, limit);
        builder.push(&MessageRef {
            author: authors[rng.random_range(0..authors.len())],
            client_seq: ClientSeq(rng.random()),
            content_type: ContentType::from_byte(rng.random()),
            sent_at: SentAt(sent_at),
            payload: &random_bytes(rng, len),
        });
        sent_at += rng.random_range(0..1000);
    }
    builder
}

fn block(rng: &mut StdRng) -> Vec<u8> {
    let mut out = BytesMut::new();
    builder(rng).write(&mut out);
    out.to_vec()
}

fn decode_block(bytes: &[u8]) -> Option<Decoded> {
    let block = Block::parse(bytes).ok()?;
    let mut builder = BlockBuilder::new();
    for message in block.messages() {
        assert!(block.authors().any(|author| author == message.author), "an author outside the table");
        builder.push(&message);
    }
    assert_eq!(builder.count(), block.count());
    let mut out = BytesMut::new();
    builder.write(&mut out);
    Decoded::loose(out)
}

fn run(rng: &mut StdRng) -> Run {
    let header = RunHeader {
        group: GroupId(id(rng)),
        log: LogId(rng.random()),
        epoch: Epoch(rng.random_range(1..=u32::MAX)),
        base_seq: Seq(rng.random_range(1..=u64::MAX / 2)),
    };
    Run::encode(header, &builder(rng))
}

fn decode_run(bytes: &[u8]) -> Option<Decoded> {
    let run = Run::parse(Bytes::copy_from_slice(bytes)).ok()?;
    let seqs: Vec<Seq> = run.messages().map(|message| message.seq).collect();
    assert_eq!((seqs.first(), seqs.last()), (Some(&run.first_seq()), Some(&run.last_seq())));
    Decoded::canonical(run.as_bytes().to_vec())
}

fn control_frame(rng: &mut StdRng) -> Bytes {
    let len = length(rng, 2000);
    let entry = pb::hub::PublishEntry {
        client_seq: rng.random(),
        content_type: rng.random_range(0..=255),
        payload: random_bytes(rng, len).into(),
    };
    let frame = pb::hub::client_frame::Frame::Publish(pb::hub::Publish {
        tag: rng.random(),
        group_id: GroupId(id(rng)).into(),
        entries: vec![entry; rng.random_range(0..3)],
        ticket: Bytes::new(),
        log_id: rng.random(),
    });
    frame::encode_control(&pb::hub::ClientFrame { frame: Some(frame) })
}

fn control(rng: &mut StdRng) -> Vec<u8> {
    (0..rng.random_range(1..4)).flat_map(|_| control_frame(rng)).collect()
}

fn stream(rng: &mut StdRng) -> Vec<u8> {
    let item = |_| if rng.random() { control_frame(rng) } else { run(rng).as_bytes().clone() };
    (0..3).flat_map(item).collect()
}

fn decode_stream(bytes: &[u8], accept: AcceptedItems) -> Option<Decoded> {
    let mut buffer = BytesMut::from(bytes);
    let mut again = Vec::new();
    while let Some(item) = frame::decode(&mut buffer, accept).ok()? {
        match item {
            FrameItem::Run(run) => {
                assert_eq!(accept, AcceptedItems::ControlAndRuns, "a run where none may come");
                again.extend_from_slice(run.as_bytes());
            }
            FrameItem::Control(body) => {
                let _ = pb::hub::ServerFrame::decode(body.clone());
                let _ = pb::hub::ClientFrame::decode(body.clone());
                again.extend_from_slice(&[b'G', b'F', 1, 0]);
                again.extend_from_slice(&(body.len() as u32 + 8).to_be_bytes());
                again.extend_from_slice(&body);
            }
        }
    }
    again.extend_from_slice(&buffer);
    Decoded::canonical(again)
}

/// The content type's byte, then the payload: a golden vector's, a text, or one of an unknown kind.
fn content(rng: &mut StdRng) -> Vec<u8> {
    let golden = include_str!("../golden/content.hex").lines().filter(|line| !line.starts_with('#'));
    let golden: Vec<&str> = golden.collect();
    let len = length(rng, 300);
    let body = Bytes::from(random_bytes(rng, len));
    let at = rng.random_range(0..golden.len() + 2);
    if let Some((hex, says)) = golden.get(at).and_then(|line| line.split_once('#')) {
        let content_type = says.split_whitespace().next().and_then(|byte| byte.parse().ok()).expect("a content type");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("a byte in hex");
        return std::iter::once(content_type).chain((0..hex.trim().len()).step_by(2).map(byte)).collect();
    }
    let kind = if at == golden.len() {
        Kind::Text(body)
    } else {
        Kind::Unknown { content_type: ContentType::Unknown(rng.random_range(100..=255)), payload: body }
    };
    let (content_type, payload) = Content { author_name: "Sari".to_owned(), kind }.encode();
    [&[content_type.to_byte()], &payload[..]].concat()
}

fn decode_content(bytes: &[u8]) -> Option<Decoded> {
    let (&content_type, payload) = bytes.split_first()?;
    let content_type = ContentType::from_byte(content_type);
    let content = Content::decode(content_type, &Bytes::copy_from_slice(payload));
    let (again_type, again) = content.encode();
    assert_eq!(again_type, content_type, "the routing header's kind is kept");
    Decoded::loose([&[again_type.to_byte()], &again[..]].concat())
}

const SIGNED_CONTEXT: SignedContext = SignedContext {
    group: GroupId([1; 16]),
    log: LogId(2),
    client: ClientId([3; 16]),
    client_seq: ClientSeq(4),
    content_type: ContentType::Text,
};

fn signed_content(rng: &mut StdRng) -> Vec<u8> {
    let seen = SeenCheckpoint { seq: Seq(rng.random()), hash: rng.random() };
    let len = length(rng, 2000);
    let (_, payload) = Content::text("Sari", random_bytes(rng, len)).encode();
    authorship::sign(&registry_key(), &SIGNED_CONTEXT, &payload, seen).to_vec()
}

/// What is taken for signed has every bit that was signed.
fn decode_signed_content(bytes: &[u8]) -> Option<Decoded> {
    let Authorship::Signed { public_key, seen } = Authorship::of(&SIGNED_CONTEXT, DeviceId::NONE, bytes) else {
        return None;
    };
    assert_eq!(public_key, registry_key().verifying_key().to_bytes(), "the only key that has signed");
    let payload = &bytes[..bytes.len() - authorship::TRAILER_BYTES];
    Decoded::canonical(authorship::sign(&registry_key(), &SIGNED_CONTEXT, payload, seen))
}

fn registry_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

const TICKET_GROUP: GroupId = GroupId([1; 16]);
const TICKET_DEVICE: DeviceId = DeviceId([2; 16]);

fn ticket(rng: &mut StdRng) -> Vec<u8> {
    signing::issue_ticket(&registry_key(), TICKET_GROUP, TICKET_DEVICE, rng.random_range(1..i64::MAX), rng.random())
        .to_vec()
}

fn decode_ticket(bytes: &[u8]) -> Option<Decoded> {
    let key = registry_key().verifying_key();
    signing::verify_ticket(key.as_bytes(), bytes, TICKET_GROUP, TICKET_DEVICE, 0).ok()?;
    Decoded::loose(bytes)
}

fn policy(rng: &mut StdRng) -> Vec<u8> {
    let mut policy = Policy::unset(TICKET_GROUP);
    for _ in 0..rng.random_range(1..6) {
        let device = DeviceId(rng.random());
        policy = policy.with(match rng.random_range(0..4) {
            0 => PolicyChange::SetRole(device, Role::Moderator),
            1 => PolicyChange::Ban(device),
            2 => PolicyChange::Mute(device, rng.random()),
            _ => PolicyChange::Kick(device),
        });
    }
    SignedPolicy::sign(&registry_key(), policy).encoded().to_vec()
}

/// A policy is encoded in one way; what stands around it as protobuf may differ.
fn decode_policy(bytes: &[u8]) -> Option<Decoded> {
    let signed = SignedPolicy::decode(&Bytes::copy_from_slice(bytes)).ok()?;
    let again = SignedPolicy::sign(&registry_key(), signed.policy().clone());
    assert_eq!(again.policy(), signed.policy());
    assert_eq!(again.signer(), signed.signer(), "the only key that has signed");
    Decoded::loose(bytes)
}
