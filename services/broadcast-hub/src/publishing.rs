//! Passing sessions' messages on to one relay over one stream.

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
use tonic::{Code, Streaming};
use tracing::debug;

use crate::{
    failure::Failure,
    hub::Hub,
    inbox::Answer,
    publish_queue::{Route, Unsent},
    relays::{self, RelayLink},
};

const EXPIRY_CHECK: Duration = Duration::from_millis(250);

/// Passes on for as long as the hub's links live; comes back with back-off and sends the unanswered again.
pub(crate) async fn run(hub: Arc<Hub>, link: Arc<RelayLink>) {
    let mut expiry = interval(EXPIRY_CHECK);
    let expiring = async {
        loop {
            expiry.tick().await;
            for dropped in link.publish.expire(Instant::now()) {
                let answer = fail(&hub, dropped.route, Failure::new(Code::Unavailable, dropped.why.to_string()));
                hub.shards[dropped.route.shard].answer(answer);
            }
        }
    };
    tokio::select! {
        () = hub.links_stop.cancelled() => {}
        () = expiring => {}
        () = pass_on(&hub, &link) => {}
    }
}

async fn pass_on(hub: &Arc<Hub>, link: &Arc<RelayLink>) {
    let mut backoff = relays::backoff();
    loop {
        let why = stream(hub, link, &mut backoff).await;
        debug!(relay = %link.relay, why, "the publish stream is not open");
        if !backoff.wait(&hub.links_stop).await {
            return;
        }
    }
}

/// One stream from its opening to its end; returns why it ended.
async fn stream(hub: &Arc<Hub>, link: &Arc<RelayLink>, backoff: &mut Backoff) -> String {
    let mut client = match relays::connect(hub, link.relay).await {
        Ok(client) => client,
        Err(why) => return why,
    };
    let responses = client.publish_stream(Unsent::of(link.clone())).await;
    let mut responses: Streaming<PublishStreamResponse> = match responses {
        Ok(response) => response.into_inner(),
        Err(status) => return status.message().to_owned(),
    };
    backoff.reset();
    let mut answers: Vec<Vec<Answer>> = hub.shards.iter().map(|_| Vec::new()).collect();
    loop {
        match responses.message().await {
            Ok(Some(response)) => {
                for outcome in response.outcomes {
                    let Some(route) = link.publish.answered(outcome.tag) else { continue };
                    answers[route.shard].push(answer(hub, route, outcome.outcome));
                }
                let to_shards = hub.shards.iter().zip(&mut answers).filter(|(_, answers)| !answers.is_empty());
                to_shards.for_each(|(shard, answers)| shard.answers(answers));
            }
            Ok(None) => return "the relay ended the stream".to_owned(),
            Err(status) => return status.message().to_owned(),
        }
    }
}

fn answer(hub: &Hub, route: Route, outcome: Option<Outcome>) -> Answer {
    let failure = match outcome {
        Some(Outcome::Published(done)) => {
            hub.figures.published_messages.inc_by(route.messages as u64);
            return route.answer(Ok((LogId(done.log_id), done.acks)));
        }
        Some(Outcome::Refused(refused)) => Failure::new(Code::from_i32(refused.code), refused.message),
        None => Failure::new(Code::Internal, "the relay gave no answer"),
    };
    fail(hub, route, failure)
}

fn fail(hub: &Hub, route: Route, failure: Failure) -> Answer {
    hub.figures.publish_refused.inc();
    route.answer(Err(failure))
}
