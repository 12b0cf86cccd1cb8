//! `gaung send` and `gaung broadcast`: publish messages without waiting for each, and report those not acknowledged.

mod receipts;

use std::{collections::VecDeque, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use gaung_client::{ErrorKind, PublishError};
use gaung_proto::{GroupAddr, GroupName, limits::MAX_PAYLOAD, name::EVERYONE};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::talk::{BroadcastArgs, SendArgs},
    context::Context,
    failure::Failure,
    output::{Output, say},
    sink::{Ack, Sink},
    source::UdpOnlySource,
    stdin_lines::{self, LineBody, StdinLine},
    stop::{self, TerminalUse},
};
use receipts::{ReceiptLines, ReceiptRequest, ReceiptWatch};

/// Sends words or the lines of stdin to a group.
///
/// # Errors
/// The messages that were not acknowledged, and the first reason.
pub(crate) async fn send(context: &Context, args: SendArgs) -> anyhow::Result<()> {
    let mut words = args.words;
    let Some(addr) = args.udp_only else {
        let group = words.remove(0);
        let group: GroupName =
            group.parse().map_err(|e| Failure::usage(format!("no group can be called {group:?}: {e}")))?;
        if words.is_empty() {
            return Err(Failure::usage(format!(
                "what shall be sent to {group}? Give TEXT, or - to read lines from stdin"
            ))
            .into());
        }
        let receipts = args.receipts.then_some(ReceiptOptions { wait: args.wait, json: args.json });
        return to_group(context, &group, &words, receipts, args.attest).await;
    };
    let text = SendInput::of(&words)?;
    let group = GroupAddr::new(*addr.ip(), addr.port()).map_err(|e| Failure::usage(e.to_string()))?;
    // The session lives until the messages are acknowledged.
    let session = UdpOnlySource::join(context, group).await?;
    deliver(&Sink::UdpOnly(session.publisher()), text, None).await
}

/// Sends words or the lines of stdin to everyone.
///
/// # Errors
/// As [`send`].
pub(crate) async fn broadcast(context: &Context, args: BroadcastArgs) -> anyhow::Result<()> {
    let everyone = EVERYONE.parse().expect("a valid name");
    to_group(context, &everyone, &args.words, None, false).await
}

/// How long the end waits for the relay to take the last attestation.
const ATTEST_WAIT: Duration = Duration::from_secs(5);

/// The options for receipts.
struct ReceiptOptions {
    wait: Duration,
    json: bool,
}

async fn to_group(
    context: &Context,
    group: &GroupName,
    words: &[String],
    receipts: Option<ReceiptOptions>,
    attest: bool,
) -> anyhow::Result<()> {
    let text = SendInput::of(words)?;
    let client = context.connect().await?;
    let publisher = client.publisher(group).await?;
    let publisher = if attest { publisher.attesting() } else { publisher };
    let sink = Sink::Relay(publisher.clone());
    let single = matches!(text, SendInput::Words(_));
    let request = |ReceiptOptions { wait, json }| ReceiptRequest {
        client: client.clone(),
        group: group.clone(),
        wait,
        json,
        single,
    };
    let outcome = deliver(&sink, text, receipts.map(request)).await;
    if attest && timeout(ATTEST_WAIT, publisher.finish()).await.is_err() {
        say("the relay has not taken the last attestation: the last messages count as not signed");
    }
    // A publisher finds its relay again only while its client exists.
    drop(client);
    outcome
}

/// The messages to send.
enum SendInput {
    Words(Bytes),
    Stdin,
}

impl SendInput {
    fn of(words: &[String]) -> Result<Self, Failure> {
        if words.len() == 1 && words[0] == "-" {
            return Ok(Self::Stdin);
        }
        let text = words.join(" ");
        if text.trim().is_empty() {
            return Err(Failure::usage("the text is empty; give at least one word"));
        }
        Ok(Self::Words(text.into()))
    }
}

async fn deliver(sink: &Sink, text: SendInput, receipts: Option<ReceiptRequest>) -> anyhow::Result<()> {
    let seqs = receipts.as_ref().is_none_or(|request| request.single && !request.json);
    let delivery = Delivery { seqs, receipts: receipts.map(ReceiptWatch::start), ..Delivery::new(sink) };
    match text {
        SendInput::Stdin => delivery.run(stdin_lines::read()).await,
        SendInput::Words(body) => {
            let (sender, lines) = mpsc::channel(1);
            sender
                .try_send(StdinLine { number: 1, body: LineBody::Bytes(body) })
                .expect("the channel has room for one");
            drop(sender);
            Delivery { single: true, ..delivery }.run(lines).await
        }
    }
}

