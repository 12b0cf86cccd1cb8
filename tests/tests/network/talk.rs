//! People who talk on while the network changes under them.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use gaung_tests::{
    lab::{Host, Lab},
    process::Process,
    programs::program,
};
use serde_json::Value;
use tempfile::TempDir;

/// Within this multicast must be back, on a machine that does much else.
const BACK: Duration = Duration::from_secs(60);
/// So many messages in a row have to come by multicast: some may come by it before a change is noticed.
const IN_A_ROW: usize = 6;
const PAUSE: Duration = Duration::from_millis(200);

/// One process that publishes numbered messages, and listeners.
pub(crate) struct Talk {
    listeners: Vec<Listener>,
    send: Process,
    said: usize,
    /// Characters that each message has besides its number.
    pub(crate) length: usize,
    /// Of the group.
    address: String,
    pub(crate) up: Process,
    data: TempDir,
}

struct Listener {
    name: String,
    process: Process,
    /// The first message that it must hear.
    from: usize,
}

/// Runs one command of the client.
pub(crate) fn gaung(host: &Host, data: &Path, args: &[&str]) -> Process {
    let data = data.join("client").display().to_string();
    host.start(program("gaung"), &[args, &["--data", &data]].concat())
}

pub(crate) fn start_up(host: &Host, data: &Path, flags: &[&str]) -> Process {
    let data = data.join("server").display().to_string();
    let server = host.start(program("gaung"), &[&["up", "--headless", "--data", &data], flags].concat());
    server.stdout_line("registry's address", |line| line.contains("7400"));
    server
}

impl Talk {
    /// A server at the lab's first host, which is also where people speak.
    pub(crate) fn begin(lab: &Lab, flags: &[&str]) -> Self {
        let (host, data) = (lab.host(0), TempDir::new().expect("a temporary folder"));
        let up = start_up(host, data.path(), flags);
        let here = |args: &[&str]| gaung(host, data.path(), &[args, &["--server", "127.0.0.1"]].concat());
        let _ = here(&["group", "create", "lobby"]).end().expect_code(0);
        let shown = here(&["group", "show", "lobby", "--json"]).end().expect_code(0).stdout;
        let shown: Value = serde_json::from_str(&shown[0]).expect("one object");
        let address = format!("{}:{}", shown["address"].as_str().expect("an address"), shown["port"]);
        let send = here(&["send", "lobby", "-"]);
        Self { listeners: Vec::new(), send, said: 0, length: 0, address, up, data }
    }

    /// Someone listens in each of the ways in which multicast is heard. The server is found by discovery, so that it is found
    /// again at another address.
    pub(crate) fn join(&mut self, host: &Host, flags: &[&str]) {
        let address = self.address.clone();
        self.listen(host, &[&["lobby"], flags].concat());
        self.listen(host, &[&["lobby", "--lane", "multicast"], flags].concat());
        self.listen(host, &[&["--udp-only", &address], flags].concat());
    }

    /// One more listener.
    pub(crate) fn listen(&mut self, host: &Host, args: &[&str]) {
        let name = format!("{} {}", host.ip(), args.join(" "));
        let data = self.data.path().join(self.listeners.len().to_string());
        let process = gaung(host, &data, &[&["listen"], args, &["--json"]].concat());
        process.stderr_line("ready line", |line| line.starts_with("listening to "));
        self.listeners.push(Listener { name, process, from: self.said + 1 });
    }

    pub(crate) fn say(&mut self) {
        self.said += 1;
        self.send.write(format!("{} {}\n", self.said, "x".repeat(self.length)));
        thread::sleep(PAUSE);
    }

    /// Talks until all hear it by multicast.
    pub(crate) fn until_multicast(&mut self, after: &str) {
        self.until(after, |listener, said| {
            let (heard, wanted) = (listener.heard(), said.saturating_sub(IN_A_ROW) + 1..=said);
            wanted.into_iter().all(|number| heard.contains(&(number, "multicast".to_owned())))
        });
    }

    /// Talks until a listener has said so.
    pub(crate) fn until_said(&mut self, listener: usize, words: &str) {
        let process_of = |talk: &Self| talk.listeners[listener].process.stderr_so_far();
        let begun = Instant::now();
        while !process_of(self).iter().any(|line| line.contains(words)) {
            assert!(begun.elapsed() < BACK, "{words}: {:?}", process_of(self));
            self.say();
        }
    }

    fn until(&mut self, after: &str, is_well: impl Fn(&Listener, usize) -> bool) {
        let (begun, before) = (Instant::now(), self.said);
        while self.said < before + IN_A_ROW || !self.listeners.iter().all(|listener| is_well(listener, self.said)) {
            if begun.elapsed() > BACK {
                let deaf = self.listeners.iter().find(|listener| !is_well(listener, self.said));
                panic!("{after}: {}", deaf.map_or_else(|| "now well".to_owned(), Listener::describe));
            }
            self.say();
        }
    }

    /// Each message once and in order; who has datagrams alone may have been told of loss.
    pub(crate) fn check_that_nothing_is_lost(&self) {
        for listener in &self.listeners {
            let last = format!("\"{} ", self.said);
            listener.process.stdout_line("the last message", |line| line.contains(&last));
            let mut numbers: Vec<_> = listener.heard().into_iter().map(|(number, _)| number).collect();
            let lost = listener.process.stderr_so_far().iter().any(|line| line.contains("datagrams alone read no log"));
            if lost {
                let before = numbers.len();
                numbers.dedup();
                assert!(numbers.is_sorted() && numbers.len() == before, "{}", listener.describe());
            } else {
                // The last one before it joined may have been on its way.
                let first = numbers.first().copied().unwrap_or(listener.from).min(listener.from);
                assert_eq!(numbers, (first..=self.said).collect::<Vec<_>>(), "{}", listener.describe());
            }
        }
    }

    /// One message by datagrams alone.
    pub(crate) fn send_by_datagrams(&self, host: &Host, text: &str) -> Process {
        gaung(host, &self.data.path().join("sends"), &["send", "--udp-only", &self.address, text])
    }

    /// Says something until so many are known to have heard it.
    pub(crate) fn until_receipt(&self, host: &Host, receipt: &str) {
        let ask = ["send", "lobby", "siapa dengar?", "--receipts", "--server", "127.0.0.1"];
        let send = || gaung(host, &self.data.path().join("asks"), &ask).end().expect_code(0).stdout;
        let is_heard = (0..20).any(|_| send().iter().any(|line| line.contains(receipt)));
        assert!(is_heard, "the members' reports do not arrive");
    }
}

impl Listener {
    /// Numbers and lanes of what came.
    fn heard(&self) -> Vec<(usize, String)> {
        let parse = |line: &String| {
            let message: Value = serde_json::from_str(line).ok()?;
            let number = message["text"].as_str()?.split(' ').next()?.parse().ok()?;
            Some((number, message["lane"].as_str()?.to_owned()))
        };
        self.process.stdout_so_far().iter().filter_map(parse).collect()
    }

    fn describe(&self) -> String {
        let heard = self.heard();
        let last = &heard[heard.len().saturating_sub(10)..];
        format!("{}: heard last {last:?}; said {:?}", self.name, self.process.stderr_so_far())
    }
}
