//! Running services, and the commands of people who use them.

use std::{net::SocketAddr, path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    process::{Ended, Process},
    programs::program,
    terminal::Terminal,
};

/// `gaung up --headless` on free ports of this machine, multicast over loopback, its data in a folder of its own.
#[derive(Debug)]
pub struct Up {
    process: Process,
    ready: serde_json::Value,
    data: TempDir,
}

impl Up {
    /// The flags of its ports; each takes 0 for a free one.
    pub const PORT_FLAGS: [&str; 12] = [
        "--registry-port",
        "--relay-port",
        "--relay-udp-port",
        "--hub-port",
        "--hub-tcp-port",
        "--text-port",
        "--page-port",
        "--broadcast-port",
        "--discovery-port",
        "--registry-metrics-port",
        "--relay-metrics-port",
        "--hub-metrics-port",
    ];

    /// Starts with more flags and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start(flags: &[&str]) -> Self {
        Self::start_in(TempDir::new().expect("a temporary folder"), flags)
    }

    /// The same over a data folder that may have been used before.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start_in(data: TempDir, flags: &[&str]) -> Self {
        Self::start_by(Command::new(program("gaung")), data, flags, Process::spawn)
    }

    /// The same with a stderr that nobody reads any more.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start_unheard(flags: &[&str]) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        Self::start_by(Command::new(program("gaung")), data, flags, Process::spawn_unheard)
    }

    /// The same as a shell starts it in which `ulimit -Sn` says `open_files`.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn start_with_few_files(open_files: u64, flags: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -Sn {open_files} && exec \"$0\" \"$@\"")]).arg(program("gaung"));
        Self::start_by(command, TempDir::new().expect("a temporary folder"), flags, Process::spawn)
    }

    fn start_by(mut command: Command, data: TempDir, flags: &[&str], spawn: impl FnOnce(Command) -> Process) -> Self {
        command.args(["up", "--json", "--listen", "127.0.0.1", "--iface", "lo", "--log-level", "info"]);
        for port in Self::PORT_FLAGS {
            if !flags.contains(&port) {
                command.args([port, "0"]);
            }
        }
        command.arg("--data").arg(data.path()).args(flags);
        let process = spawn(command);
        let line = process.stdout_line("ready line", |line| line.starts_with('{'));
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("ready line {line}: {error}"));
        Self { process, ready, data }
    }

    /// The registry as `HOST:PORT`, good for `--server`.
    ///
    /// # Panics
    /// If the ready line has none.
    #[must_use]
    pub fn server(&self) -> String {
        self.address("registry").to_string()
    }

    /// A bound address of the ready line, such as `text`.
    ///
    /// # Panics
    /// If the ready line has none of that name.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        let text = self.ready[name].as_str().unwrap_or_else(|| panic!("no address {name} in {}", self.ready));
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// A bound port of the ready line, such as `discovery_port`.
    ///
    /// # Panics
    /// If the ready line has none of that name.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        let port = self.ready[name].as_u64().unwrap_or_else(|| panic!("no port {name} in {}", self.ready));
        u16::try_from(port).expect("a port")
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// A person at a terminal of this machine.
    ///
    /// # Panics
    /// If no folder can be made for it.
    #[must_use]
    pub fn person(&self, name: &str) -> Person {
        Person::at(&self.server(), name)
    }

    /// The running process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Asks it to end, and gives how it ended and its data folder.
    ///
    /// # Panics
    /// If it does not end in time.
    #[must_use]
    pub fn stop(self) -> (Ended, TempDir) {
        self.process.signal(nix::sys::signal::Signal::SIGTERM);
        (self.process.end(), self.data)
    }

    /// Ends it without warning, and gives its data folder.
    #[must_use]
    pub fn kill(mut self) -> TempDir {
        self.process.kill();
        self.data
    }
}

/// Somebody with a device of their own who types `gaung` commands.
#[derive(Debug)]
pub struct Person {
    server: String,
    name: String,
    home: TempDir,
}

impl Person {
    /// `server` as `--server` takes it.
    ///
    /// # Panics
    /// If no folder can be made.
    #[must_use]
    pub fn at(server: &str, name: &str) -> Self {
        Self { server: server.to_owned(), name: name.to_owned(), home: TempDir::new().expect("a temporary folder") }
    }

    /// The folder of this person's device.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts `gaung ARGS`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Process {
        Process::spawn(self.command(args))
    }

    /// `gaung ARGS`, not started yet.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("gaung"));
        command.args(args).env("GAUNG_SERVER", &self.server).env("GAUNG_NAME", &self.name);
        command.env("GAUNG_DATA", self.home.path()).env("XDG_STATE_HOME", self.home.path());
        command.env("GAUNG_IFACE", "lo").env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
        command
    }

    /// Starts `gaung ARGS` on a terminal of so many columns and rows, and keeps what it remembers in this person's folder.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn on_terminal(&self, args: &[&str], size: (u16, u16)) -> Terminal {
        self.on_terminal_with(args, size, &[])
    }

    /// The same with more variables.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn on_terminal_with(&self, args: &[&str], size: (u16, u16), more: &[(&str, &str)]) -> Terminal {
        let home = self.home.path().to_str().expect("temporary folders have plain names");
        let vars = [
            ("GAUNG_SERVER", self.server.as_str()),
            ("GAUNG_NAME", &self.name),
            ("GAUNG_DATA", home),
            ("XDG_STATE_HOME", home),
            ("GAUNG_IFACE", "lo"),
            ("LC_ALL", "C.UTF-8"),
        ];
        Terminal::start(&program("gaung"), args, &[&vars, more].concat(), size)
    }

    /// Runs `gaung ARGS` to its end.
    ///
    /// # Panics
    /// If it does not end in time.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    /// Runs `gaung ARGS`, which must end with 0; gives its stdout lines.
    ///
    /// # Panics
    /// If it ends otherwise.
    #[must_use]
    pub fn out(&self, args: &[&str]) -> Vec<String> {
        self.run(args).expect_code(0).stdout
    }

    /// Runs `gaung ARGS` with `input` as its stdin.
    ///
    /// # Panics
    /// If it does not end in time.
    #[must_use]
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Ended {
        let mut process = self.start(args);
        process.write(input);
        process.end()
    }

    /// Starts a listener and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn listen(&self, args: &[&str]) -> Process {
        let process = self.start(&[&["listen"], args].concat());
        let _ = process.stderr_line("ready line", |line| line.contains("listening to"));
        process
    }
}
