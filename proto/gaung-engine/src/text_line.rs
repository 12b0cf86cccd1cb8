//! Lines of the text port: a line ends at a newline, or after a silence for clients that send none.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use crate::{
    foreign_protocol::{ForeignProtocol, is_binary, judge_first_line, judge_later_line, may_begin_foreign},
    terminal_input::{TerminalInput, TypedKey},
    timing::TIMING,
};

/// Longest line in bytes, its newline not counted.
pub const MAX_LINE: usize = 64 * 1024;

/// One line as it came, never empty, without its newline and carriage return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextLine {
    /// 1 to [`MAX_LINE`] bytes, not necessarily UTF-8.
    Text(Bytes),
    /// A line longer than [`MAX_LINE`]; it is dropped up to its end.
    TooLong,
    /// The peer speaks another protocol. Nothing comes after it, and nothing that came with it is a line.
    Foreign(ForeignProtocol),
}

/// Cuts a byte stream into lines.
///
/// After [`LineSplitter::handle_bytes`] or [`LineSplitter::handle_timeout`] take [`LineSplitter::poll_line`] until it
/// is empty; it holds no more than what was handed in and one unfinished line. Lines of blanks alone are left out.
///
/// Three kinds of clients are told apart by what they send. *Lines with newlines*, as netcat does. *Whole messages without a
/// newline*, as clients do that were written for an exercise: a silence of 100 ms ends them. *Keys* as they are pressed, as
/// telnet does: a line that began with a single character waits for its newline, and is edited by backspace. A first
/// character to which nothing is added may be either kind's whole message, and waits for 2 s.
#[derive(Debug, Default)]
pub struct LineSplitter {
    input: TerminalInput,
    partial: BytesMut,
    arrival: LineArrival,
    discarding: bool,
    /// A carriage return has ended the line; the newline after it ends none.
    returned: bool,
    silent_since: Option<Instant>,
    lines: VecDeque<TextLine>,
    habits: ClientHabits,
    is_foreign: bool,
}

/// How the bytes of the unfinished line came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum LineArrival {
    /// In pieces of more than one character.
    #[default]
    Pieces,
    /// A single character came, as from a terminal that sends keys.
    FirstKey,
    /// A single character and more behind it.
    Keys,
}

/// Habits that the client has shown.
#[derive(Debug, Clone, Copy, Default)]
struct ClientHabits {
    sends_newlines: bool,
    sends_whole_messages: bool,
    /// A line was judged and is no other protocol's.
    speaks_text: bool,
}