/// Publishes lines in order.
struct Delivery<'a> {
    sink: &'a Sink,
    output: Output,
    /// Messages that are not acknowledged, by line number; the SDK's window bounds them.
    pending: VecDeque<(u64, Ack)>,
    failed: FailedLines,
    /// Whether there is one message, from the command line, so that errors name no line.
    single: bool,
    /// Whether the seq of each message is printed once it is durable.
    seqs: bool,
    receipts: Option<ReceiptWatch>,
    /// The first error for which receipts are incomplete.
    unknown: Option<(ErrorKind, String)>,
}

impl<'a> Delivery<'a> {
    fn new(sink: &'a Sink) -> Self {
        Self {
            sink,
            output: Output::new(),
            pending: VecDeque::new(),
            failed: FailedLines::default(),
            single: false,
            seqs: true,
            receipts: None,
            unknown: None,
        }
    }

    async fn run(mut self, mut lines: mpsc::Receiver<StdinLine>) -> anyhow::Result<()> {
        let stop = stop::on_signals()?;
        stop::on_hangup(&stop, TerminalUse::Interactive)?;
        self.pass(&mut lines, &stop).await?;
        self.output.flush()?;
        let unread = stop.is_cancelled() || self.failed.fatal;
        for (number, _) in std::mem::take(&mut self.pending) {
            self.failed.add(number, ErrorKind::Failed, "interrupted before the acknowledgement came");
        }
        self.failed.finish(self.single, unread && !lines.is_closed())?;
        if let Some((kind, why)) = self.unknown {
            let error = Failure::new(kind, format!("every message is logged, but who has heard is not known: {why}"));
            return Err(error.into());
        }
        if self.receipts.is_some_and(|receipts| !receipts.is_done()) {
            let error = "every message is logged, but the wait for those who hear it was interrupted";
            return Err(Failure::new(ErrorKind::Failed, error).into());
        }
        Ok(())
    }

    /// Publishes lines and prints answers until both have ended, the group refuses everything, or a signal comes.
    async fn pass(&mut self, lines: &mut mpsc::Receiver<StdinLine>, stop: &CancellationToken) -> anyhow::Result<()> {
        let sink = self.sink;
        let mut more = true;
        let mut taking = None;
        while more || taking.is_some() || !self.pending.is_empty() || !all_reported(self.receipts.as_ref()) {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    if let Some((number, _)) = taking {
                        self.failed.add(number, ErrorKind::Failed, "interrupted before it was sent");
                    }
                    return Ok(());
                }
                answer = front(&mut self.pending), if !self.pending.is_empty() => {
                    let (number, _) = self.pending.pop_front().expect("its answer has just come");
                    self.answered(number, answer)?;
                }
                taken = next_taken(&mut taking), if taking.is_some() => {
                    let (number, _) = taking.take().expect("it has just been taken");
                    match taken {
                        Ok(ack) => self.pending.push_back((number, ack)),
                        Err(error) => self.failed.publish(number, &error),
                    }
                }
                Some(receipts) = next_receipts(&mut self.receipts), if !all_reported(self.receipts.as_ref()) => self.print_receipts(receipts)?,
                line = lines.recv(), if more && taking.is_none() && has_room(self.receipts.as_ref()) => match line {
                    Some(StdinLine { number, body: LineBody::Bytes(body) }) if !body.is_empty() => {
                        let publish: Taking = Box::pin(async move { sink.publish(body).await });
                        taking = Some((number, publish));
                    }
                    Some(StdinLine { body: LineBody::Bytes(_), .. }) => {}
                    Some(StdinLine { number, body: LineBody::TooLong }) => {
                        let error = format!("more than the {MAX_PAYLOAD} bytes that a message may have");
                        self.failed.add(number, ErrorKind::Usage, &error);
                    }
                    Some(StdinLine { number, body: LineBody::Broken(error) }) => {
                        self.failed.add(number, ErrorKind::Failed, &format!("cannot read stdin: {error}"));
                    }
                    None => more = false,
                },
                () = std::future::ready(()), if self.output.is_dirty() => self.output.flush()?,
            }
            more &= !self.failed.fatal;
        }
        Ok(())
    }

    fn answered(&mut self, number: u64, answer: Result<gaung_proto::Seq, PublishError>) -> anyhow::Result<()> {
        match answer {
            Ok(seq) => {
                if self.seqs {
                    self.output.line(&seq.to_string())?;
                }
                if let Some(receipts) = &mut self.receipts {
                    receipts.add(seq);
                }
            }
            Err(error) => self.failed.publish(number, &error),
        }
        Ok(())
    }

    fn print_receipts(&mut self, receipts: ReceiptLines) -> anyhow::Result<()> {
        self.unknown = self.unknown.take().or(receipts.error);
        receipts.lines.iter().try_for_each(|line| self.output.line(line))
    }
}

