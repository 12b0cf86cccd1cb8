//! The role `rx`: one member.

use std::{
    io::{self, BufRead as _},
    sync::mpsc,
    thread,
};

use anyhow::Context as _;
use gaung_net::driver::DriverHandle;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    arguments::Arguments,
    group, log_reader,
    member::{self, Command},
};

/// Speaks the lines of a receiver until `STOP`.
///
/// # Errors
/// What cannot be had, or went wrong.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // The sender is started once all receivers are ready: what they need of it comes later.
    println!("READY");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let data = TempDir::new()?;
    let member = join(arguments, &runtime, &data)?;
    let commands = member.sender();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let total = line.strip_prefix("TOTAL ").and_then(|total| total.trim().parse().ok());
            if let Some(total) = total {
                let _ = commands.send_blocking(Command::Total(total));
            }
            if line == "STOP" {
                break;
            }
        }
        let _ = ended.send(());
    });
    end.recv().context("stdin")?;
    let (reply, report) = mpsc::channel();
    member.sender().send_blocking(Command::Report(reply)).context("the member has ended")?;
    println!("RX {}", report.recv().context("the member has ended")?);
    // What a member does at its end is not measured.
    std::process::exit(0)
}

/// The member's thread runs, and a thread that reads the log for it.
fn join(arguments: &Arguments, runtime: &Runtime, data: &TempDir) -> anyhow::Result<DriverHandle<Command>> {
    let place = runtime.block_on(group::find(arguments.server, data.path()))?;
    let (member, wanted) = member::start(arguments, &place)?;
    let commands = member.sender();
    thread::Builder::new().name("log-reader".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = runtime
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(log_reader::serve(place, wanted, commands)));
        if let Err(error) = outcome {
            eprintln!("multicast_peer: {error:#}");
        }
    })?;
    Ok(member)
}
