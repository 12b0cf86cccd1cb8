//! Base 32 in Crockford's alphabet, which people can read aloud and type: case and hyphens do not count, O is 0, I and L are 1.

use data_encoding::{Encoding, Specification};

/// Encodes bytes in upper case without hyphens.
pub(crate) fn encode(bytes: &[u8]) -> String {
    crockford().encode(bytes)
}

/// Decodes exactly `N` bytes. Text of more than `4 * N` bytes is refused unread, however many hyphens it has.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() > 4 * N {
        return None;
    }
    crockford().decode(text.as_bytes()).ok()?.try_into().ok()
}

fn crockford() -> Encoding {
    let mut alphabet = Specification::new();
    alphabet.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    alphabet.translate.from.push_str("abcdefghjkmnpqrstvwxyzoOiIlL");
    alphabet.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    alphabet.ignore.push_str("- ");
    alphabet.encoding().expect("32 different symbols, and each translated character leads to one of them")
}
