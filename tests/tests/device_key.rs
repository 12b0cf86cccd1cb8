//! A device key under a passphrase: who may use it, how it is asked for, and how it comes to another machine.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use gaung_tests::{
    deployment::{Person, Up},
    process::{Ended, Process},
    pty::Pty,
};
use serde_json::Value;

const SIZE: (u16, u16) = (80, 24);
const PASSPHRASE: &str = "kunci rumah";

/// A file with a passphrase, in the person's folder.
fn passphrase_file(person: &Person, text: &str) -> PathBuf {
    let path = person.home().join(format!("passphrase of {} bytes", text.len()));
    fs::write(&path, format!("{text}\n")).unwrap();
    path
}

/// Runs a command with the passphrase in a file.
fn with_file(person: &Person, file: &Path, args: &[&str]) -> Ended {
    let mut command = person.command(args);
    command.env("GAUNG_PASSPHRASE_FILE", file);
    Process::spawn(command).end()
}

/// Runs a command in a session of its own, which has no terminal even where the tests were started on one.
fn without_terminal(person: &Person, args: &[&str]) -> Ended {
    let command = person.command(args);
    let mut alone = Command::new("setsid");
    alone.arg("--wait").arg(command.get_program()).args(command.get_args());
    alone.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Process::spawn(alone).end()
}

fn shown(ended: Ended) -> Value {
    serde_json::from_str(&ended.expect_code(0).stdout[0]).unwrap()
}

fn key_of(person: &Person) -> PathBuf {
    person.home().join("device.key")
}

#[test]
fn a_protected_key_is_used_with_its_passphrase_alone_and_moves_to_another_machine() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "rapat", "--private"]);
    let _ = ani.out(&["send", "rapat", "halo"]);
    let before = shown(ani.run(&["device", "--json"]));
    assert_eq!(before["protected"], false);
    let plain = fs::read_to_string(key_of(&ani)).unwrap();

    let file = passphrase_file(&ani, PASSPHRASE);
    let protected = shown(with_file(&ani, &file, &["device", "protect", "--json"]));
    assert_eq!((&protected["device"], &protected["protected"]), (&before["device"], &true.into()));
    let kept = fs::read_to_string(key_of(&ani)).unwrap();
    assert!(kept.starts_with("gaung-key-2 argon2id ") && !kept.contains(plain.trim()), "{kept}");

    let read = ["history", "rapat"];
    assert_eq!(with_file(&ani, &file, &read).expect_code(0).stdout.len(), 1);
    let said = without_terminal(&ani, &read).expect_code(2).stderr.join("\n");
    assert!(said.contains("GAUNG_PASSPHRASE_FILE"), "{said}");
    let wrong = passphrase_file(&ani, "kunci kantor");
    let said = with_file(&ani, &wrong, &read).expect_code(4).stderr.join("\n");
    assert!(said.contains("wrong passphrase"), "{said}");
    let missing = ani.home().join("missing");
    let said = with_file(&ani, &missing, &read).expect_code(2).stderr.join("\n");
    assert!(said.contains("missing") && said.contains("GAUNG_PASSPHRASE_FILE"), "{said}");

    let exported = ani.home().join("exported").display().to_string();
    let _ = with_file(&ani, &file, &["device", "export", &exported]).expect_code(0);
    let said = with_file(&ani, &file, &["device", "export", &exported]).expect_code(2).stderr.join("\n");
    assert!(said.contains("exists"), "no file is overwritten: {said}");
    assert_ne!(budi.run(&read).code(), 0);
    let own = fs::read_to_string(key_of(&budi)).unwrap();
    let imported = shown(with_file(&budi, &file, &["device", "import", &exported, "--json"]));
    assert_eq!(imported["device"], before["device"]);
    assert_eq!(fs::read_to_string(imported["replaced"].as_str().unwrap()).unwrap(), own);
    assert_eq!(with_file(&budi, &file, &read).expect_code(0).stdout.len(), 1);

    let _ = with_file(&budi, &file, &["device", "unprotect"]).expect_code(0);
    assert_eq!(fs::read_to_string(key_of(&budi)).unwrap(), plain);
    let _ = budi.run(&["device", "unprotect"]).expect_code(1);
    let said = budi.run(&["device", "import", &key_of(&budi).display().to_string()]).expect_code(1).stderr.join("\n");
    assert!(said.contains("not an exported device key"), "nobody is asked for its passphrase: {said}");
}

