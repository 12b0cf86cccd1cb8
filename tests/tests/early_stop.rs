//! `gaung up` that is told to stop before it has said that it is ready.
#![allow(missing_docs)]

use std::process::Command;

use gaung_tests::{deployment::Up, process::Process, programs::program};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Lines of its log on the way there, each of another part.
const ON_THE_WAY: [&str; 4] = ["registry opened", "budget of the log", "hub serves", "opening stored groups"];

#[test]
fn a_stop_before_it_is_ready_ends_it_at_once_and_does_its_folder_no_harm() {
    let data = TempDir::new().expect("a temporary folder");
    for stage in ON_THE_WAY {
        let mut command = Command::new(program("gaung"));
        // Whoever waited for the end of draining would be waited for longer than a test has patience.
        command.args([
            "up",
            "--json",
            "--listen",
            "127.0.0.1",
            "--iface",
            "lo",
            "--log-level",
            "info",
            "--drain",
            "5m",
        ]);
        for port in Up::PORT_FLAGS {
            command.args([port, "0"]);
        }
        command.arg("--data").arg(data.path());
        let process = Process::spawn(command);
        process.stderr_line(stage, |line| line.contains(stage));
        process.signal(Signal::SIGTERM);
        let _ended = process.end().expect_code(0);
    }
    let up = Up::start_in(data, &[]);
    let ani = up.person("ani");
    assert_eq!(ani.out(&["send", "everyone", "halo"]), ["1"]);
}
