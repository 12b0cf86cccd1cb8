//! Removes what terminals and telnet clients send besides text from a byte stream.

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

/// One key that was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypedKey {
    /// A byte of text, a line end included.
    Byte(u8),
    /// Backspace or delete: the character before goes.
    EraseCharacter,
    /// Ctrl-U: the line so far goes.
    EraseLine,
}

/// Position of the stream in a sequence of the terminal or of telnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum InputState {
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
    within: InputState,
}

impl TerminalInput {
    /// Passes on what one byte means: nothing, one key, or the byte before it as well.
    pub(crate) fn take(&mut self, byte: u8, mut key: impl FnMut(TypedKey)) {
        let before = std::mem::take(&mut self.within);
        self.within = match (before, byte) {
            (InputState::Return, 0) => InputState::Text,
            (InputState::Text | InputState::Return, _) => self.text(byte, key),
            (InputState::Command, WILL..=DONT) => InputState::Negotiation,
            (InputState::Command, SUBNEGOTIATION) => InputState::Subnegotiation,
            (InputState::Command, IAC) => {
                key(TypedKey::Byte(IAC));
                InputState::Text
            }
            (InputState::Command, FIRST_COMMAND..) => InputState::Text,
            // No telnet: a ÿ of Latin-1.
            (InputState::Command, _) => {
                key(TypedKey::Byte(IAC));
                self.text(byte, key)
            }
            (InputState::Subnegotiation, IAC) => InputState::SubnegotiationCommand,
            (InputState::SubnegotiationCommand, SUBNEGOTIATION_END)
            | (InputState::Negotiation | InputState::Function, _) => InputState::Text,
            (InputState::Subnegotiation | InputState::SubnegotiationCommand, _) => InputState::Subnegotiation,
            (InputState::Escape, b'[') => InputState::Control,
            (InputState::Escape, b'O') => InputState::Function,
            // No key: what it is shows in what stays.
            (InputState::Escape, _) => {
                key(TypedKey::Byte(ESCAPE));
                self.text(byte, key)
            }
            (InputState::Control, 0x40..=0x7e) => InputState::Text,
            (InputState::Control, _) => InputState::Control,
        };
    }

    fn text(&self, byte: u8, mut key: impl FnMut(TypedKey)) -> InputState {
        match byte {
            IAC => return InputState::Command,
            ESCAPE => return InputState::Escape,
            0x08 | 0x7f => key(TypedKey::EraseCharacter),
            ERASE_LINE => key(TypedKey::EraseLine),
            _ => key(TypedKey::Byte(byte)),
        }
        if byte == b'\r' { InputState::Return } else { InputState::Text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<TypedKey> {
        let mut input = TerminalInput::default();
        let mut keys = Vec::new();
        for &byte in bytes {
            input.take(byte, |key| keys.push(key));
        }
        keys
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        let byte = |key| match key {
            TypedKey::Byte(byte) => Some(byte),
            TypedKey::EraseCharacter | TypedKey::EraseLine => None,
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
        assert_eq!(keys(b"\x08\x7f\x15"), [TypedKey::EraseCharacter, TypedKey::EraseCharacter, TypedKey::EraseLine]);
        assert_eq!(text(b"\x00"), b"\x00", "a zero that no return stands before");
    }
}
