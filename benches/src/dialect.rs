//! The languages of the peers.

mod mqtt;
mod nats;
mod redis;

pub(super) use self::{mqtt::Mqtt, nats::Nats, redis::Redis};
use gaung_tests::load::dialect::shown;

/// The number before `\r\n` and where the text after it begins; `None` while its end has not come.
fn decimal(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let mut value = 0_usize;
    for (place, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' if value <= usize::MAX / 100 => value = value * 10 + usize::from(byte - b'0'),
            b'\r' => return Ok((place + 1 < bytes.len()).then_some((value, place + 2))),
            _ => anyhow::bail!("no number: {}", shown(bytes)),
        }
    }
    Ok(None)
}

/// The line that `bytes` begin with, without `\r\n`, and where the next begins.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]), end + 1))
}

#[cfg(test)]
mod tests;
