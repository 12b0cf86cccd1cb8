//! Reads lines of stdin in a thread; they need not be UTF-8, and their length is limited.

use std::io::{self, BufRead};

use bytes::Bytes;
use gaung_proto::limits::MAX_PAYLOAD;
use tokio::sync::mpsc;

/// One line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StdinLine {
    /// Its number from 1, empty lines counted.
    pub(crate) number: u64,
    /// Its content.
    pub(crate) body: LineBody,
}

/// The content of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LineBody {
    /// Its bytes, without `\n` or `\r\n`.
    Bytes(Bytes),
    /// It was skipped, since it has more bytes than a message may have.
    TooLong,
    /// Stdin failed before its end.
    Broken(String),
}

/// How many lines are read ahead.
const AHEAD: usize = 64;

/// Starts the thread; the channel ends with stdin. The thread lives until then, or until the process ends.
pub(crate) fn read() -> mpsc::Receiver<StdinLine> {
    let (sender, lines) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        for number in 1.. {
            let body = match next_line(&mut input) {
                Ok(Some(body)) => body,
                Ok(None) => return,
                Err(error) => LineBody::Broken(error.to_string()),
            };
            let last = matches!(body, LineBody::Broken(_));
            if sender.blocking_send(StdinLine { number, body }).is_err() || last {
                return;
            }
        }
    });
    lines
}

fn next_line(input: &mut impl BufRead) -> io::Result<Option<LineBody>> {
    let mut line = Vec::new();
    let (mut begun, mut too_long) = (false, false);
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            return Ok(begun.then(|| body(line, too_long)));
        }
        begun = true;
        let end = chunk.iter().position(|b| *b == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        too_long |= line.len() + part.len() > MAX_PAYLOAD + 1;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(Some(body(line, too_long)));
        }
    }
}

fn body(mut line: Vec<u8>, too_long: bool) -> LineBody {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if too_long || line.len() > MAX_PAYLOAD { LineBody::TooLong } else { LineBody::Bytes(line.into()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::BufReader;

    use super::*;

    fn lines(input: &[u8], buffer: usize) -> Vec<LineBody> {
        let mut input = BufReader::with_capacity(buffer, input);
        std::iter::from_fn(|| next_line(&mut input).unwrap()).collect()
    }

    #[test]
    fn lines_end_at_newlines_whatever_the_buffer() {
        let bytes = |b: &'static [u8]| LineBody::Bytes(Bytes::from_static(b));
        for buffer in [1, 3, 100] {
            let got = lines(b"a\r\n\n\xff\xfe\nlast", buffer);
            assert_eq!(got, [bytes(b"a"), bytes(b""), bytes(b"\xff\xfe"), bytes(b"last")], "buffer {buffer}");
            assert_eq!(lines(b"", buffer), []);
            assert_eq!(lines(b"\n", buffer), [bytes(b"")]);
        }
    }

    #[test]
    fn a_line_longer_than_any_message_is_skipped_whole() {
        let longest = vec![b'x'; MAX_PAYLOAD];
        let input = [&longest[..], b"\r\n", &longest[..], b"xx\nafter\n"].concat();
        let got = lines(&input, 8192);
        assert_eq!(got.len(), 3);
        assert_eq!(got[0], LineBody::Bytes(longest.into()));
        assert_eq!(got[1..], [LineBody::TooLong, LineBody::Bytes(Bytes::from_static(b"after"))]);
    }
}
