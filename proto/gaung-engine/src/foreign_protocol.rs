//! Recognising other protocols on the text port: a browser's request or a port scan must never become a message.
//!
//! Whatever a web page can make a browser send begins with an HTTP request line, a TLS record or control characters, so
//! that judging the first line before anything is published keeps all of it out, the body of a POST too.

use std::fmt;

/// A protocol that is not spoken on the text port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignProtocol {
    /// A request line as of HTTP (RFC 9112, 3), also RTSP and SIP, and the preface of HTTP/2.
    Http,
    /// Control characters that no keyboard sends in a line: TLS, SOCKS, RDP, SMB and other binary protocols.
    Binary,
    /// Another protocol of lines, by its first words: SSH, SMTP, PROXY, IRC, Redis, XMPP.
    Lines,
}

impl fmt::Display for ForeignProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Binary => "a binary protocol",
            Self::Lines => "another protocol",
        })
    }
}

/// Methods by which a request is known although its line is not whole: what RFC 9110 and WebDAV name, and `PRI` of HTTP/2.
const METHODS: [&[u8]; 16] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PRI",
    b"PROPFIND",
    b"REPORT",
    b"SEARCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
];

/// How the first line of the other protocols of lines begins. In small letters `helo` is a word of greeting.
const BEGINNINGS: [&[u8]; 11] = [
    b"SSH-",
    b"EHLO ",
    b"ehlo ",
    b"HELO ",
    b"LHLO ",
    b"lhlo ",
    b"PROXY TCP",
    b"PROXY UNKNOWN",
    b"CAP LS",
    b"<?xml ",
    b"<stream:stream",
];

/// Judges the first line of a session, or the part of it that has come before a silence or the longest line.
#[must_use]
pub(crate) fn judge_first_line(line: &[u8], is_whole: bool) -> Option<ForeignProtocol> {
    if let Some(protocol) = judge_later_line(line) {
        return Some(protocol);
    }
    let line = line.trim_ascii();
    if begins_request(line, is_whole) {
        return Some(ForeignProtocol::Http);
    }
    let is_redis =
        line.strip_prefix(b"*").is_some_and(|count| !count.is_empty() && count.iter().all(u8::is_ascii_digit));
    if is_redis || is_greeting(line) || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
        return Some(ForeignProtocol::Lines);
    }
    None
}

/// Judges a line of a session that has spoken before: only what no sentence looks like.
#[must_use]
pub(crate) fn judge_later_line(line: &[u8]) -> Option<ForeignProtocol> {
    let mut words = line.trim_ascii().split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    let is_request = method.iter().all(|&byte| is_token(byte)) && is_target(target) && is_version(version);
    is_request.then_some(ForeignProtocol::Http)
}

/// Whether more bytes could make these the beginning of a foreign first line; a silence does not end them so soon.
#[must_use]
pub(crate) fn may_begin_foreign(line: &[u8]) -> bool {
    let begins =
        |word: &[u8]| word.starts_with(line) || line.strip_prefix(word).is_some_and(|rest| rest.starts_with(b" "));
    !line.is_empty()
        && (is_cut_request(line)
            || METHODS.iter().any(|method| begins(method))
            || BEGINNINGS.iter().any(|beginning| beginning.starts_with(line))
            || line == b"*")
}

/// Whether a control character is of a line that somebody types: the keys for editing are taken out before.
#[must_use]
pub(crate) const fn is_binary(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')
}

/// A method and a target; of a whole line (HTTP/0.9) nothing else, of a line that goes on whatever follows.
fn begins_request(line: &[u8], is_whole: bool) -> bool {
    let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return false };
    is_target(target) && METHODS.contains(&method) && (!is_whole || words.next().is_none())
}

/// A method of any name and a target, perhaps with a part of a version behind it.
fn is_cut_request(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return false };
    let version = words.next().unwrap_or_default();
    let is_method =
        method.len() >= 3 && method.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'));
    let may_be_version =
        version.iter().all(|&byte| byte.is_ascii_uppercase() || byte == b'/' || byte == b'.' || byte.is_ascii_digit());
    is_method && is_target(target) && may_be_version && words.next().is_none()
}

