//! What terminals and telnet clients send besides text, taken out of a byte stream.

/// A command follows (RFC 854).
const IAC: u8 = 255;
const SUBNEGOTIATION_END: u8 = 240;
const SUBNEGOTIATION: u8 = 250;
const WILL: u8 = 251;
const DONT: u8 = 254;
/// The lowest command, "end of file" (RFC 1184).
const FIRST_COMMAND: u8 = 236;
const ESCAPE: u8 = 0x1b;
const ERASE_LINE: u8 = 0x15;

/// One thing that was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A byte of text, a line end included.
    Byte(u8),
    /// Backspace or delete: the character before goes.
    EraseCharacter,
    /// Ctrl-U: the line so far goes.
    EraseLine,
}

/// Where in a sequence of the terminal or of telnet the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Within {
    #[default]
    Text,
    /// After a carriage return: the zero of telnet's `CR NUL` (RFC 854) is left out.
    Return,
    Command,
    /// The option's number follows.
    Negotiation,
    Subnegotiation,
    SubnegotiationCommand,
    Escape,
    /// `ESC [`, up to its final byte: arrow keys and the like (ECMA-48, 5.4).
    Control,
    /// `ESC O` and one byte: function keys.
    Function,
}

/// Takes telnet's commands and the keys without a character out of a stream, however it is cut.
#[derive(Debug, Default)]
pub(crate) struct TerminalInput {
    within: Within,
}

impl TerminalInput {
    /// Hands on what one byte means: nothing, one key, or the byte before it as well.
    pub(crate) fn take(&mut self, byte: u8, mut key: impl FnMut(Key)) {
        let before = std::mem::take(&mut self.within);
        self.within = match (before, byte) {
            (Within::Return, 0) => Within::Text,
            (Within::Text | Within::Return, _) => self.text(byte, key),
            (Within::Command, WILL..=DONT) => Within::Negotiation,
            (Within::Command, SUBNEGOTIATION) => Within::Subnegotiation,
            (Within::Command, IAC) => {
                key(Key::Byte(IAC));
                Within::Text
            }
            (Within::Command, FIRST_COMMAND..) => Within::Text,
            // No telnet: a ÿ of Latin-1.
            (Within::Command, _) => {
                key(Key::Byte(IAC));
                self.text(byte, key)
            }
            (Within::Subnegotiation, IAC) => Within::SubnegotiationCommand,
            (Within::SubnegotiationCommand, SUBNEGOTIATION_END) | (Within::Negotiation | Within::Function, _) => {
                Within::Text
            }
            (Within::Subnegotiation | Within::SubnegotiationCommand, _) => Within::Subnegotiation,
            (Within::Escape, b'[') => Within::Control,
            (Within::Escape, b'O') => Within::Function,
            // No key: what it is shows in what stays.
            (Within::Escape, _) => {
                key(Key::Byte(ESCAPE));
                self.text(byte, key)
            }
            (Within::Control, 0x40..=0x7e) => Within::Text,
            (Within::Control, _) => Within::Control,
        };
    }

    fn text(&self, byte: u8, mut key: impl FnMut(Key)) -> Within {
        match byte {
            IAC => return Within::Command,
            ESCAPE => return Within::Escape,
            0x08 | 0x7f => key(Key::EraseCharacter),
            ERASE_LINE => key(Key::EraseLine),
            _ => key(Key::Byte(byte)),
        }
        if byte == b'\r' { Within::Return } else { Within::Text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut input = TerminalInput::default();
        let mut keys = Vec::new();
        for &byte in bytes {
            input.take(byte, |key| keys.push(key));
        }
        keys
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        let byte = |key| match key {
            Key::Byte(byte) => Some(byte),
            Key::EraseCharacter | Key::EraseLine => None,
        };
        keys(bytes).into_iter().filter_map(byte).collect()
    }

    #[test]
    fn telnet_is_taken_out() {
        let negotiation =
            b"\xff\xfb\x1f\xff\xfa\x1f\x00\x50\xff\xff\x18\xff\xf0\xff\xfd\x03halo\xff\xf1\r\x00\xff\xff!";
        assert_eq!(text(negotiation), b"halo\r\xff!");
        assert_eq!(text(b"\xff\xe9 raw"), b"\xff\xe9 raw", "Latin-1 stays");
    }

    #[test]
    fn keys_without_a_character_are_taken_out() {
        assert_eq!(text(b"a\x1b[Ab\x1b[1;5Cc\x1bOPd"), b"abcd");
        assert_eq!(text(b"\x1b%-12345X"), b"\x1b%-12345X", "a printer's language is no key");
        assert_eq!(keys(b"\x08\x7f\x15"), [Key::EraseCharacter, Key::EraseCharacter, Key::EraseLine]);
        assert_eq!(text(b"\x00"), b"\x00", "a zero that no return stands before");
    }
}
