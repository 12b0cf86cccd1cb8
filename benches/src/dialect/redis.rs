//! Redis: RESP2, of which only what comes in answer to these few commands is understood.

use std::io::Write as _;

use gaung_tests::load::{
    dialect::{Dialect, Heard, Role, Speaker, shown, stamp_of},
    stamp::Stamp,
};

use super::{decimal, line};

/// Before the length of a group's name.
const MESSAGE: &[u8] = b"*3\r\n$7\r\nmessage\r\n$";
const SUBSCRIBED: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$";

/// RESP2: PUBLISH, or XADD where a message is to be kept.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) kept: bool,
}

impl Dialect for Redis {
    fn greeting(&self, _index: usize, role: Role) -> Vec<u8> {
        greeting(role)
    }

    fn scan(&self, _role: Role, bytes: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<usize> {
        scan(bytes, hear)
    }

    fn publish(&self, speaker: Speaker, stamps: &mut dyn Iterator<Item = Stamp>, out: &mut Vec<u8>) {
        stamps.for_each(|stamp| publish(speaker, self.kept, stamp, out));
    }
}

fn greeting(role: Role) -> Vec<u8> {
    match role {
        Role::Listener { group, .. } => command(&["SUBSCRIBE", &name(group)]),
        Role::Speaker => command(&["PING"]),
    }
}

fn name(group: usize) -> String {
    format!("g{group}")
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        write!(out, "${}\r\n{word}\r\n", word.len()).expect("a Vec takes all");
    }
    out
}

fn publish(speaker: Speaker, kept: bool, stamp: Stamp, out: &mut Vec<u8>) {
    let Speaker { group, size, .. } = speaker;
    let name = name(group);
    let said = match kept {
        true => write!(out, "*5\r\n$4\r\nXADD\r\n${}\r\n{name}\r\n$1\r\n*\r\n$1\r\nm\r\n${size}\r\n", name.len()),
        false => write!(out, "*3\r\n$7\r\nPUBLISH\r\n${}\r\n{name}\r\n${size}\r\n", name.len()),
    };
    said.expect("a Vec takes all");
    stamp.write(size, out);
    out.extend_from_slice(b"\r\n");
}

fn scan(bytes: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<usize> {
    let mut used = 0;
    while used < bytes.len() {
        let rest = &bytes[used..];
        let length = match rest[0] {
            b'*' => pushed(rest, hear)?,
            b'$' => kept(rest, hear)?,
            _ => answer(rest, hear)?,
        };
        match length {
            Some(length) => used += length,
            None => break,
        }
    }
    Ok(used)
}

/// What a subscription brings: that it stands, or a message.
fn pushed(rest: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<Option<usize>> {
    if let Some(after) = rest.strip_prefix(MESSAGE) {
        let Some((payload, left)) = second_string(after)? else { return Ok(None) };
        hear(Heard::Message { stamp: stamp_of(payload)?, seq: 0 });
        return Ok(Some(rest.len() - left));
    }
    if let Some(after) = rest.strip_prefix(SUBSCRIBED) {
        let Some((_, left)) = string(after)? else { return Ok(None) };
        let Some((_, length)) = line(&after[after.len() - left..]) else { return Ok(None) };
        hear(Heard::Ready);
        return Ok(Some(rest.len() - left + length));
    }
    let could_become = |begin: &[u8]| begin.starts_with(rest);
    anyhow::ensure!(could_become(MESSAGE) || could_become(SUBSCRIBED), "Redis says {}", shown(rest));
    Ok(None)
}

/// The id that XADD gives.
fn kept(rest: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<Option<usize>> {
    let Some((_, left)) = string(&rest[1..])? else { return Ok(None) };
    hear(Heard::Taken(1));
    Ok(Some(rest.len() - left))
}

fn answer(rest: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<Option<usize>> {
    let Some((text, length)) = line(rest) else { return Ok(None) };
    match text {
        b"+PONG" => hear(Heard::Ready),
        [b':', ..] => hear(Heard::Taken(1)),
        _ => anyhow::bail!("Redis says {}", shown(text)),
    }
    Ok(Some(length))
}

/// The string whose length `bytes` begin with, and how many bytes follow it.
fn string(bytes: &[u8]) -> anyhow::Result<Option<(&[u8], usize)>> {
    let Some((size, head)) = decimal(bytes)? else { return Ok(None) };
    let whole = bytes.len() >= head + size + 2;
    Ok(whole.then(|| (&bytes[head..head + size], bytes.len() - head - size - 2)))
}

/// The second of two strings, of which the first one's `$` is before `bytes`, and how many bytes follow it.
fn second_string(bytes: &[u8]) -> anyhow::Result<Option<(&[u8], usize)>> {
    let Some((_, left)) = string(bytes)? else { return Ok(None) };
    let Some((&sign, second)) = bytes[bytes.len() - left..].split_first() else { return Ok(None) };
    anyhow::ensure!(sign == b'$', "Redis says {}", shown(bytes));
    string(second)
}
