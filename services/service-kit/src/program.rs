//! A service as a program of its own: flags, `--check-config`, the `health` subcommand, logs, signals, exit codes.

use std::{ffi::OsString, future::Future, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{CommonArgs, ConfigErrors},
    data_folder, health_client, open_files, runtime, supervise, telemetry,
};

/// The flags of one service.
pub trait ServiceArgs: Args {
    /// The settings that the arguments become once checked.
    type Config;

    /// Its subcommands beside `health`; [`NoCommand`] for none.
    type Command: Subcommand;

    /// Executes a subcommand, which prints its result.
    ///
    /// # Errors
    /// Why it has none.
    fn execute(&self, command: Self::Command) -> impl Future<Output = anyhow::Result<()>>;

    /// Returns where the gRPC server listens, for the `health` subcommand.
    fn grpc_listen(&self) -> SocketAddr;

    /// Checks every flag.
    ///
    /// # Errors
    /// All faults together.
    fn check(self, common: &CommonArgs) -> Result<Self::Config, ConfigErrors>;
}

/// The subcommands of a service that has none of its own.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum NoCommand {}

/// Texts of `--help` and `--version`.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The program's name, as typed.
    pub name: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// The program's purpose, in one sentence.
    pub what: &'static str,
    /// A command line that works.
    pub example: &'static str,
}

#[derive(Debug, Parser)]
struct Program<A: ServiceArgs> {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    service: A,
    /// Check the settings, say what is wrong with them, and end.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<ProgramCommand<A::Command>>,
}

#[derive(Debug, Subcommand)]
enum ProgramCommand<C: Subcommand> {
    /// Ask a running one for its health; ends with 0 if it serves. For container checks.
    Health {
        /// Its gRPC address; without it the one in the settings, on this machine.
        #[arg(long, value_name = "ADDR:PORT")]
        at: Option<SocketAddr>,
    },
    #[command(flatten)]
    OfService(C),
}

/// Time that the `health` subcommand waits for an answer.
const HEALTH_DEADLINE: Duration = Duration::from_secs(3);
/// Exit code for wrong settings, the same as the `gaung` command's.
const USAGE: u8 = 2;

/// Reads the command line and does what it says: `serve` gets the checked configuration, and a token that SIGINT and
/// SIGTERM cancel. Exit codes: 0 ok, 1 failed, 2 wrong settings.
pub fn main<A, F>(about: About, serve: impl FnOnce(A::Config, CancellationToken) -> F) -> ExitCode
where
    A: ServiceArgs,
    F: Future<Output = anyhow::Result<()>>,
{
    let command = Program::<A>::command().name(about.name).version(about.version).about(about.what);
    let matches = command.after_help(format!("Example: {}", about.example)).get_matches();
    let program = Program::<A>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    run(program, serve).unwrap_or_else(|error| {
        eprintln!("{}: {error:#}", about.name);
        ExitCode::from(if error.is::<ConfigErrors>() { USAGE } else { 1 })
    })
}

fn run<A, F>(program: Program<A>, serve: impl FnOnce(A::Config, CancellationToken) -> F) -> anyhow::Result<ExitCode>
where
    A: ServiceArgs,
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = runtime::build().context("starting the runtime")?;
    match program.command {
        Some(ProgramCommand::Health { at }) => {
            let target = at.unwrap_or_else(|| health_client::local_target(program.service.grpc_listen()));
            let report = runtime.block_on(health_client::check(&target.to_string(), HEALTH_DEADLINE));
            println!("{}", report.line);
            return Ok(report.exit_code());
        }
        Some(ProgramCommand::OfService(command)) => {
            runtime.block_on(program.service.execute(command))?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let config = program.service.check(&program.common)?;
    if program.check_config {
        println!("the settings are good");
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init(program.common.log_format, &program.common.log_level)?;
    open_files::raise_limit().context("raising the limit of open files")?;
    data_folder::keep_to_owner();
    runtime.block_on(async {
        let stop = CancellationToken::new();
        supervise::stop_on_signals(stop.clone())?;
        serve(config, stop).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the configuration that `flags` make, for tests.
///
/// # Errors
/// What the program would print.
pub fn configuration<A: ServiceArgs>(flags: &[impl Into<OsString> + Clone]) -> Result<A::Config, String> {
    let line = [OsString::from("service")].into_iter().chain(flags.iter().cloned().map(Into::into));
    let program = Program::<A>::try_parse_from(line).map_err(|error| error.to_string())?;
    program.service.check(&program.common).map_err(|error| error.to_string())
}

/// Translates the `GAUNG_*` settings of an environment file, commented ones too, to flags, so that tests can check a shipped
/// example. Switches are left out, because their value says whether they are given.
///
/// # Errors
/// Names a variable that is no setting.
pub fn flags_of_env_file<A: ServiceArgs>(file: &str) -> Result<Vec<String>, String> {
    let command = Program::<A>::command();
    let mut flags = Vec::new();
    for line in file.lines().map(|line| line.trim_start_matches('#')) {
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| name.starts_with("GAUNG_")) else { continue };
        let of_name = |arg: &&clap::Arg| arg.get_env().is_some_and(|env| env == name);
        let arg = command.get_arguments().find(of_name).ok_or_else(|| format!("{name} is no setting"))?;
        if arg.get_action().takes_values() {
            flags.extend([format!("--{}", arg.get_long().unwrap_or_default()), value.to_owned()]);
        }
    }
    Ok(flags)
}
