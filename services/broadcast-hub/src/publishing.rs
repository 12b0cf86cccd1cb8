//! Publishing sessions' messages to one relay over one stream.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_net::backoff::Backoff;
use gaung_proto::{
    LogId,
    pb::relay::{PublishStreamResponse, streamed_outcome::Outcome},
};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming};
use tracing::debug;

use crate::{
    failure::Failure,
    inbox::{Inboxes, SessionAnswer},
    metrics::Figures,
    publish_queue::{AnswerRoute, UnsentRequests},
    relay_connector::{self, RelayConnector},
    relays::RelayLink,
};

/// How often requests that waited too long are looked for.
const EXPIRY_CHECK: Duration = Duration::from_millis(250);

/// What publishing to any relay uses of the hub.
pub(crate) struct PublishContext {
    pub(crate) connector: Arc<RelayConnector>,
    pub(crate) inboxes: Inboxes,
    pub(crate) figures: Figures,
}

/// Publishes to one relay.
pub(crate) struct Publishing {
    context: Arc<PublishContext>,
    link: Arc<RelayLink>,
}

impl Publishing {
    pub(crate) const fn new(context: Arc<PublishContext>, link: Arc<RelayLink>) -> Self {
        Self { context, link }
    }

    /// Publishes until `stop`. After a break it opens a new stream, with backoff, and sends unanswered requests again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.expire_requests() => {}
            () = self.publish(&stop) => {}
        }
    }

    async fn expire_requests(&self) {
        let mut expiry = interval(EXPIRY_CHECK);
        loop {
            expiry.tick().await;
            for dropped in self.link.publish.expire(Instant::now()) {
                let answer = self.fail(dropped.route, Failure::new(Code::Unavailable, dropped.reason.to_string()));
                self.context.inboxes.of(dropped.route.shard).answer(answer);
            }
        }
    }

    async fn publish(&self, stop: &CancellationToken) {
        let mut backoff = relay_connector::backoff();
        loop {
            let why = self.stream(&mut backoff).await;
            debug!(relay = %self.link.relay, why, "the publish stream is not open");
            if !backoff.wait(stop).await {
                return;
            }
        }
    }

    /// Serves one stream from its opening to its end; returns why it ended.
    async fn stream(&self, backoff: &mut Backoff) -> String {
        let mut client = match self.context.connector.connect(self.link.relay).await {
            Ok(client) => client,
            Err(why) => return why,
        };
        let responses = client.publish_stream(UnsentRequests::of(self.link.publish.clone())).await;
        let mut responses: Streaming<PublishStreamResponse> = match responses {
            Ok(response) => response.into_inner(),
            Err(status) => return status.message().to_owned(),
        };
        backoff.reset();
        let inboxes = &self.context.inboxes;
        let mut answers: Vec<Vec<SessionAnswer>> = inboxes.iter().map(|_| Vec::new()).collect();
        loop {
            match responses.message().await {
                Ok(Some(response)) => {
                    for outcome in response.outcomes {
                        let Some(route) = self.link.publish.answered(outcome.tag) else { continue };
                        answers[route.shard].push(self.answer(route, outcome.outcome));
                    }
                    let to_shards = inboxes.iter().zip(&mut answers).filter(|(_, answers)| !answers.is_empty());
                    to_shards.for_each(|(inbox, answers)| inbox.answers(answers));
                }
                Ok(None) => return "the relay ended the stream".to_owned(),
                Err(status) => return status.message().to_owned(),
            }
        }
    }

    fn answer(&self, route: AnswerRoute, outcome: Option<Outcome>) -> SessionAnswer {
        let failure = match outcome {
            Some(Outcome::Published(done)) => {
                self.context.figures.published_messages.inc_by(route.messages as u64);
                return route.answer(Ok((LogId(done.log_id), done.acks)));
            }
            Some(Outcome::Refused(refused)) => Failure::new(Code::from_i32(refused.code), refused.message),
            None => Failure::new(Code::Internal, "the relay gave no answer"),
        };
        self.fail(route, failure)
    }

    fn fail(&self, route: AnswerRoute, failure: Failure) -> SessionAnswer {
        self.context.figures.publish_refused.inc();
        route.answer(Err(failure))
    }
}
