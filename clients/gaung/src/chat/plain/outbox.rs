//! What was typed for one group, on its way: in order, and told of when it is late or fails.

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

/// A message that is not acknowledged after this is told of.
const LATE: Duration = Duration::from_secs(2);
/// Most messages that wait to be taken.
const WAITING: usize = 64;
/// Characters of a message that stand in what is told of it.
const SHOWN: usize = 60;

/// The way to one group.
#[derive(Debug)]
pub(super) struct Outbox {
    entry: mpsc::Sender<Bytes>,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Durable.
    Logged {
        /// Where.
        group: String,
        /// Its place.
        seq: Seq,
    },
    /// It will not be logged.
    Failed {
        /// Where.
        group: String,
        /// Its beginning, harmless.
        text: String,
        /// Why.
        why: String,
    },
    /// Still under way; another outcome follows.
    Late {
        /// Where.
        group: String,
        /// Its beginning, harmless.
        text: String,
    },
}

impl Outbox {
    /// Begins to carry messages to `sink`; ends when this is dropped.
    pub(super) fn open(group: String, sink: Sink, outcomes: mpsc::Sender<Outcome>) -> Self {
        let (entry, mut waiting) = mpsc::channel::<Bytes>(WAITING);
        tokio::spawn(async move {
            while let Some(body) = waiting.recv().await {
                let text = beginning(&body);
                let one = Carried { group: group.clone(), text, outcomes: outcomes.clone() };
                match timely(&one, sink.publish(body)).await {
                    Ok(ack) => drop(tokio::spawn(one.answered(ack))),
                    Err(error) => one.failed(&error).await,
                }
            }
        });
        Self { entry }
    }

    /// Room for one message; waits while there is none.
    pub(super) fn entry(&self) -> impl Future<Output = Result<mpsc::OwnedPermit<Bytes>, SendError<()>>> + use<> {
        self.entry.clone().reserve_owned()
    }
}

struct Carried {
    group: String,
    text: String,
    outcomes: mpsc::Sender<Outcome>,
}

impl Carried {
    async fn answered(self, ack: Ack) {
        match timely(&self, ack).await {
            Ok(seq) => self.tell(Outcome::Logged { group: self.group.clone(), seq }).await,
            Err(error) => self.failed(&error).await,
        }
    }

    async fn failed(&self, error: &PublishError) {
        let (group, text) = (self.group.clone(), self.text.clone());
        self.tell(Outcome::Failed { group, text, why: error.to_string() }).await;
    }

    async fn tell(&self, outcome: Outcome) {
        // The chat may have ended; then nobody wants to know.
        let _ = self.outcomes.send(outcome).await;
    }
}

/// Waits for `work`, and says once if it is late.
async fn timely<T>(one: &Carried, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if let Ok(done) = timeout(LATE, &mut work).await {
        return done;
    }
    one.tell(Outcome::Late { group: one.group.clone(), text: one.text.clone() }).await;
    work.await
}

fn beginning(body: &[u8]) -> String {
    let text = one_line_bytes(body);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
