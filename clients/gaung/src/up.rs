//! `gaung up`: runs registry, relay and hub in one process, which talk to each other by gRPC as separate processes do.

mod addresses;
mod services;

use std::{io::IsTerminal as _, pin::pin, time::Duration};

use anyhow::Context as _;
use service_kit::{data_folder, open_files, readiness::Readiness, secure::PlaintextPolicy, telemetry};
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{
    chat,
    cli::up::{LogKind, UpArgs},
    context::Context,
    output::{Output, on_terminal, say},
    stop,
};
use addresses::Addresses;
use services::Services;

/// How long a service may take to become ready before that is reported.
const READY_NOTICE: Duration = Duration::from_secs(5);

/// Runs the services until a signal comes or the chat ends, then drains.
///
/// # Errors
/// What cannot be bound or opened and which flag changes it; a service that failed.
pub(crate) async fn run(context: &Context, args: UpArgs) -> anyhow::Result<()> {
    let with_chat = !args.headless && !args.json && on_terminal() && std::io::stdin().is_terminal();
    let level = args.log_level.as_deref().unwrap_or(if with_chat { "error" } else { "info" });
    telemetry::init(args.log_format, level)?;
    open_files::raise_limit().context("raising the limit of open files")?;
    data_folder::keep_to_owner();
    let stop = stop::on_signals()?;
    if with_chat {
        stop::on_hangup(&stop, stop::TerminalUse::Interactive)?;
    }
    if args.plaintext == PlaintextPolicy::Any {
        say("connections without TLS are taken from everywhere: everyone on the network can read and change them");
    }
    if args.log == LogKind::Memory {
        say("messages are kept in memory only: they are not durable, and gone when this ends");
    }
    let services = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        bound = Services::bind(context, &args) => bound?,
    };
    if with_chat {
        // The chat hides the log, but a mistyped interface has to be seen.
        services.missing_interfaces().iter().for_each(|missing| say(&format!("{missing}; it is waited for")));
    }
    let addresses = services.addresses().clone();
    let readiness = services.readiness();
    let stop_services = CancellationToken::new();
    let mut serving = pin!(services.run(stop_services.clone(), args.drain));

    let used = async {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = all_ready(readiness) => {}
        }
        announce(&addresses, args.json)?;
        if with_chat {
            let context = Context { server: Some(addresses.registry_target()), ..context.clone() };
            return Box::pin(chat::in_everyone(&context, args.look, addresses.join_commands(), &stop))
                .await
                .context("the chat");
        }
        stop.cancelled().await;
        Ok(())
    };
    let used = tokio::select! {
        ended = &mut serving => return ended,
        used = used => used,
    };
    stop_services.cancel();
    serving.await.and(used)
}

async fn all_ready(services: Vec<(&'static str, Readiness)>) {
    for (name, readiness) in services {
        let mut wait = pin!(readiness.until_ready());
        if time::timeout(READY_NOTICE, &mut wait).await.is_err() {
            say(&format!("still waiting for {name}"));
            wait.await;
        }
    }
}

fn announce(addresses: &Addresses, as_json: bool) -> anyhow::Result<()> {
    let mut output = Output::new();
    if as_json {
        output.line(&addresses.json())?;
    } else {
        addresses.lines().iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()
}