fn all_reported(receipts: Option<&ReceiptWatch>) -> bool {
    receipts.is_none_or(ReceiptWatch::is_done)
}

fn has_room(receipts: Option<&ReceiptWatch>) -> bool {
    receipts.is_none_or(ReceiptWatch::has_room)
}

async fn next_receipts(receipts: &mut Option<ReceiptWatch>) -> Option<ReceiptLines> {
    match receipts {
        Some(receipts) => receipts.next().await,
        None => std::future::pending().await,
    }
}

type Taking<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Ack, PublishError>> + Send + 'a>>;

async fn next_taken(taking: &mut Option<(u64, Taking<'_>)>) -> Result<Ack, PublishError> {
    match taking {
        Some((_, publish)) => publish.await,
        None => std::future::pending().await,
    }
}

async fn front(pending: &mut VecDeque<(u64, Ack)>) -> Result<gaung_proto::Seq, PublishError> {
    match pending.front_mut() {
        Some((_, ack)) => ack.await,
        None => std::future::pending().await,
    }
}

/// The lines that were not acknowledged, as ranges, with the first reason.
#[derive(Debug, Default)]
struct FailedLines {
    ranges: Vec<(u64, u64)>,
    reason: Option<(ErrorKind, String)>,
    /// Whether no later message can succeed either.
    fatal: bool,
}

impl FailedLines {
    fn publish(&mut self, number: u64, error: &PublishError) {
        self.fatal |= match error {
            PublishError::TooLarge { .. } | PublishError::Refused(_) => false,
            PublishError::NotFound(_)
            | PublishError::NotAllowed(_)
            | PublishError::GaveUp { .. }
            | PublishError::Closed => true,
        };
        self.add(number, error.kind(), &error.to_string());
    }

    fn add(&mut self, number: u64, kind: ErrorKind, reason: &str) {
        self.reason.get_or_insert_with(|| (kind, reason.to_owned()));
        match self.ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.ranges.push((number, number)),
        }
    }

    /// Returns the error to report; `unread`: whether later lines were never read.
    fn finish(mut self, single: bool, unread: bool) -> anyhow::Result<()> {
        let Some((kind, reason)) = self.reason else {
            return if unread {
                Err(Failure::new(ErrorKind::Failed, "interrupted; lines not yet read were not sent").into())
            } else {
                Ok(())
            };
        };
        if single {
            return Err(Failure::new(kind, format!("not acknowledged: {reason}")).into());
        }
        self.ranges.sort_unstable();
        let ranges = self
            .ranges
            .iter()
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
        let list = ranges.collect::<Vec<_>>().join(", ");
        let lines =
            if self.ranges.len() == 1 && self.ranges[0].0 == self.ranges[0].1 && !unread { "line" } else { "lines" };
        let rest = if unread { " and all that follow" } else { "" };
        say(&format!("not acknowledged: {lines} {list}{rest}"));
        Err(Failure::new(kind, reason)).context("not every line was acknowledged")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::failure::exit_code;

    #[test]
    fn words_are_joined_to_one_text() {
        let text = |words: &[&str]| SendInput::of(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert!(matches!(text(&["a", "b"]), Ok(SendInput::Words(body)) if body == "a b"));
        assert!(matches!(text(&["-"]), Ok(SendInput::Stdin)));
        assert!(matches!(text(&["-", "x"]), Ok(SendInput::Words(body)) if body == "- x"));
        for empty in [&[""][..], &[" ", ""]] {
            assert_eq!(exit_code(&text(empty).err().unwrap().into()), 2);
        }
    }

    #[test]
    fn failures_name_their_lines_and_the_first_reason_decides() {
        let mut failed = FailedLines::default();
        failed.publish(3, &PublishError::TooLarge { len: 9, max: 8 });
        assert!(!failed.fatal);
        for number in [4, 5, 9] {
            failed.publish(number, &PublishError::NotFound("gone".to_owned()));
        }
        assert!(failed.fatal);
        assert_eq!(failed.ranges, [(3, 5), (9, 9)]);
        assert_eq!(exit_code(&failed.finish(false, false).unwrap_err()), 2);
        FailedLines::default().finish(false, false).unwrap();
        assert_eq!(exit_code(&FailedLines::default().finish(false, true).unwrap_err()), 1);
    }
}
