//! `gaung lab …`: runs the commands of the lab, and prints their results.

use anyhow::Context as _;
use gaung_lab::{
    LabPlan, MeasureOutput, MeasurePlan, Running, RunningHost, measure, network::Delay, samples::Experiment, shell,
    status, up,
};
use gaung_terminal::table::table;

use crate::{
    cli::lab::{
        Chosen, LabCommand, LabExperimentArgs, LabNameArgs, LabReportArgs, LabShellArgs, LabStatusArgs, LabUpArgs,
    },
    failure::ExitWith,
    group::to_json,
    output::{Output, say},
};

/// Runs a command of the lab. The process must have one thread, since it may move to other namespaces.
///
/// # Errors
/// [`gaung_lab::Refusal`] with what to do, or what failed.
pub(crate) fn run(command: LabCommand) -> anyhow::Result<()> {
    match command {
        LabCommand::Up(args) => up(args),
        LabCommand::Down(args) => down(&args),
        LabCommand::Status(args) => show(&args),
        LabCommand::Shell(args) => enter(&args),
        LabCommand::Experiment(args) => experiment(args),
        LabCommand::Report(args) => report(args),
        LabCommand::Inside(args) => gaung_lab::inside(&args.task),
    }
}

fn up(args: LabUpArgs) -> anyhow::Result<()> {
    let plan = LabPlan {
        name: args.which.lab,
        members: args.members,
        loss: args.loss,
        delay: Delay(args.delay),
        querier: args.querier,
    };
    let running = up::up(plan)?;
    let mut output = Output::new();
    let rows: Vec<_> = running.hosts.iter().map(|host| [host.name.clone(), host.ip.to_string(), runs(host)]).collect();
    table(["HOST", "ADDRESS", "RUNS"], &rows).iter().try_for_each(|line| output.line(line))?;
    output.flush()?;
    say(&format!(
        "lab {} is up. Try: gaung lab shell m1 gaung send {} Halo semua; gaung lab shell m1; gaung lab down",
        running.name, running.group
    ));
    running.remarks().iter().for_each(|remark| say(remark));
    Ok(())
}

fn down(args: &LabNameArgs) -> anyhow::Result<()> {
    let running = Running::find(&args.lab)?;
    up::down(&running)?;
    say(&format!("lab {} is down", running.name));
    Ok(())
}

fn show(args: &LabStatusArgs) -> anyhow::Result<()> {
    let all = Running::all()?;
    let mut output = Output::new();
    if all.is_empty() && !args.json {
        say("no lab of this user is up; `gaung lab up` makes one");
    }
    for running in &all {
        if args.json {
            output.line(&to_json(running))?;
            continue;
        }
        output.line(&headline(running))?;
        hosts(running).iter().try_for_each(|line| output.line(line))?;
        running.remarks().iter().for_each(|remark| say(remark));
    }
    output.flush()
}

fn headline(running: &Running) -> String {
    let querier = if running.querier { "on" } else { "off" };
    let loss = f64::from(running.loss.permille) / 10.0;
    let delay = running.delay.0.as_millis();
    format!("lab {}: group {}, querier {querier}, loss {loss}%, delay {delay} ms", running.name, running.group)
}

fn hosts(running: &Running) -> Vec<String> {
    let rows: Vec<_> = running.hosts.iter().map(row).collect();
    table(["HOST", "ADDRESS", "FRAMES SENT", "RECEIVED", "RUNS"], &rows)
}

fn row(host: &RunningHost) -> [String; 5] {
    let frames = status::counters(host);
    let number = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let (sent, received) = (frames.map(|frames| frames.sent_frames), frames.map(|frames| frames.received_frames));
    [host.name.clone(), host.ip.to_string(), number(sent), number(received), runs(host)]
}

fn runs(host: &RunningHost) -> String {
    match (host.runs.as_str(), host.alive) {
        ("", _) => "-".to_owned(),
        (line, true) => line.to_owned(),
        (line, false) => format!("{line} (has ended)"),
    }
}

fn enter(args: &LabShellArgs) -> anyhow::Result<()> {
    let running = Running::find(&args.which.lab)?;
    ended(shell::run(&running, &args.host, &args.words)?)
}

fn experiment(args: LabExperimentArgs) -> anyhow::Result<()> {
    let chosen = match args.experiment {
        Chosen::All => Experiment::ALL.to_vec(),
        Chosen::One(experiment) => vec![experiment],
    };
    let output = MeasureOutput::Table { csv: args.csv };
    ended(measure::run(MeasurePlan { experiments: names(&chosen), quick: args.quick, output })?)
}

fn report(args: LabReportArgs) -> anyhow::Result<()> {
    if let Some(from) = args.from {
        let page = gaung_lab::report::rewrite(&from, &args.out, args.lang)?;
        let mut output = Output::new();
        output.line(&page.display().to_string())?;
        return output.flush();
    }
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}; choose another with --out", args.out.display()))?;
    let output = MeasureOutput::Report { folder: args.out, language: args.lang };
    ended(measure::run(MeasurePlan { experiments: names(Experiment::ALL), quick: args.quick, output })?)
}

fn names(experiments: &[Experiment]) -> Vec<String> {
    experiments.iter().map(|experiment| experiment.name().to_owned()).collect()
}

fn ended(code: u8) -> anyhow::Result<()> {
    if code == 0 { Ok(()) } else { Err(ExitWith(code).into()) }
}
