//! Messages that carry their burst and index as text, so that they pass every lane.

use bytes::Bytes;

/// Makes a message: `burst BURST message INDEX`, filled with dots up to `bytes`.
pub(super) fn text(burst: u32, index: u32, bytes: usize) -> Bytes {
    Bytes::from(format!("{:.<bytes$}", format!("burst {burst} message {index} ")))
}

/// Parses burst and index of such a message; `None` for any other.
pub(super) fn read(text: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.strip_prefix("burst ")?.split(' ');
    let burst = words.next()?.parse().ok()?;
    let index = words.nth(1)?.parse().ok()?;
    Some((burst, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_read() {
        for (burst, index, bytes) in [(0, 0, 1000), (7, 12, 30), (u32::MAX, u32::MAX, 1)] {
            let text = text(burst, index, bytes);
            assert_eq!(read(&text), Some((burst, index)));
            assert!(bytes < 30 || text.len() == bytes);
        }
        assert_eq!([read(b""), read(b"burst x message 1 "), read(b"hello")], [None; 3]);
    }
}
