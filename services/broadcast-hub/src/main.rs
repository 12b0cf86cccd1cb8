//! The program `broadcast-hub`: flags, logs, signals; everything else is in the library.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use broadcast_hub::{Config, HubArgs, bind};
use clap::{Parser, Subcommand};
use service_kit::{config::CommonArgs, health_client, supervise::stop_on_signals, telemetry};
use tokio_util::sync::CancellationToken;

/// Fans Gaung's messages out over TCP, to text sessions and by broadcast.
///
/// Example: broadcast-hub --registry 192.168.1.10:7400 --data /var/lib/gaung/hub
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    hub: HubArgs,
    /// Check the settings, bind nothing, and end.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a running hub for its health; exit code 0 if it serves. For container checks.
    Health {
        /// Its gRPC address; without it the one in the settings, on this machine.
        #[arg(long, value_name = "ADDR:PORT")]
        at: Option<SocketAddr>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let config = match args.hub.check(&args.common) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    if let Some(Command::Health { at }) = args.command {
        let target = at.unwrap_or_else(|| health_client::local_target(config.grpc_listen));
        let report = health_client::check(&target.to_string(), Duration::from_secs(3)).await;
        println!("{}", report.line);
        return report.exit_code();
    }
    if args.check_config {
        println!("the settings are good");
        return ExitCode::SUCCESS;
    }
    match serve(config, &args.common).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broadcast-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config, common: &CommonArgs) -> anyhow::Result<()> {
    telemetry::init(common.log_format, &common.log_level)?;
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    bind(config).await?.run(stop).await
}
