//! The text port: lines in, `NAME: text` out.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use gaung_engine::{ForeignProtocol, Line, LineSplitter};
use gaung_proto::{ClientId, Content, DeviceId, DisplayName, GroupId, GroupName, Seq, SeqRange, pb::relay::Entry};
use tonic::Code;
use tracing::debug;

use crate::{
    directory::GroupInfo,
    group::{Ended, Group},
    inbox::{Failure, GroupKey, Published},
    text_output::write_harmless,
};

use super::{Dialect, Session, ask::Ask, publish::Wish};

/// What a text session has besides.
pub(super) struct Text {
    pub(super) client: ClientId,
    /// Under which it publishes: the same, until somebody else has published under that.
    pub(super) author: Cell<ClientId>,
    /// Proves to the relay that the author is this session.
    stream_key: Bytes,
    pub(super) name: RefCell<String>,
    lines: RefCell<LineSplitter>,
    /// Where its lines go; `None` until `everyone` is known.
    current: RefCell<Option<Arc<GroupInfo>>>,
    /// Where `/join` leads once the group has begun.
    joining: RefCell<Option<Arc<GroupInfo>>>,
    /// The last client_seq of each group.
    counts: RefCell<HashMap<GroupId, u64>>,
    /// Lines on their way, by tag.
    sent: RefCell<HashMap<u64, SentLines>>,
    input_ended: Cell<bool>,
}

/// A request of lines that is not answered yet.
struct SentLines {
    group: Arc<GroupInfo>,
    author: ClientId,
    /// They share their payload with the request.
    entries: Vec<Entry>,
    /// What the author is told of lines that were not sent.
    beginnings: Vec<Bytes>,
    tries: u32,
}

/// A request is sent under so many authors; each of them was random.
const MAX_TRIES: u32 = 3;
/// Lines of one request; what one read brings is at most a little more.
const LINES_PER_REQUEST: usize = 256;
const REQUEST_BYTES: usize = 512 * 1024;
/// Characters of a line that are repeated to its author when it was not sent.
const REPEATED_BYTES: usize = 80;

impl Text {
    pub(super) fn new(number: u64) -> Self {
        let client = ClientId(rand::random());
        Self {
            client,
            author: Cell::new(client),
            stream_key: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
            name: RefCell::new(format!("client-{number}")),
            lines: RefCell::default(),
            current: RefCell::default(),
            joining: RefCell::default(),
            counts: RefCell::default(),
            sent: RefCell::default(),
            input_ended: Cell::new(false),
        }
    }

    /// What stands before the lines of a group that the session is not talking in.
    pub(super) fn prefix_of(&self, group: &Group) -> &'static str {
        let elsewhere = self.current.borrow().as_ref().is_some_and(|current| current.id != group.id);
        if elsewhere && group.info().is_everyone() { "[everyone] " } else { "" }
    }

    fn is_in(&self, group: GroupId) -> bool {
        self.current.borrow().as_ref().is_some_and(|current| current.id == group)
    }
}

impl Session {
    pub(super) fn join_everyone(self: &Rc<Self>) {
        let Dialect::Text(text) = &self.dialect else { return };
        let Some(everyone) = self.hub().directory.everyone() else { return };
        if self.subscriptions.borrow().contains_key(&everyone.id) {
            return;
        }
        text.current.borrow_mut().get_or_insert_with(|| everyone.clone());
        if let Err(failure) = self.subscribe(&everyone, Seq::ZERO, None, Bytes::new(), true) {
            self.control(told(&failure.message));
        }
    }

    pub(super) fn text_bytes(self: &Rc<Self>, text: &Text, bytes: &[u8]) {
        text.lines.borrow_mut().handle_bytes(Instant::now(), bytes);
        self.text_lines(text);
    }

    pub(super) fn text_silence(self: &Rc<Self>) {
        if let Dialect::Text(text) = &self.dialect {
            text.lines.borrow_mut().handle_timeout(Instant::now());
            self.text_lines(text);
        }
    }

    pub(super) fn text_due(&self) -> Option<Instant> {
        match &self.dialect {
            Dialect::Text(text) => text.lines.borrow().poll_timeout(),
            Dialect::Framed(_) => None,
        }
    }

    /// A text session may listen and say nothing for as long as there is room.
    pub(super) fn sweep_text(&self, now: Instant) {
        let is_silent = now.saturating_duration_since(self.heard.get()) >= self.hub().config.limits.idle;
        if is_silent && self.ending.get().is_none() && self.hub().admission.is_nearly_full() {
            self.hub().figures.idle.inc();
            self.end("silent for too long while the hub is nearly full; type something now and then", false);
        }
    }

