//! Programs of others: the practicum's Python scripts with bare sockets, and grpcio by reflection.
#![allow(missing_docs)]

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use gaung_tests::{
    lab::Lab,
    needs,
    process::{PATIENCE, Process},
    programs::program,
    requires::python,
};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn the_receivers_of_the_handout_print_what_is_sent() {
    needs!(Namespaces, Python);
    let site = Site::new(2);
    site.create_text_group();
    let receivers = [site.python(1, "receiver.py", &[]), site.python(1, "receiver.py", &[])];
    site.wait_for_membership(1, "2");
    let words = ["halo semua", "Selamat pagi – apa kabar? ☕", "sampai jumpa"];
    for text in words {
        let _ = site.gaung(0, &["send", "praktikum", text]).end().expect_code(0);
    }
    for receiver in &receivers {
        assert_eq!(receiver.stdout_lines(words.len()), words.map(python_bytes));
    }
}

#[test]
fn a_python_sender_reaches_members() {
    needs!(Namespaces, Python);
    let site = Site::new(2);
    site.create_text_group();
    let member = site.gaung(0, &["listen", "praktikum", "--json", "--lane", "tcp", "--count", "1"]);
    member.stderr_line("ready line", |line| line.starts_with("listening to praktikum"));
    let receiver = site.python(1, "receiver.py", &[]);
    site.wait_for_membership(1, "1");
    let _ = site.python(1, "sender.py", &["Terima kasih – dari Python ☕"]).end().expect_code(0);
    let heard: Value = serde_json::from_str(&member.end().expect_code(0).stdout[0]).expect("a JSON line");
    assert_eq!(heard["text"], "Terima kasih – dari Python ☕");
    let author = heard["author"].as_str().expect("an author");
    assert!(author.starts_with(&format!("udp:{}:", site.lab.host(1).ip())), "{author}");
    // A relay that sent strangers' words again would show here.
    let _ = site.gaung(0, &["send", "praktikum", "selesai"]).end().expect_code(0);
    let expected = ["Terima kasih – dari Python ☕", "selesai"].map(python_bytes);
    assert_eq!(receiver.stdout_lines(2), expected);
}

#[test]
fn the_clients_of_the_handout_talk() {
    needs!(Namespaces, Python);
    let site = Site::new(1);
    let mut first = site.python(0, "client1.py", &[]);
    let mut second = site.python(0, "client2.py", &[]);
    for client in [&first, &second] {
        client.stdout_line("welcome", |line| line.starts_with("Pesan dari server : "));
    }
    for round in ["satu", "dua ☕"] {
        let _ = site.gaung(0, &["broadcast", "halo", round, "--name", "Guru"]).end().expect_code(0);
        first.stdout_line("the broadcast", |line| line == format!("Server:  Guru: halo {round}"));
        second.stdout_line("the broadcast", |line| line == format!("Server :  Guru: halo {round}"));
        first.write(format!("kabar {round}\n"));
        second.stdout_line("client 1's words", |line| said(line, "Client_1 : ", &format!("kabar {round}")));
        second.write(format!("baik {round}\n"));
        first.stdout_line("client 2's words", |line| said(line, "Client_2: ", &format!("baik {round}")));
    }
}

#[test]
fn four_clients_hear_each_other() {
    needs!(Namespaces, Python);
    let site = Site::new(1);
    let mut clients: Vec<_> = (1..=4).map(|number| site.python(0, "client4.py", &[&number.to_string()])).collect();
    for client in &clients {
        client.stdout_line("welcome", |line| line.starts_with("Pesan dari server : "));
    }
    let _ = site.gaung(0, &["broadcast", "mulai", "--name", "Guru"]).end().expect_code(0);
    for client in &clients {
        client.stdout_line("the broadcast", |line| line == "Server :  Guru: mulai");
    }
    for speaker in 1..=4 {
        let words = format!("kata dari {speaker} – ☕");
        clients[speaker - 1].write(format!("{words}\n"));
        for (index, client) in clients.iter().enumerate().filter(|(index, _)| index + 1 != speaker) {
            let heading = format!("Client_{speaker} : ");
            client.stdout_line(&format!("{words} at {}", index + 1), |line| said(line, &heading, &words));
        }
    }
}

