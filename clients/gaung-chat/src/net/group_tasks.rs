//! The tasks of one open group: a listener, a publisher and a watch of receipts.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gaung_client::{Client, ClientError, ErrorKind, LaneChoice, ListenOptions, PublishError, Publisher, StartAt};
use gaung_proto::{Content, GroupName, Kind, Seq};
use gaung_terminal::sanitise::one_line;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::effect::{EnterRefusal, Input, PublishOutcome},
    error_line,
};

/// How long a message may take to be acknowledged before it is reported as late.
const LATE: Duration = Duration::from_secs(2);
/// The first and the longest delay before a registry that cannot be reached is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long the receipt of a message is followed.
const FOLLOWED: Duration = Duration::from_secs(120);
/// The most receipts that are followed at a time; the oldest give way.
const FOLLOWED_AT_ONCE: usize = 32;

/// The tasks of one group, which end with it.
#[derive(Debug)]
pub(super) struct GroupTasks {
    words: mpsc::UnboundedSender<(u64, Kind)>,
    receipts: mpsc::UnboundedSender<Seq>,
    under_way: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
    stop: CancellationToken,
}

impl GroupTasks {
    /// Starts the tasks; messages are delivered from the one after `after`, or from now on.
    pub(super) fn enter(
        client: &Client,
        group: GroupName,
        session: u32,
        choice: LaneChoice,
        after: Option<Seq>,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let stop = CancellationToken::new();
        // The model bounds it: it publishes no more while many messages are not acknowledged.
        let (words, said) = mpsc::unbounded_channel();
        let (receipts, wanted) = mpsc::unbounded_channel();
        let under_way = Arc::new(AtomicUsize::new(0));
        let context = GroupContext { client: client.clone(), group: group.clone(), inputs: inputs.clone() };
        tokio::spawn(context.clone().run(said, Arc::clone(&under_way)));
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow(context, wanted)));
        let from = after.map_or(StartAt::Next, |seq| StartAt::Seq(seq.next()));
        let options = ListenOptions { groups: vec![group], lane: choice, from };
        let listening = tokio::spawn(listen(client.clone(), options, session, inputs, stop.clone()));
        Self { words, receipts, under_way, listening, stop }
    }

    /// Publishes a message.
    pub(super) fn publish(&self, number: u64, kind: Kind) {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        // The task runs for as long as this exists.
        let _ = self.words.send((number, kind));
    }

    /// Follows the receipt of a message.
    pub(super) fn follow(&self, seq: Seq) {
        let _ = self.receipts.send(seq);
    }

    /// Returns whether a message is not acknowledged yet.
    pub(super) fn is_publishing(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) > 0
    }

    /// Stops the listener and waits for it; messages that were published before are still sent.
    pub(super) async fn close(self) {
        self.stop.cancel();
        let _ = self.listening.await;
    }
}

async fn listen(
    client: Client,
    options: ListenOptions,
    session: u32,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    let entering = enter(&client, options, session, &inputs);
    let Some(Some(mut listener)) = stop.run_until_cancelled(entering).await else { return };
    while let Some(Some(event)) = stop.run_until_cancelled(listener.next()).await {
        // While the screen is busy the listener waits here, and catches up from the log.
        if inputs.send(Input::ListenerEvent { session, event: Box::new(event) }).await.is_err() {
            break;
        }
    }
    listener.close().await;
}

/// Tries to start a listener until it succeeds or is refused; `None` if it is refused.
async fn enter(
    client: &Client,
    options: ListenOptions,
    session: u32,
    inputs: &mpsc::Sender<Input>,
) -> Option<gaung_client::Listener> {
    let mut pause = BACKOFF.0;
    loop {
        let entered = async {
            let group = client.group(&options.groups[0]).await?;
            client.listen(options.clone()).await.map(|listener| (group, listener))
        };
        match entered.await {
            Ok((group, listener)) => {
                let _ = inputs.send(Input::Entered { session, group: Box::new(group) }).await;
                return Some(listener);
            }
            Err(ClientError::Unreachable(_)) => {
                sleep(pause).await;
                pause = (2 * pause).min(BACKOFF.1);
            }
            Err(error) => {
                let why = match error.kind() {
                    ErrorKind::NotFound => EnterRefusal::NoSuchGroup,
                    ErrorKind::NotAllowed => EnterRefusal::NotInvited,
                    ErrorKind::Failed | ErrorKind::Usage | ErrorKind::Unreachable | ErrorKind::OtherSite => {
                        EnterRefusal::Other(error_line(&error))
                    }
                };
                let _ = inputs.send(Input::NotEntered { session, why }).await;
                return None;
            }
        }
    }
}