    pub(super) fn input_ended(&self) -> bool {
        match &self.dialect {
            Dialect::Text(text) => text.input_ended.get(),
            Dialect::Framed(_) => false,
        }
    }

    /// The peer says no more: what it said last is still sent, and answered, then the session ends.
    pub(super) fn text_ended(self: &Rc<Self>, text: &Text) {
        text.input_ended.set(true);
        text.lines.borrow_mut().handle_end();
        self.text_lines(text);
        self.end_if_said(text);
    }

    pub(super) fn text_published(&self, text: &Text, published: Published) {
        let sent = text.sent.borrow_mut().remove(&published.tag);
        if let (Some(sent), Err(failure)) = (sent, published.outcome) {
            if failure.code == Code::AlreadyExists && sent.tries < MAX_TRIES {
                return self.say_as_another(text, sent);
            }
            for line in &sent.beginnings {
                self.control(not_sent(line, &failure));
            }
        }
        self.end_if_said(text);
    }

    /// A group has begun for this session.
    pub(super) fn text_subscribed(&self, text: &Text, id: GroupId, history_lost: bool) {
        let joined = text.joining.borrow_mut().take_if(|info| info.id == id);
        if let Some(info) = joined {
            let before = text.current.borrow_mut().replace(info.clone());
            if let Some(before) = before.filter(|before| before.id != id && !before.is_everyone()) {
                self.unsubscribe(before.id);
            }
            self.control(told(&format!("Anda di grup {0}. | You are in group {0}.", info.name)));
        } else if history_lost && text.is_in(id) {
            self.control(told("Riwayat grup dimulai ulang. | The group's history starts anew."));
        }
    }

    pub(super) fn text_join_failed(&self, text: &Text, failure: &Failure) {
        text.joining.borrow_mut().take();
        self.control(told(&failure.message));
    }

    pub(super) fn text_group_ended(&self, text: &Text, id: GroupId, ended: &Ended) {
        if text.is_in(id) {
            *text.current.borrow_mut() = self.hub().directory.everyone();
        }
        self.control(told(&format!("Grup ditutup | Group closed: {}", ended.message)));
    }

    /// The registry has answered a `/join`.
    pub(super) fn join_found(self: &Rc<Self>, outcome: Result<Arc<GroupInfo>, Failure>) {
        let Dialect::Text(text) = &self.dialect else { return };
        let info = match outcome {
            Ok(info) if info.private => {
                let message = format!("{} is private; use `gaung chat` with an invite", info.name);
                return self.control(told(&message));
            }
            Ok(info) => info,
            Err(failure) => return self.control(told(&failure.message)),
        };
        if text.is_in(info.id) || self.subscriptions.borrow().contains_key(&info.id) {
            *text.joining.borrow_mut() = Some(info.clone());
            return self.text_subscribed(text, info.id, false);
        }
        let before = text.joining.borrow_mut().replace(info.clone());
        if let Some(before) = before.filter(|before| before.id != info.id) {
            self.unsubscribe(before.id);
        }
        if let Err(failure) = self.subscribe(&info, Seq::ZERO, None, Bytes::new(), false) {
            self.text_join_failed(text, &failure);
        }
    }

    fn text_lines(self: &Rc<Self>, text: &Text) {
        let mut said = Vec::new();
        let mut said_bytes = 0;
        loop {
            let line = text.lines.borrow_mut().poll_line();
            match line {
                Some(Line::Text(line)) if line.starts_with(b"/") => {
                    self.say(text, std::mem::take(&mut said));
                    said_bytes = 0;
                    self.command(text, &line);
                }
                Some(Line::Text(line)) => {
                    said_bytes += line.len();
                    said.push(line);
                    if said.len() >= LINES_PER_REQUEST || said_bytes >= REQUEST_BYTES {
                        self.say(text, std::mem::take(&mut said));
                        said_bytes = 0;
                    }
                }
                Some(Line::TooLong) => {
                    self.hub().figures.long_lines.inc();
                    self.control(told(
                        "Baris lebih dari 64 KiB, tidak dikirim. | The line is longer than 64 KiB and was not sent.",
                    ));
                }
                Some(Line::Foreign(protocol)) => {
                    self.hub().figures.foreign_protocols.inc();
                    debug!(session = self.id, address = %self.address, %protocol, "not the text port's protocol");
                    self.end(&self.foreign_reason(protocol), true);
                }
                None => break,
            }
        }
        self.say(text, said);
    }

