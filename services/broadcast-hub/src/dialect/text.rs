//! The text dialect: lines in, `NAME: text` out, for netcat and the like.
//!
//! A line is a message to the current group, or a command (`/name`, `/join`). A text session has one current group
//! besides `everyone`, which it always reads.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use gaung_engine::{LineSplitter, TextLine};
use gaung_proto::{ClientId, Content, DeviceId, DisplayName, GroupId, GroupName, Seq, pb::relay::Entry, run::Run};
use tonic::Code;

use crate::{
    directory::GroupInfo,
    failure::Failure,
    group::Group,
    session_core::{
        Decoded, Dialect, DialectRules, EndReason, GroupKey, Hello, PublishRequest, Request, RunSource, Say,
    },
    text_output::{has_author, text_lines, write_harmless},
};

/// The text dialect of one session.
pub struct Text {
    client: ClientId,
    /// The client id under which the session publishes, until it turns out that another publisher uses it.
    author: ClientId,
    new_author: fn() -> ClientId,
    /// The stream key, which proves to the relay that the author is this session.
    stream_key: Bytes,
    name: String,
    page: Option<SocketAddr>,
    lines: LineSplitter,
    everyone: Option<Arc<GroupInfo>>,
    /// The group that lines are published to; `None` until `everyone` is known.
    current: Option<Arc<GroupInfo>>,
    /// The group of a `/join` that has not begun yet.
    joining: Option<Arc<GroupInfo>>,
    /// The last client_seq of each group.
    counts: HashMap<GroupId, u64>,
    /// Requests in flight, by tag.
    sent: HashMap<u64, SentLines>,
    last_tag: u64,
    decoded: VecDeque<Decoded>,
    is_input_ended: bool,
}

/// The identity that the hub assigns to a text session.
#[derive(Debug, Clone, Copy)]
pub struct TextIdentity {
    /// The N of `client-N`, from 1.
    pub number: u64,
    /// A random client id.
    pub client: ClientId,
    /// A random stream key, which proves the client id.
    pub stream_key: [u8; 16],
    /// Draws another random client id, in case another publisher uses the first.
    pub new_author: fn() -> ClientId,
    /// The address at which browsers find the page.
    pub page: Option<SocketAddr>,
}

/// A request of lines that is not answered yet.
struct SentLines {
    group: Arc<GroupInfo>,
    author: ClientId,
    /// The lines, which share their payload with the request.
    entries: Vec<Entry>,
    /// The beginnings of the lines, for the author in case they are not sent.
    beginnings: Vec<Bytes>,
    tries: u32,
}

/// Most client ids that a request is tried under. Each is random, so that a second one is needed only under attack.
const MAX_TRIES: u32 = 3;
/// Bytes of one read, whose lines go to the relay together.
const READ_BYTES: usize = 16 * 1024;
/// Most lines of one request; one read has at most a little more.
const LINES_PER_REQUEST: usize = 256;
const REQUEST_BYTES: usize = 512 * 1024;
/// Bytes of a line that its author is shown when it was not sent.
const REPEATED_BYTES: usize = 80;
const TOO_LONG: &str = "Baris lebih dari 64 KiB, tidak dikirim. | The line is longer than 64 KiB and was not sent.";

impl Dialect for Text {
    fn rules(&self) -> DialectRules {
        DialectRules { acknowledges: false, must_speak: false, read_bytes: READ_BYTES }
    }

    fn greeting(&mut self) -> Option<Bytes> {
        let greeting = format!(
            "Selamat datang di Gaung, {0}! Ketik pesan; /name NAMA, /join GRUP. | \
             Welcome to Gaung, {0}! Type a message; /name NAME, /join GROUP.\n",
            self.name
        );
        Some(greeting.into())
    }

