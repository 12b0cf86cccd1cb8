//! `group-registry`: the registry as a program of its own.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use group_registry::RegistryArgs;
use service_kit::{config::CommonArgs, health_client, supervise, telemetry};
use tokio_util::sync::CancellationToken;

/// Knows which groups exist, on which multicast address, who may use them, and where relays and hubs are.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example: group-registry --data /var/lib/gaung/registry --iface eth0")]
struct Program {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Check the settings, say what is wrong with them, and end.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a running registry on this machine whether it serves; ends with 0 if it does.
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
            eprintln!("group-registry: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    if let Some(Command::Health) = program.command {
        let target = health_client::local_target(program.registry.grpc_listen);
        let report = runtime.block_on(health_client::check(&target.to_string(), HEALTH_DEADLINE));
        println!("{}", report.line);
        return Ok(report.exit_code());
    }
    let config = match program.registry.check(&program.common) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("group-registry: {errors}");
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
        group_registry::bind(config).await?.run(stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}
