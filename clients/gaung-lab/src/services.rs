//! Starts `gaung` on a host as a person would.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, bail};
use nix::unistd::Pid;

use crate::network::Host;

/// A command that runs on a host. Its output goes to `HOST.log` in the lab's folder.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) line: String,
    pub(crate) child: Child,
}

impl Program {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The stream and the beginning of the line by which a program reports that it is ready.
pub(crate) enum Ready {
    Stdout(&'static str),
    Stderr(&'static str),
}

/// A program that may not be ready yet.
pub(crate) struct Starting {
    program: Program,
    host: String,
    log: PathBuf,
    begins: &'static str,
    told: BufReader<Box<dyn Read + Send>>,
}

/// Starts `gaung` with `args`.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn start(host: &Host, folder: &Path, args: &[&str], ready: Ready) -> anyhow::Result<Starting> {
    let name = host.machine.name();
    let mut command = gaung(host, folder, args)?;
    let log = folder.join(format!("{name}.log"));
    command.stdout(open(&log)?).stderr(open(&log)?);
    match ready {
        Ready::Stdout(_) => command.stdout(Stdio::piped()),
        Ready::Stderr(_) => command.stderr(Stdio::piped()),
    };
    let mut child = host.machine.spawn(command).with_context(|| format!("cannot start gaung on {name}"))?;
    let (begins, told): (_, Box<dyn Read + Send>) = match ready {
        Ready::Stdout(begins) => (begins, Box::new(child.stdout.take().context("its stdout is piped")?)),
        Ready::Stderr(begins) => (begins, Box::new(child.stderr.take().context("its stderr is piped")?)),
    };
    let program = Program { line: format!("gaung {}", args.join(" ")), child };
    Ok(Starting { program, host: name.to_owned(), log, begins, told: BufReader::new(told) })
}

impl Starting {
    /// Waits until the program reports that it is ready. Its output goes to its log from then on.
    ///
    /// # Errors
    /// If it ends before; with its log.
    pub(crate) fn until_ready(self) -> anyhow::Result<Program> {
        let Self { program, host, log, begins, mut told } = self;
        let mut log_file = open(&log)?;
        let mut line = String::new();
        while !line.starts_with(begins) {
            line.clear();
            if told.read_line(&mut line).unwrap_or(0) == 0 {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("gaung on {host} ended before it was ready: {}", said.trim());
            }
            let _ = log_file.write_all(line.as_bytes());
        }
        thread::spawn(move || std::io::copy(&mut told, &mut log_file));
        Ok(program)
    }
}

fn open(log: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    options.create(true).append(true).open(log).with_context(|| format!("cannot write {}", log.display()))
}

/// Prepares to start this program as a person on a host would, without output.
///
/// # Errors
/// If this program's file cannot be found.
pub(crate) fn gaung(host: &Host, folder: &Path, args: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe().context("cannot find this program's own file")?);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C of the terminal is not for them.
    command.envs(surroundings(host.machine.name(), folder)).process_group(0);
    Ok(command)
}

/// Returns the environment variables of a person on a host.
pub(crate) fn surroundings(host: &str, folder: &Path) -> [(&'static str, PathBuf); 4] {
    [
        ("GAUNG_SERVER", PathBuf::from("server")),
        ("GAUNG_NAME", PathBuf::from(host)),
        ("GAUNG_DATA", folder.join(host)),
        ("GAUNG_LAB_HOST", PathBuf::from(host)),
    ]
}