    fn opening(&mut self) -> Option<Request> {
        // No key: the owner is the address.
        let hello = Hello { client: self.client, device: DeviceId::NONE, stream_key: None, name: self.name.clone() };
        Some(Request::Hello(hello))
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> bool {
        self.lines.handle_bytes(now, bytes);
        true
    }

    fn handle_end(&mut self) -> bool {
        self.is_input_ended = true;
        self.lines.handle_end();
        true
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.lines.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.lines.poll_timeout()
    }

    fn poll_decoded(&mut self) -> Option<Decoded> {
        if self.decoded.is_empty() {
            self.take_lines();
        }
        let decoded = self.decoded.pop_front();
        if decoded.is_none() {
            // Released, because most sessions are idle.
            self.decoded = VecDeque::new();
        }
        decoded
    }

    fn is_finished(&self) -> bool {
        self.is_input_ended && self.sent.is_empty() && self.decoded.is_empty()
    }

    fn encode(&mut self, say: Say) -> Option<Bytes> {
        match say {
            Say::Welcome { everyone, .. } => {
                self.current.get_or_insert_with(|| everyone.clone());
                self.everyone = Some(everyone);
                None
            }
            Say::Joining { group, is_subscribed } => self.joining(group, is_subscribed),
            Say::Subscribed { group, history_lost, .. } => self.subscribed(&group, history_lost),
            // The session left the group itself.
            Say::Unsubscribed { code: Code::Ok, .. } => None,
            Say::Unsubscribed { group, message, .. } => {
                self.group_ended(group);
                Some(notice(&format!("Grup ditutup | Group closed: {message}")))
            }
            Say::Gap { range, .. } => {
                Some(notice(&format!("Pesan {range} tidak ada lagi. | Messages {range} cannot be had any more.")))
            }
            Say::Error { tag: 0, group, failure } => {
                self.joining.take_if(|joining| Some(joining.id) == group);
                Some(notice(&failure.message))
            }
            Say::Error { tag, failure, .. } => self.refused(tag, &failure),
            Say::Published { tag, .. } => {
                self.sent.remove(&tag);
                None
            }
            Say::Bye { reason, .. } => Some(notice(&format!("Sampai jumpa | Goodbye: {reason}"))),
            // The text dialect has no ping.
            Say::Pong { .. } => None,
        }
    }

    fn encode_run(&self, group: &Group, run: &Run, next: Seq, source: RunSource) -> Bytes {
        let prefix = self.prefix_of(group);
        // The session's own lines are left out, because their author has typed them.
        if source == RunSource::Ring && run.first_seq() >= next {
            let form = group.text_of(run, prefix);
            if !form.clients.contains(&self.author) {
                return form.lines;
            }
        }
        let own = has_author(run, self.author).then_some(self.author);
        text_lines(run, next, prefix, own)
    }
}

impl Text {
    /// Creates the dialect of a session that has sent nothing yet.
    #[must_use]
    pub fn new(identity: TextIdentity) -> Self {
        Self {
            client: identity.client,
            author: identity.client,
            new_author: identity.new_author,
            stream_key: Bytes::copy_from_slice(&identity.stream_key),
            name: format!("client-{}", identity.number),
            page: identity.page,
            lines: LineSplitter::new(),
            everyone: None,
            current: None,
            joining: None,
            counts: HashMap::new(),
            sent: HashMap::new(),
            last_tag: 0,
            decoded: VecDeque::new(),
            is_input_ended: false,
        }
    }

    /// Returns the prefix of a group's lines: empty for the current group.
    fn prefix_of(&self, group: &Group) -> &'static str {
        let is_elsewhere = self.current.as_ref().is_some_and(|current| current.id != group.id);
        if is_elsewhere && group.info().is_everyone() { "[everyone] " } else { "" }
    }