#[test]
fn grpcio_finds_all_it_needs_by_reflection() {
    needs!(Namespaces, PythonGrpc);
    // It proves nothing of itself, and follows the relay as only hubs may otherwise.
    let site = Site::with(1, &["--plaintext", "any"]);
    let args = ["127.0.0.1:7400", "127.0.0.1:7401", "dari-python", "20"];
    let script = site.python(0, "grpc_reflection_client.py", &args).end().expect_code(0);
    assert_eq!(script.stdout, ["created dari-python", "published 20", "followed 20"]);
    let history = site.gaung(0, &["history", "dari-python", "--from", "1", "--json"]).end().expect_code(0);
    let last: Value = serde_json::from_str(history.stdout.last().expect("20 messages")).expect("a JSON line");
    assert_eq!((&last["seq"], &last["author"]), (&20.into(), &"python".into()));
}

/// Whether a client printed that another said `words`; the name before them is the hub's choice.
fn said(line: &str, heading: &str, words: &str) -> bool {
    line.strip_prefix(heading).is_some_and(|rest| rest.ends_with(&format!(": {words}")))
}

/// `text` as Python prints its bytes. Quotes are left out of the tests' words: Python would change its own for them.
fn python_bytes(text: &str) -> String {
    format!("b'{}'", text.as_bytes().escape_ascii())
}

/// A lab whose first host runs `gaung up` on the default ports.
struct Site {
    _server: Process,
    lab: Lab,
    data: TempDir,
}

impl Site {
    fn new(hosts: u8) -> Self {
        Self::with(hosts, &[])
    }

    fn with(hosts: u8, flags: &[&str]) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let lab = Lab::new(hosts);
        (0..usize::from(hosts)).for_each(|host| lab.host(host).add_default_route());
        let folder = data.path().join("server").display().to_string();
        let server = lab.host(0).start(program("gaung"), &[&["up", "--headless", "--data", &folder], flags].concat());
        server.stdout_line("registry's address", |line| line.contains("7400"));
        Self { _server: server, lab, data }
    }

    fn create_text_group(&self) {
        let create = ["group", "create", "praktikum", "--address", "224.1.1.1", "--port", "5004", "--format", "text"];
        let _ = self.gaung(0, &create).end().expect_code(0);
    }

    fn gaung(&self, host: usize, args: &[&str]) -> Process {
        let data = self.data.path().join("client").display().to_string();
        let server = self.lab.host(0).ip().to_string();
        self.lab.host(host).start(program("gaung"), &[args, &["--data", &data, "--server", &server]].concat())
    }

    fn python(&self, host: usize, script: &str, args: &[&str]) -> Process {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(script).display().to_string();
        self.lab.host(host).start(PathBuf::from(python()), &[&["-u", &script], args].concat())
    }

    /// Waits until `sockets` sockets of the host are in 224.1.1.1; a receiver says nothing of it, and the kernel sends
    /// no event.
    fn wait_for_membership(&self, host: usize, sockets: &str) {
        let joined = || {
            let igmp = self.lab.host(host).command("cat").arg("/proc/net/igmp").output().expect("cat can be started");
            let igmp = String::from_utf8_lossy(&igmp.stdout).into_owned();
            igmp.lines().any(|line| line.split_whitespace().take(2).eq(["010101E0", sockets]))
        };
        let deadline = Instant::now() + PATIENCE;
        while !joined() {
            assert!(Instant::now() < deadline, "the receivers did not join 224.1.1.1");
            thread::sleep(Duration::from_millis(20));
        }
    }
}
