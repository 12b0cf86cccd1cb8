//! One group that is listened to and spoken in.

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

/// A message that is not acknowledged after this is told of.
const LATE: Duration = Duration::from_secs(2);
/// Pauses before another attempt to enter: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long a receipt is followed.
const FOLLOWED: Duration = Duration::from_secs(120);
/// Messages whose receipts are followed at a time.
const FOLLOWED_AT_ONCE: usize = 32;

/// Tasks of one group; they end with it.
#[derive(Debug)]
pub(super) struct GroupTasks {
    words: mpsc::UnboundedSender<(u64, Kind)>,
    receipts: mpsc::UnboundedSender<Seq>,
    under_way: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
    stop: CancellationToken,
}

impl GroupTasks {
    /// Begins to listen: after this message, or from now on.
    pub(super) fn enter(
        client: &Client,
        group: GroupName,
        session: u32,
        choice: LaneChoice,
        after: Option<Seq>,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let stop = CancellationToken::new();
        // Bounded by the model, which hands over no more while many are not acknowledged.
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

    /// Says something.
    pub(super) fn publish(&self, number: u64, kind: Kind) {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        // The task lives as long as this.
        let _ = self.words.send((number, kind));
    }

    /// Follows who has heard a message.
    pub(super) fn follow(&self, seq: Seq) {
        let _ = self.receipts.send(seq);
    }

    /// Something said is not acknowledged yet.
    pub(super) fn is_publishing(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) > 0
    }

    /// Leaves; what was said before is still sent.
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
        // A screen that is busy holds the listener back, and it catches up from the log.
        if inputs.send(Input::ListenerEvent { session, event: Box::new(event) }).await.is_err() {
            break;
        }
    }
    listener.close().await;
}

/// Until it succeeds, or is refused for good.
async fn enter(
    client: &Client,
    options: ListenOptions,
    session: u32,
    inputs: &mpsc::Sender<Input>,
) -> Option<gaung_client::Listener> {
    let mut pause = AGAIN.0;
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
                pause = (2 * pause).min(AGAIN.1);
            }
            Err(error) => {
                let why = match error.kind() {
                    ErrorKind::NotFound => EnterRefusal::NoSuchGroup,
                    ErrorKind::NotAllowed => EnterRefusal::NotInvited,
                    ErrorKind::Failed | ErrorKind::Usage | ErrorKind::Unreachable => {
                        EnterRefusal::Other(error_line(&error))
                    }
                };
                let _ = inputs.send(Input::NotEntered { session, why }).await;
                return None;
            }
        }
    }
}

/// What speaking and asking for receipts need.
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
            let one = PublishReport { context: self.clone(), number };
            let content = Content { author_name: self.client.name(), kind };
            let handed = one.timely(self.hand_over(&mut publisher, content)).await;
            let under_way = Arc::clone(&under_way);
            match handed {
                Ok(ack) => drop(tokio::spawn(async move {
                    let outcome = one.timely(ack).await;
                    one.tell(outcome.map_err(|error| error.to_string())).await;
                    under_way.fetch_sub(1, Ordering::SeqCst);
                })),
                Err(why) => {
                    one.tell(Err(why)).await;
                    under_way.fetch_sub(1, Ordering::SeqCst);
                }
            }
        }
    }

    /// Gives a message to the publisher, which is begun with the first one.
    async fn hand_over(
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
                // The group was gone and is back under its name.
                let sink = publisher.insert(self.publisher().await?);
                sink.publish(content).await.map_err(|error| error.to_string())
            }
            other => other.map_err(|error| error.to_string()),
        }
    }

    async fn publisher(&self) -> Result<Publisher, String> {
        let mut pause = AGAIN.0;
        loop {
            match self.client.publisher(&self.group).await {
                Ok(publisher) => return Ok(publisher),
                Err(ClientError::Unreachable(_)) => {
                    sleep(pause).await;
                    pause = (2 * pause).min(AGAIN.1);
                }
                Err(error) => return Err(error_line(&error)),
            }
        }
    }
}

/// A message on its way.
struct PublishReport {
    context: GroupContext,
    number: u64,
}

impl PublishReport {
    /// Waits for `work`, and says once if it is late.
    async fn timely<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if let Ok(done) = timeout(LATE, &mut work).await {
            return done;
        }
        self.send(PublishOutcome::Late).await;
        work.await
    }

    async fn tell(&self, outcome: Result<Seq, String>) {
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

/// One watch at a time, of the newest messages that somebody has not heard yet.
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
