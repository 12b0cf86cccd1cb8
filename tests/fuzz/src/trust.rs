//! What proves who somebody is, and what people paste: policies, contents, service keys, enrolment tokens, site codes. No panic, and what was
//! understood is the same once it is written and read again.

use bytes::{BufMut as _, Bytes, BytesMut};
use ed25519_dalek::{Signer as _, SigningKey};
use gaung_proto::{
    Content, ContentType, DeviceId, Kind,
    policy::{Policy, SignedPolicy},
};
use gaung_site::{EnrolToken, ServicePublicKey, SiteCode};

/// Signs policies: a fuzzer cannot find a signature, so nothing behind its check would be tried otherwise.
const SIGNER: [u8; 32] = [7; 32];
const LABEL: &[u8] = b"gaung-policy-v1\0";

/// The first byte says what the rest is taken for.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 5 {
        0 => policy(bytes),
        1 => content(bytes),
        2 => {
            if let Ok(key) = ServicePublicKey::from_spki(bytes) {
                assert_eq!(key.to_spki(), bytes);
            }
        }
        3 => {
            if let Some(token) = parse::<EnrolToken>(bytes) {
                assert_eq!(
                    parse::<EnrolToken>(token.to_string().as_bytes()).map(|again| again.to_string()),
                    Some(token.to_string())
                );
            }
        }
        _ => {
            if let Some(code) = parse::<SiteCode>(bytes) {
                assert_eq!(parse::<SiteCode>(code.to_string().as_bytes()), Some(code));
            }
        }
    }
}

/// The bytes are those of a policy, which its signer then asks to be accepted.
fn policy(bytes: &[u8]) {
    let key = SigningKey::from_bytes(&SIGNER);
    let _ = SignedPolicy::decode(&Bytes::copy_from_slice(bytes));
    let signature = key.sign(&[LABEL, bytes].concat()).to_bytes();
    let mut signed = BytesMut::new();
    for (field, value) in [(1, bytes), (2, key.verifying_key().as_bytes()), (3, &signature)] {
        put_field(&mut signed, field, value);
    }
    let Ok(decoded) = SignedPolicy::decode(&signed.freeze()) else { return };
    let (policy, owner) = (decoded.policy().clone(), decoded.signer());
    let again = SignedPolicy::sign(&key, policy.clone());
    assert_eq!(SignedPolicy::decode(again.encoded()).map(|again| again.policy().clone()).ok(), Some(policy.clone()));
    for signer in [owner, DeviceId::NONE] {
        let _ = Policy::unset(policy.group).accept(owner, &policy, signer);
        let _ = policy.accept(owner, &Policy { version: policy.version.wrapping_add(1), ..policy.clone() }, signer);
    }
}

/// The first byte is the type that a routing header announces.
fn content(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else { return };
    let content = Content::decode(ContentType::from_byte(*kind), &Bytes::copy_from_slice(payload));
    if matches!(content.kind, Kind::Unknown { .. }) {
        return;
    }
    let (content_type, encoded) = content.encode();
    assert_eq!(Content::decode(content_type, &encoded), content);
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Adds a field of bytes as protobuf encodes it.
fn put_field(out: &mut BytesMut, field: u8, value: &[u8]) {
    out.put_u8(field << 3 | 2);
    let mut length = value.len();
    while length > 127 {
        out.put_u8(length as u8 | 128);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.put_slice(value);
}
