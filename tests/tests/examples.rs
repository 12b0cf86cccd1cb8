//! The examples of the SDK and the one over gRPC, against a server of their own.
#![allow(missing_docs)]

use std::{path::Path, process::Command};

use gaung_tests::{deployment::Up, needs, process::Process, programs::program, requires::python};
use tempfile::TempDir;

#[test]
fn two_chats_read_each_other() {
    let site = Site::new();
    let mut lina = site.example("chat", &["everyone", "Lina"]);
    let mut budi = site.example("chat", &["everyone", "Budi"]);
    for chat in [&lina, &budi] {
        let _ = chat.stderr_line("sign that it listens", |line| line.starts_with("Ready"));
    }
    lina.write("halo\n");
    let _ = budi.stdout_line("Lina's message", |line| line == "1 Lina: halo");
    budi.write("selamat pagi\n");
    let _ = lina.stdout_line("Budi's message", |line| line == "2 Budi: selamat pagi");
    for mut chat in [lina, budi] {
        chat.close_stdin();
        let _ = chat.end().expect_code(0);
    }
}

#[test]
fn published_lines_are_mirrored_into_another_group() {
    let site = Site::new();
    let owner = site.up.person("Ani");
    for group in ["lobby", "archive"] {
        let _ = owner.out(&["group", "create", group]);
    }
    let mut publish = site.example("publish", &["lobby"]);
    publish.write("satu\ndua\ntiga\n");
    publish.close_stdin();
    assert_eq!(publish.end().expect_code(0).stdout, ["1", "2", "3"]);

    let mirror = site.example("mirror", &["lobby", "archive", "3"]).end().expect_code(0);
    assert_eq!(mirror.stdout, ["1 → 1", "2 → 2", "3 → 3"]);
    let archive = owner.out(&["history", "archive"]);
    let copied: Vec<_> = archive.iter().map(|line| line.rsplit('\t').next().unwrap_or(line)).collect();
    assert_eq!(copied, ["example: satu", "example: dua", "example: tiga"]);
}

#[test]
fn a_python_program_chats_by_grpc() {
    needs!(PythonGrpc);
    // It proves nothing of itself, and follows the relay as only hubs may otherwise.
    let site = Site::with(&["--plaintext", "any"]);
    let server = site.up.server();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/grpc_chat.py").display().to_string();
    let mut chat = Process::start(python(), ["-u", &script, &server, "everyone", "Lina"]);
    let _ = chat.stdout_line("sign that it listens", |line| line == "listening");
    chat.write("halo dari Python\n");
    let _ = chat.stdout_line("its own message", |line| line == "1 Lina: halo dari Python");
    let _ = site.up.person("Budi").run(&["send", "everyone", "halo Lina"]).expect_code(0);
    let _ = chat.stdout_line("Budi's message", |line| line == "2 Budi: halo Lina");
    chat.close_stdin();
    let _ = chat.end().expect_code(0);
}

/// A server, and folders of the examples' own.
struct Site {
    up: Up,
    data: TempDir,
}

impl Site {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(flags: &[&str]) -> Self {
        Self { up: Up::start(flags), data: TempDir::new().expect("a temporary folder") }
    }

    fn example(&self, name: &str, args: &[&str]) -> Process {
        let mut command = Command::new(program(name));
        command.arg(self.up.server()).args(args).env("TMPDIR", self.data.path());
        Process::spawn(command)
    }
}
