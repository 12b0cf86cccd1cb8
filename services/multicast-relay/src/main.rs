//! `multicast-relay`: the relay as a program of its own.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use multicast_relay::RelayArgs;
use service_kit::{config::CommonArgs, health_client, supervise, telemetry};
use tokio_util::sync::CancellationToken;

/// Orders the messages of groups, keeps them, and sends each once by IP multicast.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example: multicast-relay --registry 192.168.1.10:7400 --data /var/lib/gaung/relay --iface eth0"
)]
struct Program {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    relay: RelayArgs,
    /// Check the settings, say what is wrong with them, and end.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a running relay on this machine whether it serves; ends with 0 if it does.
    Health,
}

const HEALTH_DEADLINE: Duration = Duration::from_secs(3);
/// As the command's exit codes have it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let program = Program::parse();
    match run(program) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("multicast-relay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    if let Some(Command::Health) = program.command {
        let target = health_client::local_target(program.relay.grpc_listen);
        let report = runtime.block_on(health_client::check(&target.to_string(), HEALTH_DEADLINE));
        println!("{}", report.line);
        return Ok(report.exit_code());
    }
    let config = match program.relay.check(&program.common) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("multicast-relay: {errors}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    if program.check_config {
        println!("the settings are good");
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init(program.common.log_format, &program.common.log_level)?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        supervise::stop_on_signals(stop.clone())?;
        multicast_relay::bind(config).await?.run(stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}