    fn is_in(&self, group: GroupId) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == group)
    }

    fn joining(&mut self, group: Arc<GroupInfo>, is_subscribed: bool) -> Option<Bytes> {
        let before = self.joining.replace(group.clone());
        if is_subscribed {
            return self.subscribed(&group, false);
        }
        if let Some(before) = before.filter(|before| before.id != group.id) {
            self.request(Request::Unsubscribe(before.id));
        }
        None
    }

    fn subscribed(&mut self, group: &Arc<GroupInfo>, history_lost: bool) -> Option<Bytes> {
        if self.joining.take_if(|joining| joining.id == group.id).is_some() {
            let before = self.current.replace(group.clone());
            if let Some(before) = before.filter(|before| before.id != group.id && !before.is_everyone()) {
                self.request(Request::Unsubscribe(before.id));
            }
            return Some(notice(&format!("Anda di grup {0}. | You are in group {0}.", group.name)));
        }
        (history_lost && self.is_in(group.id))
            .then(|| notice("Riwayat grup dimulai ulang. | The group's history starts anew."))
    }

    fn group_ended(&mut self, group: GroupId) {
        self.everyone.take_if(|everyone| everyone.id == group);
        if self.is_in(group) {
            self.current = self.everyone.clone();
        }
    }

    /// Takes lines up to a command, which may change the group of the lines after it.
    fn take_lines(&mut self) {
        let mut pending = Vec::new();
        let mut pending_bytes = 0;
        while pending.len() < LINES_PER_REQUEST && pending_bytes < REQUEST_BYTES {
            match self.lines.poll_line() {
                Some(TextLine::Text(line)) if line.starts_with(b"/") => {
                    self.publish(pending);
                    return self.command(&line);
                }
                Some(TextLine::Text(line)) => {
                    pending_bytes += line.len();
                    pending.push(line);
                }
                Some(TextLine::TooLong) => self.decoded.push_back(Decoded::TooLong(notice(TOO_LONG))),
                Some(TextLine::Foreign(protocol)) => {
                    let page = self.page;
                    self.request(Request::Fatal(EndReason::ForeignProtocol { protocol, page }));
                }
                None => break,
            }
        }
        self.publish(pending);
    }

    /// Publishes lines to the current group.
    fn publish(&mut self, lines: Vec<Bytes>) {
        if lines.is_empty() {
            return;
        }
        let Some(group) = self.current.clone() else {
            let failure = Failure::new(Code::Unavailable, "the hub has not reached the other services yet");
            self.decoded.extend(lines.iter().map(|line| Decoded::Answer(not_sent(line, &failure))));
            return;
        };
        let count = self.counts.entry(group.id).or_default();
        let entries = lines.iter().map(|line| {
            *count += 1;
            let (content_type, payload) = Content::text(self.name.clone(), line.clone()).encode();
            Entry { client_seq: *count, content_type: content_type.to_byte().into(), payload }
        });
        let entries = entries.collect();
        let beginnings = lines.iter().map(beginning).collect();
        self.send(SentLines { group, author: self.author, entries, beginnings, tries: 1 });
    }

    fn send(&mut self, lines: SentLines) {
        self.last_tag += 1;
        let request = PublishRequest {
            tag: self.last_tag,
            client: lines.author,
            stream_key: self.stream_key.clone(),
            entries: lines.entries.clone(),
            bytes: lines.entries.iter().map(|entry| entry.payload.len()).sum(),
            ticket: Bytes::new(),
            log_id: 0,
        };
        self.request(Request::Publish(GroupKey::Known(lines.group.clone()), request));
        self.sent.insert(self.last_tag, lines);
    }

    /// Handles the refusal of a request. If another publisher has used the author's client id, which is public in the log, the
    /// lines are sent again under another one.
    fn refused(&mut self, tag: u64, failure: &Failure) -> Option<Bytes> {
        let lines = self.sent.remove(&tag)?;
        if failure.code != Code::AlreadyExists || lines.tries >= MAX_TRIES {
            let notices: Vec<Bytes> = lines.beginnings.iter().map(|line| not_sent(line, failure)).collect();
            return Some(notices.concat().into());
        }
        if self.author == lines.author {
            self.author = (self.new_author)();
        }
        self.send(SentLines { author: self.author, tries: lines.tries + 1, ..lines });
        None
    }

    fn command(&mut self, line: &Bytes) {
        let line = String::from_utf8_lossy(line);
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let argument = argument.trim();
        match command {
            "/name" => match argument.parse::<DisplayName>() {
                Ok(name) => {
                    name.as_str().clone_into(&mut self.name);
                    self.answer(&format!("Nama Anda {0}. | Your name is {0}.", self.name));
                    self.request(Request::Rename(self.name.clone()));
                }
                Err(error) => self.answer(&error.to_string()),
            },
            "/join" => match argument.parse::<GroupName>() {
                Ok(name) => self.request(Request::Join(name.as_str().to_owned())),
                Err(error) => self.answer(&error.to_string()),
            },
            _ => self.answer("Perintah | Commands: /name NAMA, /join GRUP"),
        }
    }

    fn request(&mut self, request: Request) {
        self.decoded.push_back(Decoded::Request(request));
    }

    fn answer(&mut self, message: &str) {
        self.decoded.push_back(Decoded::Answer(notice(message)));
    }
}

/// Encodes one line from the hub itself.
fn notice(message: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 8);
    out.put_slice(b"* ");
    write_harmless(&mut out, message.as_bytes());
    out.put_u8(b'\n');
    out.freeze()
}

fn not_sent(line: &Bytes, failure: &Failure) -> Bytes {
    let line = String::from_utf8_lossy(line);
    notice(&format!("Tidak terkirim | Not sent ({}): {line}", failure.message))
}

fn beginning(line: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&line[..line.len().min(REPEATED_BYTES)])
}