/// A path, an asterisk, a URI, or a host with its port (RFC 9112, 3.2).
fn is_target(word: &[u8]) -> bool {
    word.starts_with(b"/") || word == b"*" || word.contains(&b':')
}

/// What a server of SMTP or FTP says first.
fn is_greeting(line: &[u8]) -> bool {
    let names = |protocol: &[u8]| line.windows(protocol.len()).any(|part| part == protocol);
    (line.starts_with(b"220 ") || line.starts_with(b"220-")) && (names(b"SMTP") || names(b"FTP"))
}

/// Whether a word names a protocol version, such as `NAME/1.1` or `NAME/2`.
fn is_version(word: &[u8]) -> bool {
    let Some(slash) = word.iter().position(|&byte| byte == b'/') else { return false };
    let (name, number) = (&word[..slash], &word[slash + 1..]);
    let number = match number {
        [major, b'.', minor] => major.is_ascii_digit() && minor.is_ascii_digit(),
        [major] => major.is_ascii_digit(),
        _ => false,
    };
    name.len() >= 3 && name.iter().all(u8::is_ascii_alphabetic) && number
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(line: &str) -> Option<ForeignProtocol> {
        judge_first_line(line.as_bytes(), true)
    }

    #[test]
    fn requests_of_any_method_and_version_are_http() {
        for line in [
            "GET / HTTP/1.1",
            "POST /x?y=z HTTP/1.0\r",
            "PRI * HTTP/2.0",
            "CONNECT 10.0.0.1:8080 HTTP/1.1",
            "x-any*thing /here HTTP/3",
            "OPTIONS sip:nm SIP/2.0",
            "OPTIONS / RTSP/1.0",
            "GET /",
            "get http://10.0.0.1/ HTTP/1.1",
            "get / http/1.1",
            "INVITE sip:a@b SIP/2.0",
        ] {
            assert_eq!(first(line), Some(ForeignProtocol::Http), "{line}");
        }
        assert_eq!(judge_first_line(b"POST /aaaa", false), Some(ForeignProtocol::Http), "cut before its end");
        assert_eq!(judge_first_line(b"GET http://x/ HTT", false), Some(ForeignProtocol::Http));
    }

    #[test]
    fn banners_of_other_protocols_are_known() {
        for line in [
            "SSH-2.0-OpenSSH_9.6",
            "EHLO pc",
            "ehlo pc",
            "220 mail.example ESMTP",
            "PROXY TCP4 1.2.3.4 1.2.3.5 1 2",
            "CAP LS 302",
            "*3",
            "<?xml version='1.0'?>",
        ] {
            assert_eq!(first(line), Some(ForeignProtocol::Lines), "{line}");
        }
    }

    #[test]
    fn sentences_are_not() {
        for line in [
            "halo semua",
            "/name Budi",
            "GET",
            "GET well soon",
            "GET /etc/hosts itu apa?",
            "POST itu apa",
            "Apakah HTTP/1.1 lebih lambat?",
            "pakai HTTP/1.1",
            "apa itu HTTP/1.1",
            "helo semua",
            "220 orang ikut",
            "JAM 10:30",
            "a b c/1",
            "* penting *",
            "HELO",
            "SSH ke mana?",
            "lihat /etc/hosts",
        ] {
            assert_eq!(first(line), None, "{line}");
            assert_eq!(judge_later_line(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_beginning_is_waited_for() {
        for part in ["G", "PO", "POST", "POST ", "POST /x", "SSH", "EHLO", "*", "INVITE sip:a@b SI", "X-ANY /here"] {
            assert!(may_begin_foreign(part.as_bytes()), "{part}");
        }
        for part in ["", "halo", "POSTER", "GETTING", "Saya", "Jam 10:30", "lihat /etc"] {
            assert!(!may_begin_foreign(part.as_bytes()), "{part}");
        }
    }
}
