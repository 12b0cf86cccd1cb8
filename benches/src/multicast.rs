//! The multicast lane on loopback: one `multicast_peer` publishes at full speed, others receive.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use gaung_tests::{
    load::figure::{Figure, Outcome},
    process::Process,
    programs::built_in,
};
use serde_json::Value;

/// More than receivers that share two cores with the sender take.
const FIRST_BYTES_PER_S: f64 = 300e6;
/// Of a message in a datagram, besides its payload.
const OVERHEAD: usize = 20;
/// From one rate to the next.
const STEP: f64 = 0.75;
/// The last rate is a hundredth of the first.
const STEPS: usize = 17;

/// Who receives, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Multicast {
    pub(super) receivers: usize,
    /// Bytes of a payload.
    pub(super) size: usize,
    /// The kernel cuts datagrams from packets of many.
    pub(super) segmentation: bool,
}

impl Multicast {
    /// Publishes at falling rates until no receiver has to read from the log; gives what that rate found.
    ///
    /// # Errors
    /// A process does not do its part; the registry's and the relay's usual ports must be free.
    pub(super) fn run(&self, length: Duration) -> anyhow::Result<Outcome> {
        let mut limit = FIRST_BYTES_PER_S / (self.size + OVERHEAD) as f64;
        for _ in 1..STEPS {
            let outcome = self.run_at(limit as u64, length)?;
            if outcome.figures.get(&Figure::FromLog).is_some_and(|share| *share == 0.0) {
                return Ok(outcome);
            }
            limit *= STEP;
        }
        self.run_at(limit as u64, length)
    }

    /// Publishes for `length`, so many messages a second at most, and waits until all receivers have everything.
    fn run_at(&self, limit: u64, length: Duration) -> anyhow::Result<Outcome> {
        let programs = built_in(Path::new(env!("CARGO_MANIFEST_DIR")));
        let peer = programs.get("multicast_peer").context("cargo builds multicast_peer")?;
        let start = || Process::start(peer, ["rx", "ip=127.0.0.1", "server=127.0.0.1"]);
        let mut receivers: Vec<_> = (0..self.receivers).map(|_| start()).collect();
        let segmentation = if self.segmentation { "on" } else { "off" };
        let arguments = [
            "tx".to_owned(),
            "ip=127.0.0.1".to_owned(),
            format!("r={}", self.receivers),
            format!("size={}", self.size),
            format!("secs={}", length.as_secs_f64()),
            format!("limit={limit}"),
            format!("segmentation={segmentation}"),
        ];
        let mut sender = Process::start(peer, arguments);
        let _ = sender.stdout_line("READY", |line| line == "READY");
        sender.write("GO\n");
        let sent = report(&sender, "SENT ")?;
        let published = sent["n"].as_u64().context("SENT says no n")?;
        for receiver in &mut receivers {
            receiver.write(format!("TOTAL {published}\n"));
        }
        let mut heard = Vec::new();
        for receiver in &mut receivers {
            let _ = receiver.stdout_line("COMPLETE", |line| line == "COMPLETE");
            receiver.write("STOP\n");
            heard.push(report(receiver, "RX ")?);
        }
        sender.write("STOP\n");
        outcome(&sent, &heard)
    }
}

fn report(process: &Process, name: &str) -> anyhow::Result<Value> {
    let line = process.stdout_line(name, |line| line.starts_with(name));
    Ok(serde_json::from_str(&line[name.len()..])?)
}

/// Of the slowest receiver; the sender's processor time as the server's.
fn outcome(sent: &Value, heard: &[Value]) -> anyhow::Result<Outcome> {
    let number = |value: &Value, what: &'static str| value.as_f64().with_context(|| format!("no {what}"));
    let (published, begun) = (number(&sent["n"], "n")?, number(&sent["t0"], "t0")?);
    let publishing_s = (number(&sent["t1"], "t1")? - begun) / 1e9;
    let mut outcome = Outcome::default();
    outcome.set(Figure::Cpu, number(&sent["cpu"], "cpu")? / publishing_s);
    let (mut slowest_s, mut datagrams, mut from_log) = (0.0_f64, f64::INFINITY, 0.0_f64);
    for receiver in heard {
        slowest_s = slowest_s.max((number(&receiver["last"], "last")? - begun) / 1e9);
        datagrams = datagrams.min(number(&receiver["engine"]["data"], "engine.data")?);
        from_log = from_log.max(number(&receiver["history_share"], "history_share")?);
        for (name, what) in [("dup", "repeated"), ("ooo", "out of order"), ("lost", "lost")] {
            outcome.fault(receiver[name].as_u64().context(name)?, &format!("messages {what} at a receiver"));
        }
    }
    outcome.set(Figure::Messages, published / slowest_s);
    outcome.set(Figure::Datagrams, datagrams / slowest_s);
    outcome.set(Figure::FromLog, from_log);
    Ok(outcome)
}
