//! NATS: lines, and payloads by their length.

use std::io::Write as _;

use gaung_tests::load::{
    dialect::{Dialect, Heard, Role, Speaker, shown, stamp_of},
    stamp::Stamp,
};

use super::{decimal, line};

/// Subject and subscription number of a listener's group stand before a message's length.
const MESSAGE: &[u8] = b"MSG ";
/// An acknowledged message's answer comes here; JetStream answers with JSON.
const ANSWERS: u8 = b'a';

/// The NATS protocol; with JetStream a message is acknowledged.
#[derive(Debug)]
pub(crate) struct Nats {
    pub(crate) acknowledged: bool,
}

impl Dialect for Nats {
    fn greeting(&self, index: usize, role: Role) -> Vec<u8> {
        greeting(index, role, self.acknowledged)
    }

    fn scan(&self, _role: Role, bytes: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<usize> {
        scan(bytes, hear)
    }

    fn publish(&self, speaker: Speaker, stamps: &mut dyn Iterator<Item = Stamp>, out: &mut Vec<u8>) {
        stamps.for_each(|stamp| publish(speaker, self.acknowledged, stamp, out));
    }
}

fn greeting(index: usize, role: Role, acknowledged: bool) -> Vec<u8> {
    let mut out = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n".to_vec();
    let said = match role {
        Role::Listener { group, .. } => write!(out, "SUB g{group} 1\r\n"),
        Role::Speaker if acknowledged => write!(out, "SUB {}{index} 2\r\n", char::from(ANSWERS)),
        Role::Speaker => Ok(()),
    };
    said.and_then(|()| out.write_all(b"PING\r\n")).expect("a Vec takes all");
    out
}

fn publish(speaker: Speaker, acknowledged: bool, stamp: Stamp, out: &mut Vec<u8>) {
    let Speaker { group, index, size, .. } = speaker;
    let said = match acknowledged {
        true => write!(out, "PUB g{group} {}{index} {size}\r\n", char::from(ANSWERS)),
        false => write!(out, "PUB g{group} {size}\r\n"),
    };
    said.expect("a Vec takes all");
    stamp.write(size, out);
    out.extend_from_slice(b"\r\n");
}

fn scan(bytes: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<usize> {
    let mut used = 0;
    while used < bytes.len() {
        let rest = &bytes[used..];
        let length = if rest.starts_with(MESSAGE) { message(rest, hear)? } else { control(rest, hear)? };
        match length {
            Some(length) => used += length,
            None => break,
        }
    }
    Ok(used)
}

/// `MSG subject number length`, and a payload.
fn message(rest: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<Option<usize>> {
    let Some(subject) = rest[MESSAGE.len()..].iter().position(|&byte| byte == b' ') else { return Ok(None) };
    // The number of a subscription has one digit here.
    let digits = MESSAGE.len() + subject + 3;
    let Some((size, head)) = rest.get(digits..).map(decimal).transpose()?.flatten() else { return Ok(None) };
    let length = digits + head + size + 2;
    let Some(payload) = rest.get(digits + head..length - 2) else { return Ok(None) };
    if rest.len() < length {
        return Ok(None);
    }
    if rest[MESSAGE.len()] == ANSWERS {
        let refused = payload.windows(8).any(|part| part == b"\"error\":");
        anyhow::ensure!(!refused, "JetStream refuses: {}", shown(payload));
        hear(Heard::Taken(1));
    } else {
        hear(Heard::Message { stamp: stamp_of(payload)?, seq: 0 });
    }
    Ok(Some(length))
}

fn control(rest: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<Option<usize>> {
    let Some((text, length)) = line(rest) else { return Ok(None) };
    match text {
        b"PONG" => hear(Heard::Ready),
        b"PING" => hear(Heard::Ask(b"PONG\r\n")),
        b"+OK" => {}
        _ if text.starts_with(b"INFO") => {}
        _ => anyhow::bail!("NATS says {}", shown(text)),
    }
    Ok(Some(length))
}
