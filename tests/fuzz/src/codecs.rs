//! Everything that is decoded from the network, and the device key of a file: no panic, and what was understood is written back as the same bytes.

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DecodeError, DeviceId, GroupId, LogId,
    authorship::{Authorship, SignedContext},
    block::Block,
    body::{Broadcast, Data, Heartbeat, Migrate, Nak, Ncf, Parity, Probe, Puback, Publish, Status},
    datagram::{DATAGRAM_HEADER, Header, MAX_PADDING, PacketType, flags},
    frame::{self, AcceptedItems},
    run::Run,
};
use gaung_site::ProtectedKey;

/// First byte of an input that is a file of a protected key.
const PROTECTED_KEY: u8 = 0xfe;

/// The first byte says what the rest is taken for.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 4 {
        _ if *kind == u8::MAX => signed_payload(bytes),
        _ if *kind == PROTECTED_KEY => protected_key(bytes),
        0 => datagram(bytes),
        1 => {
            if let Ok(run) = Run::parse(Bytes::copy_from_slice(bytes)) {
                assert_eq!(&run.as_bytes()[..], bytes);
                assert_eq!(run.messages().count(), usize::from(run.count()));
            }
        }
        2 => {
            if let Ok(block) = Block::parse(bytes) {
                assert_eq!(block.messages().count(), usize::from(block.count()));
            }
        }
        _ => {
            let mut buffer = BytesMut::from(bytes);
            let reserved = buffer.capacity();
            while let Ok(Some(_)) = frame::decode(&mut buffer, AcceptedItems::ControlAndRuns) {}
            assert!(buffer.capacity() <= reserved.max(2 << 20), "no more is reserved than one frame");
        }
    }
}

/// No input is signed: the fuzzer cannot find a signature, whatever it changes.
fn signed_payload(bytes: &[u8]) {
    let context = SignedContext {
        group: GroupId::NONE,
        log: LogId(1),
        client: ClientId([0; 16]),
        client_seq: ClientSeq(1),
        content_type: ContentType::Text,
    };
    let authorship = Authorship::of(&context, DeviceId::NONE, bytes);
    assert!(authorship.signer().is_none(), "{authorship:?}");
}

/// A key that is read is not decrypted: that takes as much memory and time as its text says.
fn protected_key(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = text.parse::<ProtectedKey>() {
        assert_eq!(key.to_string(), text);
    }
}

fn datagram(bytes: &[u8]) {
    let Ok((header, body)) = Header::decode(bytes) else { return };
    let padding = bytes.len() - DATAGRAM_HEADER - body.len();
    assert!(padding <= if header.packet_type == PacketType::Data { MAX_PADDING } else { 0 });
    assert_eq!(header.encode_padded(body, padding), bytes);
    let mut again = BytesMut::new();
    if write_again(&header, body, &mut again).is_ok() {
        assert_eq!(again, body, "{:?}", header.packet_type);
    }
}

fn write_again(header: &Header, body: &[u8], out: &mut BytesMut) -> Result<(), DecodeError> {
    match header.packet_type {
        PacketType::Data => Data::decode(body, header.has(flags::REPAIR))?.write(out),
        PacketType::Heartbeat => Heartbeat::decode(body)?.write(out),
        PacketType::Nak => Nak::decode(body)?.write(out),
        PacketType::Ncf => Ncf::decode(body)?.write(out),
        PacketType::Status => Status::decode(body)?.write(out),
        PacketType::Parity => Parity::decode(body)?.write(out),
        PacketType::Probe => Probe::decode(body)?.write(out),
        PacketType::Migrate => Migrate::decode(body)?.write(out),
        PacketType::Publish => Publish::decode(body)?.write(out),
        PacketType::Puback => Puback::decode(body)?.write(out),
        PacketType::Broadcast => Broadcast::decode(body)?.write(out),
    }
    Ok(())
}
