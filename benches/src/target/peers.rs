//! What people would take instead, set up so that nobody is slowed or dropped by a default that another server lacks.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use gaung_tests::{
    load::{dialect::Dialect, server::Server},
    process::Process,
};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use super::in_path;
use crate::dialect::{Mqtt, Nats, Redis};

/// How long a peer may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(10);

pub(super) fn nats(durable: bool) -> anyhow::Result<Server> {
    let (folder, port) = (TempDir::new()?, free_port()?);
    let mut config = format!("listen: \"127.0.0.1:{port}\"\n");
    if durable {
        let store = folder.path().join("store");
        config += &format!("jetstream {{ store_dir: \"{}\", sync_interval: always }}\n", store.display());
    }
    let file = folder.path().join("nats.conf");
    fs::write(&file, config)?;
    let mut command = command("nats-server")?;
    command.arg("-c").arg(file);
    let server = listening(command, folder, port, Nats { acknowledged: durable })?;
    if durable {
        make_stream(server.address)?;
    }
    Ok(server)
}

pub(super) fn redis(durable: bool) -> anyhow::Result<Server> {
    let (folder, port) = (TempDir::new()?, free_port()?);
    let mut command = command("redis-server")?;
    command.args(["--bind", "127.0.0.1", "--daemonize", "no", "--save", "", "--port", &port.to_string(), "--dir"]);
    command.arg(folder.path());
    // Which is about addresses of loopback that are not 127.0.0.1, too.
    command.args(["--protected-mode", "no", "--maxclients", "15000"]);
    command.args(match durable {
        true => ["--appendonly", "yes", "--appendfsync", "always"].as_slice(),
        false => &["--appendonly", "no"],
    });
    listening(command, folder, port, Redis { kept: durable })
}

pub(super) fn mosquitto() -> anyhow::Result<Server> {
    let (folder, port) = (TempDir::new()?, free_port()?);
    // Started by root it would become a user who cannot read the folder.
    let user = User::from_uid(Uid::effective())?.context("this user has no name")?.name;
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
         max_queued_messages 0\nlog_dest none\nuser {user}\n"
    );
    let file = folder.path().join("mosquitto.conf");
    fs::write(&file, config)?;
    let mut command = command("mosquitto")?;
    command.arg("-c").arg(file);
    listening(command, folder, port, Mqtt)
}

fn command(program: &str) -> anyhow::Result<Command> {
    Ok(Command::new(in_path(program).with_context(|| format!("{program} is not installed"))?))
}

/// A port that was free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn listening(command: Command, folder: TempDir, port: u16, dialect: impl Dialect + 'static) -> anyhow::Result<Server> {
    let process = Process::spawn(command);
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(begun.elapsed() < PATIENCE, "it does not listen: {}", process.stderr_so_far().join("\n"));
        thread::sleep(LOOK);
    }
    let processes = vec![process.pid()];
    // The process goes before its folder.
    Ok(Server { address, dialect: Arc::new(dialect), tls: None, processes, running: Box::new((process, folder)) })
}

/// A stream that keeps the messages of group 0 in a file.
fn make_stream(address: SocketAddr) -> anyhow::Result<()> {
    let wish = r#"{"name":"kept","subjects":["g0"],"storage":"file"}"#;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let hello = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB made 1\r\n";
    write!(stream, "{hello}PUB $JS.API.STREAM.CREATE.kept made {}\r\n{wish}\r\n", wish.len())?;
    let (mut said, mut part) = (String::new(), [0; 4096]);
    while !said.contains("MSG made") || !said.ends_with("}\r\n") {
        let read = stream.read(&mut part).context("JetStream does not answer")?;
        ensure!(read > 0, "NATS ends the connection: {said}");
        said.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    ensure!(!said.contains("\"error\":"), "JetStream makes no stream: {said}");
    Ok(())
}
