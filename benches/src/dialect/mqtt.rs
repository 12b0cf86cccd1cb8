//! MQTT 3.1.1: packets by their length, quality of service 0.

use gaung_tests::load::{
    dialect::{Dialect, Heard, Role, Speaker, shown, stamp_of},
    stamp::Stamp,
};

const CONNECT: u8 = 0x10;
const CONNECTED: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBSCRIBED: u8 = 0x90;
const CLEAN_SESSION: u8 = 2;
/// A remaining length has at most four digits of seven bits.
const LENGTH_BYTES: usize = 4;

/// MQTT 3.1.1, quality of service 0.
#[derive(Debug)]
pub(crate) struct Mqtt;

impl Dialect for Mqtt {
    fn greeting(&self, index: usize, role: Role) -> Vec<u8> {
        greeting(index, role)
    }

    fn scan(&self, role: Role, bytes: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<usize> {
        scan(role, bytes, hear)
    }

    fn publish(&self, speaker: Speaker, stamps: &mut dyn Iterator<Item = Stamp>, out: &mut Vec<u8>) {
        stamps.for_each(|stamp| publish(speaker, stamp, out));
    }
}

fn greeting(index: usize, role: Role) -> Vec<u8> {
    let mut out = Vec::new();
    let mut connect = text("MQTT");
    connect.extend_from_slice(&[4, CLEAN_SESSION, 0, 0]);
    connect.extend(match role {
        Role::Listener { .. } => text(&format!("l{index}")),
        Role::Speaker => text(&format!("s{index}")),
    });
    packet(CONNECT, &connect, &mut out);
    if let Role::Listener { group, .. } = role {
        let mut subscribe = vec![0, 1];
        subscribe.extend(text(&topic(group)));
        subscribe.push(0);
        packet(SUBSCRIBE, &subscribe, &mut out);
    }
    out
}

fn topic(group: usize) -> String {
    format!("g{group}")
}

fn text(words: &str) -> Vec<u8> {
    [&(words.len() as u16).to_be_bytes(), words.as_bytes()].concat()
}

fn packet(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    begin(kind, body.len(), out);
    out.extend_from_slice(body);
}

fn begin(kind: u8, mut length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    while length > 127 {
        out.push((length & 127) as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
}

fn publish(speaker: Speaker, stamp: Stamp, out: &mut Vec<u8>) {
    let topic = text(&topic(speaker.group));
    begin(PUBLISH, topic.len() + speaker.size, out);
    out.extend_from_slice(&topic);
    stamp.write(speaker.size, out);
}

fn scan(role: Role, bytes: &[u8], hear: &mut dyn FnMut(Heard)) -> anyhow::Result<usize> {
    let mut used = 0;
    while let Some((head, length)) = remaining_length(&bytes[used..])? {
        let Some(body) = bytes.get(used + head..used + head + length) else { break };
        match bytes[used] {
            PUBLISH => hear(Heard::Message { stamp: stamp_of(payload(body)?)?, seq: 0 }),
            CONNECTED => {
                anyhow::ensure!(body.last() == Some(&0), "MQTT refuses the connection");
                if role == Role::Speaker {
                    hear(Heard::Ready);
                }
            }
            SUBSCRIBED => {
                anyhow::ensure!(body.last() == Some(&0), "MQTT refuses the subscription");
                hear(Heard::Ready);
            }
            _ => anyhow::bail!("MQTT says {}", shown(&bytes[used..])),
        }
        used += head + length;
    }
    Ok(used)
}

/// Bytes before a packet's body, and of it; `None` while they have not come.
fn remaining_length(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (digit, byte) in bytes.iter().skip(1).enumerate() {
        anyhow::ensure!(digit < LENGTH_BYTES, "MQTT says {}", shown(bytes));
        length |= usize::from(byte & 127) << (7 * digit);
        if *byte < 128 {
            return Ok(Some((digit + 2, length)));
        }
    }
    Ok(None)
}

fn payload(body: &[u8]) -> anyhow::Result<&[u8]> {
    let payload =
        body.split_first_chunk::<2>().and_then(|(topic, rest)| rest.get(usize::from(u16::from_be_bytes(*topic))..));
    payload.ok_or_else(|| anyhow::anyhow!("MQTT says {}", shown(body)))
}
