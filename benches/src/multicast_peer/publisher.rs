//! The role `tx`: a relay, and a thread beside it that publishes.

use std::{
    io::{self, BufRead as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use gaung_proto::Seq;
use gaung_tests::clock;
use serde_json::json;
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot};

use super::{
    arguments::Arguments,
    group::{self, Place},
    relay::Services,
    tally::{WARM_UP, stamp},
    window::Window,
};

/// Between two messages of the warm-up.
const WARM_UP_STEP: Duration = Duration::from_millis(4);
/// A wait longer than this is slept, the rest spun: sleeping is exact to some ten µs.
const SPIN_NS: u64 = 20_000;
/// At full speed with a limit: messages are let through in steps of so much time.
const LIMIT_STEP_NS: u64 = 200_000;
/// Between two looks at how far the receivers are.
const PROGRESS_LOOK: Duration = Duration::from_millis(10);

/// Speaks the lines of a sender until `STOP`.
///
/// # Errors
/// What cannot be had, or went wrong.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let data = TempDir::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (mut services, place) = runtime.block_on(async {
        let services = Services::start(arguments).await?;
        let place = group::create(arguments.ip, data.path()).await?;
        group::members(&place, arguments.receivers).await?;
        anyhow::Ok((services, place))
    })?;
    let group = services.publisher.group(place.group.id).context("the relay does not serve the group")?;
    let window = Window::new(group, arguments.clients);
    let (ended, end) = oneshot::channel();
    let pace = Pace::new(arguments, &runtime, place);
    let arguments = arguments.clone();
    thread::Builder::new().name("publisher".to_owned()).spawn(move || {
        // The other end is gone only if the relay has failed, which is told instead.
        let _ = ended.send(Publishing { arguments, window, pace, sent: 0 }.speak());
    })?;
    runtime.block_on(async {
        tokio::select! {
            outcome = end => outcome.context("the publisher panicked")?,
            error = services.failed() => Err(error),
        }
    })?;
    // What a relay does at its end is not measured.
    std::process::exit(0)
}

struct Publishing {
    arguments: Arguments,
    window: Window,
    pace: Pace,
    sent: u64,
}

impl Publishing {
    fn speak(mut self) -> anyhow::Result<()> {
        let mut lines = io::stdin().lock().lines();
        self.warm_up()?;
        println!("READY");
        lines.next().context("stdin ended before GO")??;
        let (cpu, t0) = (clock::cpu_seconds(), clock::now_ns());
        let end = t0 + self.arguments.duration.as_nanos() as u64;
        if self.arguments.rate > 0 {
            self.at_rate(t0, end)?
        } else {
            self.full_speed(t0, end)?
        }
        let sent = json!({
            "n": self.sent, "t0": t0, "t1": clock::now_ns(), "cpu": clock::cpu_seconds() - cpu,
            "refused": self.window.refused,
        });
        println!("SENT {sent}");
        let _ = lines.next();
        Ok(())
    }

    fn warm_up(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.arguments.warm_up.as_millis() / WARM_UP_STEP.as_millis() {
            let payload = self.payloads(1, |_| WARM_UP);
            self.window.publish(payload.into_iter())?;
            thread::sleep(WARM_UP_STEP);
        }
        Ok(())
    }

    /// A message alone at each of its times; after a delay those that are late follow one another.
    fn at_rate(&mut self, t0: u64, end: u64) -> anyhow::Result<()> {
        loop {
            let due = t0 + (u128::from(self.sent) * 1_000_000_000 / u128::from(self.arguments.rate)) as u64;
            sleep_until(due);
            if clock::now_ns() >= end {
                return Ok(());
            }
            let number = self.sent;
            let payload = self.payloads(1, |_| number);
            self.window.publish(payload.into_iter())?;
            self.sent += 1;
        }
    }

    fn full_speed(&mut self, t0: u64, end: u64) -> anyhow::Result<()> {
        while clock::now_ns() < end {
            self.pace.wait(t0, end, self.sent);
            let first = self.sent;
            let payloads = self.payloads(self.arguments.batch, |index| first + index);
            self.window.publish(payloads.into_iter())?;
            self.sent += self.arguments.batch as u64;
            self.pace.published(self.arguments.batch as u64);
        }
        Ok(())
    }

    /// Slices of one buffer, all of the same time.
    fn payloads(&self, count: usize, number: impl Fn(u64) -> u64) -> Vec<Bytes> {
        let now_ns = clock::now_ns();
        let size = self.arguments.size;
        let mut all = BytesMut::zeroed(count * size);
        for (index, payload) in (0..).zip(all.chunks_mut(size)) {
            stamp(payload, number(index), now_ns);
        }
        let all = all.freeze();
        (0..count).map(|index| all.slice(index * size..(index + 1) * size)).collect()
    }
}

/// What holds a publisher back that would go on at full speed.
struct Pace {
    limit: u64,
    ahead: u64,
    /// The last seq that every receiver has delivered.
    delivered: Arc<AtomicU64>,
    /// The last seq that was published, warm-up included.
    published: u64,
}

impl Pace {
    fn new(arguments: &Arguments, runtime: &Runtime, place: Place) -> Self {
        let delivered = Arc::new(AtomicU64::new(0));
        if arguments.rate == 0 && arguments.ahead > 0 {
            runtime.spawn(follow(place, arguments.receivers, Arc::clone(&delivered)));
        }
        let steps = arguments.warm_up.as_millis() / WARM_UP_STEP.as_millis();
        Self { limit: arguments.limit, ahead: arguments.ahead, delivered, published: steps as u64 }
    }

    fn published(&mut self, count: u64) {
        self.published += count;
    }

    fn wait(&self, t0: u64, end: u64, sent: u64) {
        if self.limit > 0 {
            let due = t0 + (u128::from(sent) * 1_000_000_000 / u128::from(self.limit)) as u64;
            if due > clock::now_ns() + LIMIT_STEP_NS {
                sleep_until(due.min(end));
            }
        }
        while self.ahead > 0
            && self.published > self.delivered.load(Ordering::Relaxed) + self.ahead
            && clock::now_ns() < end
        {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Keeps `delivered` at the slowest receiver's progress.
async fn follow(place: Place, receivers: usize, delivered: Arc<AtomicU64>) {
    loop {
        if let Ok(log) = place.client.group_status(&place.group.name).await
            && log.members.len() >= receivers
        {
            let slowest = log.members.iter().map(|member| member.delivered).min().unwrap_or(Seq::ZERO);
            delivered.fetch_max(slowest.0, Ordering::Relaxed);
        }
        tokio::time::sleep(PROGRESS_LOOK).await;
    }
}

fn sleep_until(due_ns: u64) {
    let now = clock::now_ns();
    if due_ns > now + SPIN_NS {
        thread::sleep(Duration::from_nanos(due_ns - now - SPIN_NS));
    }
    while clock::now_ns() < due_ns {
        std::hint::spin_loop();
    }
}
