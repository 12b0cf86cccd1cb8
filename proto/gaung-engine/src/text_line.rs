//! Lines of the text port: a line ends at a newline, or after a silence for clients that send none.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

/// Longest line in bytes, its newline not counted.
pub const MAX_LINE: usize = 64 * 1024;
/// Silence that ends a line.
pub const LINE_SILENCE: Duration = Duration::from_millis(100);
/// Silence that ends a line that is too long, so that a client that sends no newlines can go on.
pub const DISCARD_SILENCE: Duration = Duration::from_secs(1);

/// One line as it came, never empty, without its newline and carriage return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// 1 to [`MAX_LINE`] bytes, not necessarily UTF-8.
    Text(Bytes),
    /// A line longer than [`MAX_LINE`]; it is dropped up to its end.
    TooLong,
}

/// Cuts a byte stream into lines.
///
/// After [`LineSplitter::handle_bytes`] or [`LineSplitter::handle_timeout`] take [`LineSplitter::poll_line`] until it
/// is empty; it holds no more than what was handed in and one unfinished line. Lines of blanks alone are left out.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: BytesMut,
    discarding: bool,
    silent_since: Option<Instant>,
    lines: VecDeque<Line>,
}

impl LineSplitter {
    /// Nothing heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read at `now`.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.silent_since = Some(now);
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.add(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.add(rest);
        if self.partial.is_empty() && !self.discarding {
            self.silent_since = None;
        }
    }

    /// Ends the unfinished line if it has been silent for long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.end_line();
        }
    }

    /// The stream has ended, and with it the unfinished line.
    pub fn handle_end(&mut self) {
        self.end_line();
    }

    /// The next whole line.
    pub fn poll_line(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// When [`LineSplitter::handle_timeout`] is due; `None` while no line is unfinished.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silence = if self.discarding { DISCARD_SILENCE } else { LINE_SILENCE };
        self.silent_since.map(|since| since + silence)
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.discarding {
            return;
        }
        // One more byte for the carriage return before the newline.
        if self.partial.len() + bytes.len() > MAX_LINE + 1 {
            self.partial = BytesMut::new();
            self.discarding = true;
            self.lines.push_back(Line::TooLong);
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        self.silent_since = None;
        self.discarding = false;
        let mut line = std::mem::take(&mut self.partial);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if line.len() > MAX_LINE {
            self.lines.push_back(Line::TooLong);
        } else if !line.trim_ascii().is_empty() {
            self.lines.push_back(Line::Text(line.freeze()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(splitter: &mut LineSplitter) -> Vec<Line> {
        std::iter::from_fn(|| splitter.poll_line()).collect()
    }

    fn text(line: &'static str) -> Line {
        Line::Text(Bytes::from_static(line.as_bytes()))
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
        assert_eq!(drain(&mut splitter), [Line::TooLong, text("short")]);
        splitter.handle_bytes(now, &[b'y'; MAX_LINE + 2]);
        splitter.handle_timeout(now + LINE_SILENCE);
        splitter.handle_bytes(now + LINE_SILENCE, b"more");
        splitter.handle_timeout(now + LINE_SILENCE + DISCARD_SILENCE);
        splitter.handle_bytes(now + LINE_SILENCE + DISCARD_SILENCE, b"ok\n");
        assert_eq!(drain(&mut splitter), [Line::TooLong, text("ok")]);
    }

    #[test]
    fn the_longest_line_passes() {
        let now = Instant::now();
        let mut splitter = LineSplitter::new();
        splitter.handle_bytes(now, &[b'x'; MAX_LINE]);
        splitter.handle_bytes(now, b"\r\n");
        splitter.handle_bytes(now, &[b'x'; MAX_LINE + 1]);
        splitter.handle_bytes(now, b"\n");
        assert_eq!(drain(&mut splitter), [Line::Text(vec![b'x'; MAX_LINE].into()), Line::TooLong]);
    }
}