    /// Publishes lines to the current group.
    fn say(self: &Rc<Self>, text: &Text, lines: Vec<Bytes>) {
        if lines.is_empty() {
            return;
        }
        let Some(current) = text.current.borrow().clone() else {
            let failure = Failure::new(Code::Unavailable, "the hub has not reached the other services yet");
            for line in &lines {
                self.control(not_sent(line, &failure));
            }
            return;
        };
        let name = text.name.borrow().clone();
        let mut counts = text.counts.borrow_mut();
        let count = counts.entry(current.id).or_default();
        let entries = lines.iter().map(|line| {
            *count += 1;
            let (content_type, payload) = Content::text(name.clone(), line.clone()).encode();
            Entry { client_seq: *count, content_type: content_type.to_byte().into(), payload }
        });
        let entries: Vec<_> = entries.collect();
        drop(counts);
        let beginnings = lines.iter().map(beginning).collect();
        self.send_lines(text, SentLines { group: current, author: text.author.get(), entries, beginnings, tries: 1 });
    }

    /// Somebody else has published under the author's id, which stands in the log: the lines go under a new one.
    fn say_as_another(&self, text: &Text, refused: SentLines) {
        if text.author.get() == refused.author {
            text.author.set(ClientId(rand::random()));
        }
        self.send_lines(text, SentLines { author: text.author.get(), tries: refused.tries + 1, ..refused });
    }

    fn send_lines(&self, text: &Text, lines: SentLines) {
        let tag = self.number();
        let wish = Wish {
            tag,
            client: lines.author,
            device: DeviceId::NONE,
            stream_key: text.stream_key.clone(),
            entries: lines.entries.clone(),
            bytes: lines.entries.iter().map(|entry| entry.payload.len()).sum(),
            ticket: Bytes::new(),
            log_id: 0,
        };
        let group = Arc::clone(&lines.group);
        text.sent.borrow_mut().insert(tag, lines);
        self.pass_on(&group, wish, self.hub().config.limits.text_publish);
    }

    fn command(self: &Rc<Self>, text: &Text, line: &Bytes) {
        let line = String::from_utf8_lossy(line);
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let argument = argument.trim();
        match command {
            "/name" => match argument.parse::<DisplayName>() {
                Ok(name) => {
                    self.control(told(&format!("Nama Anda {0}. | Your name is {0}.", name.as_str())));
                    *text.name.borrow_mut() = name.as_str().to_owned();
                    self.renamed(text);
                }
                Err(error) => self.control(told(&error.to_string())),
            },
            "/join" => match argument.parse::<GroupName>() {
                Ok(name) => self.find(GroupKey::Name(name.as_str().to_owned()), Ask::Join),
                Err(error) => self.control(told(&error.to_string())),
            },
            _ => self.control(told("Perintah | Commands: /name NAMA, /join GRUP")),
        }
    }

    /// One line that helps a person who looks at the answer; a browser shows none of it, for it is no HTTP.
    fn foreign_reason(&self, protocol: ForeignProtocol) -> String {
        let (instead, english) = match protocol {
            ForeignProtocol::Http => ("HTTP", "HTTP"),
            ForeignProtocol::Binary => ("data biner", "binary data"),
            ForeignProtocol::Lines => ("protokol lain", "another protocol"),
        };
        let mut reason = format!("port ini untuk teks, bukan {instead} | this port is for text, not {english}");
        if let (Some(port), Ok(local)) = (self.hub().page_port, self.stream.local_addr()) {
            let page = SocketAddr::new(local.ip().to_canonical(), port);
            reason.push_str(&format!("; peramban | browsers: http://{page}/"));
        }
        reason
    }

    fn end_if_said(&self, text: &Text) {
        if text.input_ended.get() && text.sent.borrow().is_empty() && self.ending.get().is_none() {
            self.ending.set(Some(Instant::now() + self.hub().config.limits.linger));
            self.fan.borrow_mut().remove_all();
            self.wake.notify_one();
        }
    }
}

pub(super) fn welcome(text: &Text) -> Bytes {
    let name = text.name.borrow();
    format!(
        "Selamat datang di Gaung, {name}! Ketik pesan; /name NAMA, /join GRUP. | \
         Welcome to Gaung, {name}! Type a message; /name NAME, /join GROUP.\n"
    )
    .into()
}

pub(super) fn bye(reason: &str) -> Bytes {
    told(&format!("Sampai jumpa | Goodbye: {reason}"))
}

pub(super) fn gap(range: SeqRange) -> Bytes {
    told(&format!("Pesan {range} tidak ada lagi. | Messages {range} cannot be had any more."))
}

/// One line from the hub itself.
fn told(message: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 8);
    out.put_slice(b"* ");
    write_harmless(&mut out, message.as_bytes());
    out.put_u8(b'\n');
    out.freeze()
}

fn not_sent(line: &Bytes, failure: &Failure) -> Bytes {
    let line = String::from_utf8_lossy(line);
    told(&format!("Tidak terkirim | Not sent ({}): {line}", failure.message))
}

fn beginning(line: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&line[..line.len().min(REPEATED_BYTES)])
}