/// What publishing and following receipts need.
#[derive(Debug, Clone)]
struct GroupContext {
    client: Client,
    group: GroupName,
    inputs: mpsc::Sender<Input>,
}

impl GroupContext {
    async fn run(self, mut said: mpsc::UnboundedReceiver<(u64, Kind)>, under_way: Arc<AtomicUsize>) {
        let mut publisher: Option<Publisher> = None;
        while let Some((number, kind)) = said.recv().await {
            let report = PublishReport { context: self.clone(), number };
            let content = Content { author_name: self.client.name(), kind };
            let accepted = report.with_late_report(self.publish(&mut publisher, content)).await;
            let under_way = Arc::clone(&under_way);
            match accepted {
                Ok(ack) => drop(tokio::spawn(async move {
                    let outcome = report.with_late_report(ack).await;
                    report.report(outcome.map_err(|error| error.to_string())).await;
                    under_way.fetch_sub(1, Ordering::SeqCst);
                })),
                Err(why) => {
                    report.report(Err(why)).await;
                    under_way.fetch_sub(1, Ordering::SeqCst);
                }
            }
        }
    }

    /// Publishes a message; the publisher is made with the first report.
    async fn publish(
        &self,
        publisher: &mut Option<Publisher>,
        content: Content,
    ) -> Result<gaung_client::PendingAck, String> {
        let sink = match publisher {
            Some(sink) => sink,
            None => publisher.insert(self.publisher().await?),
        };
        match sink.publish(content.clone()).await {
            Err(PublishError::Closed) => {
                // The group was deleted and created again under its name.
                let sink = publisher.insert(self.publisher().await?);
                sink.publish(content).await.map_err(|error| error.to_string())
            }
            other => other.map_err(|error| error.to_string()),
        }
    }

    async fn publisher(&self) -> Result<Publisher, String> {
        let mut pause = BACKOFF.0;
        loop {
            match self.client.publisher(&self.group).await {
                Ok(publisher) => return Ok(publisher),
                Err(ClientError::Unreachable(_)) => {
                    sleep(pause).await;
                    pause = (2 * pause).min(BACKOFF.1);
                }
                Err(error) => return Err(error_line(&error)),
            }
        }
    }
}

/// Reports what becomes of one message.
struct PublishReport {
    context: GroupContext,
    number: u64,
}

impl PublishReport {
    /// Waits for `work`, and reports once that it is late.
    async fn with_late_report<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if let Ok(done) = timeout(LATE, &mut work).await {
            return done;
        }
        self.send(PublishOutcome::Late).await;
        work.await
    }

    async fn report(&self, outcome: Result<Seq, String>) {
        self.send(match outcome {
            Ok(seq) => PublishOutcome::Logged(seq),
            Err(why) => PublishOutcome::Failed(one_line(&why).into_owned()),
        })
        .await;
    }

    async fn send(&self, outcome: PublishOutcome) {
        let group = self.context.group.clone();
        let _ = self.context.inputs.send(Input::Published { group, number: self.number, outcome }).await;
    }
}

/// Follows the newest messages whose receipts are not complete, by one watch at a time.
async fn follow(context: GroupContext, mut wanted: mpsc::UnboundedReceiver<Seq>) {
    let mut open: BTreeSet<Seq> = BTreeSet::new();
    while let Some(seq) = wanted.recv().await {
        open.insert(seq);
        loop {
            while let Ok(seq) = wanted.try_recv() {
                open.insert(seq);
            }
            while open.len() > FOLLOWED_AT_ONCE {
                open.pop_first();
            }
            let watch = context.client.receipts(&context.group, open.iter().copied(), FOLLOWED).await;
            let Ok(mut watch) = watch else { break };
            let more = loop {
                tokio::select! {
                    seq = wanted.recv() => break seq,
                    receipts = watch.next() => match receipts {
                        Some(Ok(receipts)) => {
                            let heard = receipts.iter().filter(|receipt| receipt.complete);
                            heard.for_each(|receipt| {
                                open.remove(&receipt.seq);
                            });
                            let group = context.group.clone();
                            if context.inputs.send(Input::Receipts { group, receipts }).await.is_err() {
                                return;
                            }
                        }
                        Some(Err(_)) | None => break None,
                    },
                }
            };
            match more {
                Some(seq) => {
                    open.insert(seq);
                }
                None => break,
            }
        }
        open.clear();
    }
}