#[test]
fn a_damaged_key_is_left_alone_and_said_to_be_damaged() {
    let ani = Person::at("127.0.0.1:1", "ani");
    let file = passphrase_file(&ani, PASSPHRASE);
    let _ = with_file(&ani, &file, &["device", "protect"]).expect_code(0);
    let whole = fs::read_to_string(key_of(&ani)).unwrap();
    for damaged in [&whole[..whole.len() - 2], &whole[5..], ""] {
        fs::write(key_of(&ani), damaged).unwrap();
        let said = with_file(&ani, &file, &["device"]).expect_code(1).stderr.join("\n");
        assert!(said.contains("restore it from a copy"), "{said}");
        assert_eq!(fs::read_to_string(key_of(&ani)).unwrap(), damaged);
    }
    let last = whole.trim_end().len() - 1;
    let digit = if whole.as_bytes()[last] == b'0' { "1" } else { "0" };
    fs::write(key_of(&ani), format!("{}{digit}\n", &whole[..last])).unwrap();
    let said = with_file(&ani, &file, &["device"]).expect_code(4).stderr.join("\n");
    assert!(said.contains("was changed"), "{said}");
}

#[test]
fn passphrases_are_typed_unseen_and_may_be_corrected() {
    let ani = Person::at("127.0.0.1:1", "ani");
    let on_terminal = |args: &[&str]| Pty::start(ani.command(args), SIZE);
    let answer = |pty: &mut Pty, question: &str, typed: &str| {
        let _ = pty.wait(0, question);
        pty.write(typed.as_bytes());
    };

    let mut pty = on_terminal(&["device", "protect"]);
    answer(&mut pty, "New passphrase: ", "kunci rumah\n");
    answer(&mut pty, "The same again: ", "kunci rumax\x7fh\n");
    let _ = pty.wait(0, "by a passphrase");
    assert!(!pty.text().contains("kunci"), "{}", pty.text());
    assert!(fs::read_to_string(key_of(&ani)).unwrap().starts_with("gaung-key-2 "));

    let before = fs::read(key_of(&ani)).unwrap();
    let mut pty = on_terminal(&["device", "protect"]);
    answer(&mut pty, "Passphrase of ", "kunci rumah\n");
    answer(&mut pty, "New passphrase: ", "baru\n");
    answer(&mut pty, "The same again: ", "lain\n");
    assert_eq!(pty.exit_code(), Some(2));
    let mut pty = on_terminal(&["device"]);
    answer(&mut pty, "Passphrase of ", "kunci\x03");
    assert_eq!(pty.exit_code(), Some(1));
    assert_eq!(fs::read(key_of(&ani)).unwrap(), before, "nothing was changed");

    let mut pty = on_terminal(&["device", "unprotect"]);
    answer(&mut pty, "Passphrase of ", "salah\n");
    let first = pty.text().find("Passphrase of ").unwrap() + 1;
    let _ = pty.wait(first, "Passphrase of ");
    pty.write(b"x\x15kunci rumah\n");
    let _ = pty.wait(0, "protected  no");
}

#[test]
fn a_chat_asks_once_before_its_screen_opens() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let file = passphrase_file(&ani, PASSPHRASE);
    let _ = with_file(&ani, &file, &["device", "protect"]).expect_code(0);
    let mut pty = Pty::start(ani.command(&["chat", "everyone"]), SIZE);
    let _ = pty.wait(0, "Passphrase of ");
    pty.write(b"kunci rumah\n");
    let _ = pty.wait(0, "everyone");
    assert_eq!(pty.text().matches("Passphrase of ").count(), 1);
}
