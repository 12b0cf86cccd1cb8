//! Members on a lab's hosts that all listen to one group, and somebody who speaks to it at a steady rate.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    lab::Host,
    process::{Ended, Process},
    programs::program,
};

/// `gaung ARGS` on a host, with a data folder of its own below `data`.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn gaung(host: &Host, data: &Path, args: &[&str]) -> Process {
    let data = data.join(format!("client-{}", host.ip())).display().to_string();
    host.start(program("gaung"), &[args, &["--data", &data]].concat())
}

/// Starts `gaung listen GROUP --json ARGS` on each of `hosts`, and waits until all are ready.
///
/// # Panics
/// If one does not become ready.
#[must_use]
pub fn listen(hosts: &[&Host], data: &Path, group: &str, args: &[&str]) -> Vec<Process> {
    let args = [&["listen", group, "--json"], args].concat();
    let members: Vec<_> = hosts.iter().map(|host| gaung(host, data, &args)).collect();
    for member in &members {
        let _ = member.stderr_line("ready line", |line| line.starts_with("listening to"));
    }
    members
}

/// One message as `gaung listen --json` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its place.
    pub seq: u64,
    /// What it says.
    pub text: String,
    /// How it came.
    pub lane: String,
}

impl Heard {
    /// # Panics
    /// If the line is no message.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = |name: &str| message[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned();
        Self { seq: message["seq"].as_u64().expect("a seq"), text: text("text"), lane: text("lane") }
    }
}

/// Checks that `lines` are the messages 1 to `count` of a [`Speaker`], each once and in order; gives them.
///
/// # Panics
/// At the first that is not.
#[must_use]
pub fn check_all(who: &str, lines: &[String], count: usize) -> Vec<Heard> {
    let heard: Vec<Heard> = lines.iter().map(|line| Heard::parse(line)).collect();
    for (index, message) in heard.iter().enumerate() {
        let number = index + 1;
        assert_eq!(message.seq, number as u64, "{who}: the seq of message {number}");
        let said = message.text.split(' ').next().expect("the first of several words");
        assert_eq!(said, number.to_string(), "{who}: the words of seq {number}");
    }
    assert_eq!(heard.len(), count, "{who}: how many messages");
    heard
}

/// How many of `heard` came by `lane`.
#[must_use]
pub fn by_lane(heard: &[Heard], lane: &str) -> usize {
    heard.iter().filter(|message| message.lane == lane).count()
}

/// `gaung send GROUP -`, fed with numbered lines of one size.
#[derive(Debug)]
pub struct Speaker {
    process: Process,
    bytes: usize,
    rate: u32,
    said: Vec<Instant>,
}

/// Lines are written in bursts of this length.
const BURST: Duration = Duration::from_millis(5);

impl Speaker {
    /// Says a first message from `host`, and waits until it is acknowledged; `rate` messages of `bytes` a second will
    /// follow.
    ///
    /// # Panics
    /// If it is not acknowledged.
    #[must_use]
    pub fn start(host: &Host, data: &Path, group: &str, bytes: usize, rate: u32) -> Self {
        let mut speaker = Self { process: gaung(host, data, &["send", group, "-"]), bytes, rate, said: Vec::new() };
        speaker.say(1);
        let _ = speaker.process.stdout_lines(1);
        speaker
    }

    /// Says `count` more messages, at the rate.
    ///
    /// # Panics
    /// If the command has ended.
    pub fn say(&mut self, count: usize) {
        self.say_upto(self.said.len() + count);
    }

    /// Goes on until `count` messages have been said in all.
    ///
    /// # Panics
    /// If the command has ended.
    pub fn say_upto(&mut self, count: usize) {
        self.say_upto_at(count, self.rate);
    }

    /// Goes on for so many seconds; gives how many messages have been said in all.
    ///
    /// # Panics
    /// If the command has ended.
    pub fn say_for(&mut self, seconds: usize) -> usize {
        self.say(seconds * self.rate as usize);
        self.said.len()
    }

    /// Says `count` more messages as fast as the command takes them.
    ///
    /// # Panics
    /// If the command has ended.
    pub fn say_at_once(&mut self, count: usize) {
        self.write_upto(self.said.len() + count);
    }

    /// [`Self::say_upto`] at another rate.
    ///
    /// # Panics
    /// If the command has ended.
    pub fn say_upto_at(&mut self, count: usize, rate: u32) {
        let (began, first) = (Instant::now(), self.said.len());
        while self.said.len() < count {
            let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as usize + 1;
            self.write_upto(count.min(first + due));
            // The rate is what is being made here; there is nothing to wait for.
            thread::sleep(BURST);
        }
    }

    /// When each message was given to the command.
    #[must_use]
    pub fn said(&self) -> &[Instant] {
        &self.said
    }

    /// Waits until all is acknowledged.
    ///
    /// # Panics
    /// If it is not, or not each by a seq of its own in order.
    pub fn end(self) -> Vec<Instant> {
        let Ended { stdout, .. } = self.process.end().expect_code(0);
        let expected: Vec<_> = (1..=self.said.len()).map(|seq| seq.to_string()).collect();
        assert_eq!(stdout, expected, "each message is acknowledged with the next seq");
        self.said
    }

    fn write_upto(&mut self, count: usize) {
        let lines: String = (self.said.len() + 1..=count).map(|number| self.line(number)).collect();
        self.process.write(lines);
        self.said.resize(count, Instant::now());
    }

    fn line(&self, number: usize) -> String {
        let mut line = format!("{number} ");
        line.extend(std::iter::repeat_n('x', self.bytes.saturating_sub(line.len())));
        line.push('\n');
        line
    }
}
