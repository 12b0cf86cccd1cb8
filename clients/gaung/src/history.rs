//! `gaung history`: prints messages from a group's log.

use gaung_client::{Client, ClientError, HiddenMessages, History, HistoryMessage, HistoryPage, Lane};
use gaung_proto::{GroupId, GroupName, Seq};

use crate::{
    cli::talk::HistoryArgs,
    context::Context,
    output::{Output, say},
    people::People,
    render::{json, line::ReceivedMessage, time::rfc3339_us},
};

/// Limits the messages that are held until the page was read, bytes; what is more is read twice.
const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;
/// What a held message takes besides its payload, bytes, roughly.
const HELD_BYTES_EACH: usize = 256;

/// Prints the messages; for people `SEQ TIME NAME: text`, with tabs between the first three. Where somebody may hide messages, the page
/// is read to its end before anything is printed, because what hides a message comes after it.
///
/// # Errors
/// [`ClientError`].
pub(crate) async fn run(context: &Context, args: HistoryArgs) -> anyhow::Result<()> {
    let client = context.connect().await?;
    let page = match (args.from, args.before) {
        (Some(from), _) => HistoryPage::From(from),
        (None, Some(before)) => HistoryPage::Before(before),
        (None, None) if args.limit.is_some() => HistoryPage::NEWEST,
        (None, None) => HistoryPage::From(Seq::ZERO),
    };
    let mut history = client.history(&args.group, page, args.limit).await?;
    let hidden = HiddenMessages::new(client.policy(&args.group).await?);
    let mut printer = Printer {
        group: history.group().name.clone(),
        group_id: history.group().id,
        people: People::open(context, client.device_id())?,
        output: Output::new(),
        hidden,
        json: args.json,
    };
    let printed = printer.page(&client, &mut history).await;
    printer.output.flush()?;
    printed
}

struct Printer {
    group: GroupName,
    group_id: GroupId,
    people: People,
    output: Output,
    hidden: HiddenMessages,
    json: bool,
}

impl Printer {
    async fn page(&mut self, client: &Client, history: &mut History) -> anyhow::Result<()> {
        if !self.hidden.are_possible() {
            return self.stream(history).await;
        }
        let mut held = HeldPage::default();
        let read = held.read(history, &mut self.hidden).await;
        for message in held.messages {
            self.message(message)?;
        }
        read?;
        if let Some(rest) = held.rest {
            let limit = Some(rest.count);
            self.stream(&mut client.history(&self.group, HistoryPage::From(rest.first), limit).await?).await?;
        }
        Ok(())
    }

    async fn stream(&mut self, history: &mut History) -> anyhow::Result<()> {
        while let Some(next) = history.next().await {
            self.message(next?)?;
        }
        Ok(())
    }

    fn message(&mut self, HistoryMessage { log, message, content }: HistoryMessage) -> anyhow::Result<()> {
        let is_hidden = self.hidden.hide(log, message.seq, &content.kind);
        let mut received = ReceivedMessage {
            group: self.group.to_string(),
            group_id: Some(self.group_id),
            message,
            content,
            lane: Lane::History,
            log: Some(log),
            is_hidden,
        };
        if received.content.kind.is_for_programs() && !self.json {
            return Ok(());
        }
        if let Some(notice) = self.people.introduce(&mut received) {
            say(&notice);
        }
        let line = if self.json {
            json::message(&received, received.author_state().map(|state| self.people.state_name(state)))
        } else {
            format!("{}\t{}\t{}", received.message.seq, rfc3339_us(received.message.sent_at), received.plain())
        };
        self.output.line(&line)
    }
}

/// A page of a log that was read to its end: its first messages, and where the others are.
#[derive(Debug, Default)]
struct HeldPage {
    messages: Vec<HistoryMessage>,
    bytes: usize,
    rest: Option<Rest>,
}

/// The messages of a page that were not held.
#[derive(Debug)]
struct Rest {
    first: Seq,
    count: u64,
}

impl HeldPage {
    /// Reads the page, and what its messages hide.
    async fn read(&mut self, history: &mut History, hidden: &mut HiddenMessages) -> Result<(), ClientError> {
        while let Some(next) = history.next().await {
            let next = next?;
            hidden.handle_message(next.log, &next.message);
            self.push(next);
        }
        Ok(())
    }

    fn push(&mut self, next: HistoryMessage) {
        self.bytes = self.bytes.saturating_add(next.message.payload.len() + HELD_BYTES_EACH);
        match &mut self.rest {
            Some(rest) => rest.count += 1,
            None if self.bytes > MAX_HELD_BYTES => self.rest = Some(Rest { first: next.message.seq, count: 1 }),
            None => self.messages.push(next),
        }
    }
}
