//! The program `gaung`: parses the command line, runs one command, and returns its exit code.

mod chat;
mod cli;
mod context;
mod device;
mod doctor;
mod failure;
mod group;
mod history;
mod lab;
mod listen;
mod log;
mod output;
mod passphrase;
mod people;
mod render;
mod send;
mod shell;
mod sink;
mod site;
mod source;
mod status;
mod stdin_lines;
mod stop;
mod text;
mod up;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    context::Context,
    failure::{ExitWith, FaultsFound, StdoutClosed, exit_code, hint},
    output::say,
};

fn main() -> ExitCode {
    let outcome = run(Cli::parse());
    // Errors of writing to a terminal that is gone follow from that, and nobody could read them.
    if stop::terminal_is_gone() {
        return ExitCode::from(stop::HUNG_UP);
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<StdoutClosed>() => ExitCode::SUCCESS,
        Err(error) if error.is::<FaultsFound>() || error.is::<ExitWith>() => ExitCode::from(exit_code(&error)),
        Err(error) => {
            say(&format!("gaung: {error:#}{}", hint(&error)));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(Cli { common, command }: Cli) -> anyhow::Result<()> {
    // These need neither a network nor a data folder.
    if let Command::Completions(args) = &command {
        return shell::completions(args);
    }
    if let Command::Man(args) = &command {
        return shell::man(args);
    }
    if let Command::Log(command) = command {
        return log::run(command);
    }
    // It moves to other namespaces, which only a process with one thread can do.
    if let Command::Lab(command) = command {
        return lab::run(command);
    }
    let context = Context::new(common)?;
    let runtime = service_kit::runtime::build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(dispatch(&context, command));
    runtime.shutdown_background();
    outcome
}

async fn dispatch(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(args) => Box::pin(up::run(context, *args)).await,
        Command::Group(command) => group::run(context, command).await,
        Command::Send(args) => send::send(context, args).await,
        Command::Broadcast(args) => send::broadcast(context, args).await,
        Command::Listen(args) => listen::run(context, args).await,
        Command::Chat(args) => Box::pin(chat::run(context, args)).await,
        Command::Text(args) => text::run(args).await,
        Command::History(args) => history::run(context, args).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Site(args) => site::run(context, args).await,
        Command::Device(args) => device::run(context, args),
        Command::Doctor(args) => doctor::run(context, args).await,
        Command::Log(command) => log::run(command),
        Command::Lab(command) => lab::run(command),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    }
}
