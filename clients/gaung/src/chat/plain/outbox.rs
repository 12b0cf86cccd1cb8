//! Publishes the typed messages of one group in order, and reports those that are late or fail.

use std::time::Duration;

use bytes::Bytes;
use gaung_client::PublishError;
use gaung_proto::Seq;
use gaung_terminal::sanitise::one_line_bytes;
use tokio::{
    sync::mpsc::{self, error::SendError},
    time::timeout,
};

use crate::sink::{Ack, Sink};

/// How long a message may take to be acknowledged before it is reported as late.
const LATE: Duration = Duration::from_secs(2);
/// How many messages may wait to be published.
const WAITING: usize = 64;
/// How many characters of a message a report quotes.
const SHOWN: usize = 60;

/// The queue of messages to one group.
#[derive(Debug)]
pub(super) struct Outbox {
    entry: mpsc::Sender<Bytes>,
}

/// The outcome of a message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is durable.
    Logged {
        /// The group.
        group: String,
        /// Its seq.
        seq: Seq,
    },
    /// It will not be logged.
    Failed {
        /// The group.
        group: String,
        /// Its beginning, without control characters.
        text: String,
        /// The reason.
        why: String,
    },
    /// It is not acknowledged yet; another outcome follows.
    Late {
        /// The group.
        group: String,
        /// Its beginning, without control characters.
        text: String,
    },
}

impl Outbox {
    /// Starts a task that publishes messages to `sink`, and ends when this is dropped.
    pub(super) fn open(group: String, sink: Sink, outcomes: mpsc::Sender<Outcome>) -> Self {
        let (entry, mut waiting) = mpsc::channel::<Bytes>(WAITING);
        tokio::spawn(async move {
            while let Some(body) = waiting.recv().await {
                let text = beginning(&body);
                let one = OutboxMessage { group: group.clone(), text, outcomes: outcomes.clone() };
                match with_late_report(&one, sink.publish(body)).await {
                    Ok(ack) => drop(tokio::spawn(one.answered(ack))),
                    Err(error) => one.failed(&error).await,
                }
            }
        });
        Self { entry }
    }

    /// Waits until there is room for one message.
    pub(super) fn entry(&self) -> impl Future<Output = Result<mpsc::OwnedPermit<Bytes>, SendError<()>>> + use<> {
        self.entry.clone().reserve_owned()
    }
}

struct OutboxMessage {
    group: String,
    text: String,
    outcomes: mpsc::Sender<Outcome>,
}

impl OutboxMessage {
    async fn answered(self, ack: Ack) {
        match with_late_report(&self, ack).await {
            Ok(seq) => self.report(Outcome::Logged { group: self.group.clone(), seq }).await,
            Err(error) => self.failed(&error).await,
        }
    }

    async fn failed(&self, error: &PublishError) {
        let (group, text) = (self.group.clone(), self.text.clone());
        self.report(Outcome::Failed { group, text, why: error.to_string() }).await;
    }

    async fn report(&self, outcome: Outcome) {
        // The chat may have ended.
        let _ = self.outcomes.send(outcome).await;
    }
}

/// Waits for `work`, and reports once that it is late.
async fn with_late_report<T>(one: &OutboxMessage, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if let Ok(done) = timeout(LATE, &mut work).await {
        return done;
    }
    one.report(Outcome::Late { group: one.group.clone(), text: one.text.clone() }).await;
    work.await
}

fn beginning(body: &[u8]) -> String {
    let text = one_line_bytes(body);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