impl LineSplitter {
    /// Creates a splitter that has received nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the bytes that were read at `now`.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if self.is_foreign || bytes.is_empty() {
            return;
        }
        self.silent_since = Some(now);
        let mut text = BytesMut::with_capacity(bytes.len());
        let began_empty = self.partial.is_empty();
        let mut characters = 0;
        let mut is_data = false;
        let mut input = std::mem::take(&mut self.input);
        for &byte in bytes {
            input.take(byte, |key| match key {
                TypedKey::Byte(byte) if is_binary(byte) => is_data = true,
                TypedKey::Byte(b'\n') if std::mem::take(&mut self.returned) => {}
                TypedKey::Byte(b'\n') => {
                    self.add(&text.split());
                    self.end_line(LineEnd::Newline);
                }
                TypedKey::Byte(byte) => {
                    self.returned = false;
                    // Not the later bytes of one character of UTF-8.
                    characters += usize::from(byte & 0xc0 != 0x80);
                    text.extend_from_slice(&[byte]);
                }
                TypedKey::EraseCharacter => {
                    self.add(&text.split());
                    self.erase_character();
                }
                TypedKey::EraseLine => {
                    text.clear();
                    self.partial.clear();
                }
            });
        }
        self.input = input;
        if self.is_foreign {
            return;
        }
        if is_data {
            return self.foreign(ForeignProtocol::Binary);
        }
        if began_empty && !text.is_empty() {
            self.arrival = if characters == 1 { LineArrival::FirstKey } else { LineArrival::Pieces };
        } else if self.arrival == LineArrival::FirstKey {
            self.arrival = LineArrival::Keys;
        }
        self.add(&text);
        if self.arrival != LineArrival::Pieces && self.partial.last() == Some(&b'\r') {
            self.end_line(LineEnd::Newline);
            self.returned = true;
        }
        if self.partial.is_empty() && !self.discarding {
            self.silent_since = None;
        }
    }

    /// Ends the unfinished line if it has been silent for long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.habits.sends_whole_messages |= self.arrival == LineArrival::Pieces && !self.habits.sends_newlines;
            self.end_line(LineEnd::Silence);
        }
    }

    /// Ends the unfinished line, because the stream has ended.
    pub fn handle_end(&mut self) {
        self.end_line(LineEnd::Silence);
    }

    /// Returns the next whole line, oldest first.
    pub fn poll_line(&mut self) -> Option<TextLine> {
        self.lines.pop_front()
    }

    /// Returns when [`LineSplitter::handle_timeout`] is due; `None` while no line is unfinished.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.silent_since.map(|since| since + self.silence())
    }

    fn silence(&self) -> Duration {
        let habits = self.habits;
        match self.arrival {
            _ if self.discarding => TIMING.line_discard_silence,
            LineArrival::FirstKey | LineArrival::Keys if habits.sends_newlines => TIMING.line_typing_silence,
            LineArrival::FirstKey if !habits.sends_whole_messages => TIMING.line_first_key_silence,
            LineArrival::Keys if !habits.sends_whole_messages => TIMING.line_key_silence,
            _ if habits.sends_newlines => TIMING.line_segment_silence,
            _ if !habits.speaks_text && may_begin_foreign(&self.partial) => TIMING.line_segment_silence,
            LineArrival::FirstKey | LineArrival::Keys | LineArrival::Pieces => TIMING.line_silence,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.discarding {
            return;
        }
        // One more byte for the carriage return before the newline.
        if self.partial.len() + bytes.len() <= MAX_LINE + 1 {
            return self.partial.extend_from_slice(bytes);
        }
        let mut beginning = std::mem::take(&mut self.partial);
        beginning.extend_from_slice(&bytes[..bytes.len().min(FIRST_WORDS)]);
        self.discarding = true;
        match self.judge(&beginning, LineEnd::Silence) {
            Some(protocol) => self.foreign(protocol),
            None => self.lines.push_back(TextLine::TooLong),
        }
    }

    fn erase_character(&mut self) {
        while let Some(byte) = self.partial.last().copied() {
            self.partial.truncate(self.partial.len() - 1);
            if byte & 0xc0 != 0x80 {
                break;
            }
        }
    }

    fn end_line(&mut self, end: LineEnd) {
        self.habits.sends_newlines |= end == LineEnd::Newline;
        self.silent_since = None;
        self.discarding = false;
        let mut line = std::mem::take(&mut self.partial);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if self.is_foreign || line.trim_ascii().is_empty() {
            return;
        }
        match self.judge(&line, end) {
            Some(protocol) => self.foreign(protocol),
            None if line.len() > MAX_LINE => self.lines.push_back(TextLine::TooLong),
            None => self.lines.push_back(TextLine::Text(line.freeze())),
        }
    }

    fn judge(&mut self, line: &[u8], end: LineEnd) -> Option<ForeignProtocol> {
        let protocol = match self.habits.speaks_text {
            true => judge_later_line(line),
            false => judge_first_line(line, end == LineEnd::Newline),
        };
        self.habits.speaks_text |= protocol.is_none();
        protocol
    }

    /// Reports another protocol, and drops the lines that came in the same piece.
    fn foreign(&mut self, protocol: ForeignProtocol) {
        self.is_foreign = true;
        self.partial = BytesMut::new();
        self.silent_since = None;
        self.lines.clear();
        self.lines.push_back(TextLine::Foreign(protocol));
    }
}

/// Says what ended a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Newline,
    /// Or the end of the stream, or the longest line: it may have been cut.
    Silence,
}

