//! The lab of `deploy/compose.yaml`: separate programs in containers, four clients that hear the same.
#![allow(missing_docs)]

use std::{
    path::{Path, PathBuf},
    process::{self, Command},
    time::{Duration, Instant},
};

use gaung_tests::{needs, process::Process};

const MESSAGES: usize = 200;
const CLIENTS: [&str; 4] = ["multicast-1", "multicast-2", "tcp", "text"];

#[test]
fn the_four_transcripts_agree() {
    needs!(Compose, Image);
    let mut lab = ComposeLab::up();
    let transcripts = CLIENTS.map(|client| lab.follow(client));
    for (client, transcript) in CLIENTS.iter().zip(&transcripts) {
        match *client {
            "text" => transcript.stdout_line("welcome", |line| !line.is_empty()),
            _ => transcript.stderr_line("ready line", |line| line.starts_with("listening to everyone")),
        };
    }
    let sent: Vec<_> = (1..=MESSAGES).map(|number| format!("pesan {number} – halo semua ☕")).collect();
    let mut sender = lab.exec("tcp", &["/bin/gaung", "send", "everyone", "-", "--server", "registry", "--name", "lab"]);
    sender.write(sent.join("\n") + "\n");
    let acknowledged = sender.end().expect_code(0).stdout;
    assert_eq!(acknowledged.len(), MESSAGES);

    let expected: Vec<_> = sent.iter().map(|text| format!("lab: {text}")).collect();
    for (client, transcript) in CLIENTS.iter().zip(&transcripts) {
        transcript
            .stdout_line(&format!("last message at {client}"), |line| Some(line) == expected.last().map(|s| &**s));
        let heard: Vec<_> = transcript.stdout_so_far().into_iter().filter(|line| line.starts_with("lab: ")).collect();
        assert_eq!(heard, expected, "{client}");
    }
    drop(transcripts);
    lab.down();
}

/// A running lab with a project name, network and bridge of its own. Taken down when dropped.
struct ComposeLab {
    project: String,
    program: Vec<&'static str>,
    is_up: bool,
}

impl ComposeLab {
    fn up() -> Self {
        let has_v2 = Command::new("docker").args(["compose", "version"]).output().is_ok_and(|o| o.status.success());
        let program = if has_v2 { vec!["docker", "compose"] } else { vec!["docker-compose"] };
        let lab = Self { project: format!("gaungtest{}", process::id()), program, is_up: true };
        lab.compose(&["up", "--detach"]);
        lab
    }

    /// What a client printed and prints.
    fn follow(&self, service: &str) -> Process {
        Process::start("docker", ["logs", "--follow", &self.container(service)])
    }

    fn exec(&self, service: &str, command: &[&str]) -> Process {
        Process::start("docker", [&["exec", "--interactive", &self.container(service)], command].concat())
    }

    /// Takes it down, and checks that nothing of it is left.
    fn down(&mut self) {
        self.is_up = false;
        let begun = Instant::now();
        self.compose(&["down", "--volumes", "--remove-orphans"]);
        // Docker kills after 10 s what did not heed SIGTERM.
        assert!(begun.elapsed() < Duration::from_secs(60), "it took {:?} to go down", begun.elapsed());
        let label = format!("label=com.docker.compose.project={}", self.project);
        for kind in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
            let left = output(Command::new("docker").args(kind).args(["--quiet", "--filter", &label]));
            assert_eq!(left, "", "docker {} still shows something", kind.join(" "));
        }
    }

    fn container(&self, service: &str) -> String {
        let id = self.compose(&["ps", "--quiet", service]);
        assert!(!id.is_empty(), "{service} does not run");
        id
    }

    fn compose(&self, args: &[&str]) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/compose.yaml");
        let file: PathBuf = file.canonicalize().expect("it is part of the tree");
        let number = process::id();
        let mut command = Command::new(self.program[0]);
        command.args(&self.program[1..]).arg("--file").arg(file).args(["--project-name", &self.project]).args(args);
        command.env("GAUNG_LAB_NET", format!("10.{}.{}", 64 + number / 256 % 64, number % 256));
        command.env("GAUNG_LAB_BRIDGE", format!("gt{number}"));
        command.env("GAUNG_ENROL_SECRET", format!("{number:032x}"));
        output(&mut command)
    }
}

impl Drop for ComposeLab {
    fn drop(&mut self) {
        if self.is_up {
            eprintln!("{}", self.compose(&["logs", "--no-color", "--tail", "40"]));
            self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "1"]);
        }
    }
}

/// Runs it to its end; gives its stdout.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