/// Bytes of a line that is too long by which its protocol is judged.
const FIRST_WORDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(splitter: &mut LineSplitter) -> Vec<TextLine> {
        std::iter::from_fn(|| splitter.poll_line()).collect()
    }

    fn text(line: &'static str) -> TextLine {
        TextLine::Text(Bytes::from_static(line.as_bytes()))
    }

    #[test]
    fn newlines_end_lines_however_they_arrive() {
        let now = Instant::now();
        let mut whole = LineSplitter::new();
        whole.handle_bytes(now, b"satu\r\n\ndua\n \ntiga\n");
        assert_eq!(drain(&mut whole), [text("satu"), text("dua"), text("tiga")]);
        assert_eq!(whole.poll_timeout(), None);
        let mut bytewise = LineSplitter::new();
        for byte in b"satu\r\n\ndua\n \ntiga\n" {
            bytewise.handle_bytes(now, &[*byte]);
        }
        assert_eq!(drain(&mut bytewise), [text("satu"), text("dua"), text("tiga")]);
    }

    #[test]
    fn silence_ends_a_line_without_newline() {
        let start = Instant::now();
        let mut splitter = LineSplitter::new();
        splitter.handle_bytes(start, b"halo ");
        splitter.handle_bytes(start + Duration::from_millis(60), b"dunia");
        splitter.handle_timeout(start + Duration::from_millis(120));
        assert_eq!(drain(&mut splitter), []);
        let due = splitter.poll_timeout();
        assert_eq!(due, Some(start + Duration::from_millis(160)));
        splitter.handle_timeout(start + Duration::from_millis(160));
        assert_eq!(drain(&mut splitter), [text("halo dunia")]);
        splitter.handle_bytes(start + Duration::from_millis(300), b"\r\n");
        assert_eq!((drain(&mut splitter), splitter.poll_timeout()), (vec![], None), "a late newline says nothing");
        splitter.handle_bytes(start, b"akhir");
        splitter.handle_end();
        assert_eq!(drain(&mut splitter), [text("akhir")]);
    }

    #[test]
    fn a_long_line_gives_one_error_and_is_dropped_up_to_its_end() {
        let now = Instant::now();
        let mut splitter = LineSplitter::new();
        for _ in 0..160 {
            splitter.handle_bytes(now, &[b'x'; 64 * 1024]);
            assert!(splitter.partial.capacity() <= 4 * MAX_LINE);
        }
        splitter.handle_bytes(now, b"tail\nshort\n");
        assert_eq!(drain(&mut splitter), [TextLine::TooLong, text("short")]);
        splitter.handle_bytes(now, &[b'y'; MAX_LINE + 2]);
        splitter.handle_timeout(now + TIMING.line_silence);
        splitter.handle_bytes(now + TIMING.line_silence, b"more");
        splitter.handle_timeout(now + TIMING.line_silence + TIMING.line_discard_silence);
        splitter.handle_bytes(now + TIMING.line_silence + TIMING.line_discard_silence, b"ok\n");
        assert_eq!(drain(&mut splitter), [TextLine::TooLong, text("ok")]);
    }

    #[test]
    fn keys_make_one_line_and_can_be_taken_back() {
        let start = Instant::now();
        let mut splitter = LineSplitter::new();
        for (i, byte) in "halp\u{7f}o é\u{8}😀x\u{8}semua\r\0".bytes().enumerate() {
            let now = start + Duration::from_millis(300 * i as u64);
            splitter.handle_timeout(now);
            splitter.handle_bytes(now, &[byte]);
        }
        assert_eq!((drain(&mut splitter), splitter.poll_timeout()), (vec![text("halo 😀semua")], None));
        for byte in b"salah\x15ya\r\n" {
            splitter.handle_bytes(start, &[*byte]);
        }
        assert_eq!((drain(&mut splitter), splitter.poll_timeout()), (vec![text("ya")], None), "a return ends it, once");
        splitter.handle_bytes(start, b"l");
        assert_eq!(splitter.poll_timeout(), Some(start + TIMING.line_typing_silence));
    }

    #[test]
    fn a_key_waits_unless_the_client_sends_whole_messages() {
        let start = Instant::now();
        let mut splitter = LineSplitter::new();
        splitter.handle_bytes(start, b"y");
        assert_eq!(splitter.poll_timeout(), Some(start + TIMING.line_first_key_silence));
        splitter.handle_timeout(start + TIMING.line_first_key_silence);
        assert_eq!(drain(&mut splitter), [text("y")]);
        splitter.handle_bytes(start, b"y");
        splitter.handle_bytes(start + Duration::from_secs(1), b"a");
        assert_eq!(
            splitter.poll_timeout(),
            Some(start + Duration::from_secs(1) + TIMING.line_key_silence),
            "somebody types"
        );
        splitter.handle_bytes(start + Duration::from_secs(2), b"\x7f");
        assert_eq!(
            splitter.poll_timeout(),
            Some(start + Duration::from_secs(2) + TIMING.line_key_silence),
            "and corrects"
        );
        splitter.handle_end();
        assert_eq!(drain(&mut splitter), [text("y")]);
        splitter.handle_bytes(start, b"halo");
        splitter.handle_timeout(start + TIMING.line_silence);
        splitter.handle_bytes(start, b"y");
        splitter.handle_timeout(start + TIMING.line_silence);
        assert_eq!(drain(&mut splitter), [text("halo"), text("y")]);
    }

    #[test]
    fn who_sends_newlines_is_waited_for() {
        let start = Instant::now();
        let mut splitter = LineSplitter::new();
        splitter.handle_bytes(start, b"satu\ndu");
        splitter.handle_timeout(start + TIMING.line_silence);
        assert_eq!(drain(&mut splitter), [text("satu")]);
        splitter.handle_bytes(start + TIMING.line_silence, b"a\n");
        assert_eq!(drain(&mut splitter), [text("dua")]);
    }

    #[test]
    fn nothing_of_another_protocol_is_a_line() {
        let post: &[u8] = b"POST / HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n\r\n/name Pak Guru\nUjian dibatalkan!\n";
        let tls = [&b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03"[..], &[b'a'; 90], b"\nhalo\n"].concat();
        let long = [&b"GET /"[..], &[b'a'; 2 * MAX_LINE], b" HTTP/1.1\r\nHost: x\r\n"].concat();
        let binary_later: &[u8] = b"hello\n\0\0\x01\n";
        for (bytes, protocol) in [
            (post, ForeignProtocol::Http),
            (&tls, ForeignProtocol::Binary),
            (&long, ForeignProtocol::Http),
            (binary_later, ForeignProtocol::Binary),
            (b"SSH-2.0-x\r\n", ForeignProtocol::Lines),
        ] {
            for piece in [bytes.len(), 7, 1] {
                let start = Instant::now();
                let mut splitter = LineSplitter::new();
                let mut lines = Vec::new();
                for (i, piece) in bytes.chunks(piece).enumerate() {
                    let now = start + Duration::from_millis(150) * i as u32;
                    splitter.handle_timeout(now);
                    splitter.handle_bytes(now, piece);
                    lines.extend(drain(&mut splitter));
                }
                splitter.handle_end();
                lines.extend(drain(&mut splitter));
                if bytes == binary_later {
                    lines.retain(|line| *line != text("hello"));
                }
                assert_eq!(
                    lines,
                    [TextLine::Foreign(protocol)],
                    "in pieces of {piece}: {:?}",
                    bytes.escape_ascii().to_string()
                );
            }
        }
    }

    #[test]
    fn the_longest_line_passes() {
        let now = Instant::now();
        let mut splitter = LineSplitter::new();
        splitter.handle_bytes(now, &[b'x'; MAX_LINE]);
        splitter.handle_bytes(now, b"\r\n");
        splitter.handle_bytes(now, &[b'x'; MAX_LINE + 1]);
        splitter.handle_bytes(now, b"\n");
        assert_eq!(drain(&mut splitter), [TextLine::Text(vec![b'x'; MAX_LINE].into()), TextLine::TooLong]);
    }
}
