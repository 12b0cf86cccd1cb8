//! Builds a network for the experiments alone, runs them, and writes their results.

use std::{
    fmt::{self, Write as _},
    fs,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
    },
    unistd::Pid,
};

use crate::{
    capture::{self, FrameCounts},
    experiment::{self, Bench, RunSize, Stopped},
    isolation,
    machine::MachineInfo,
    mounts,
    network::Network,
    report::{self, Run},
    rights::Rights,
    running::{InnerFolder, remove_empty_folders},
    samples::{Experiment, Metric, Samples, Series},
    task::{MeasureOutput, MeasurePlan, Task},
    words::Language,
};

/// Builds a network, measures in it, and writes the results; returns the exit code.
///
/// The calling process must have one thread.
///
/// # Errors
/// [`crate::Refusal`] where the system gives no namespaces.
pub fn run(plan: MeasurePlan) -> anyhow::Result<u8> {
    let folder = InnerFolder::hold()?;
    let rights = isolation::isolate()?;
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD].into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block().context("cannot hold signals back")?;
    let mut first = isolation::command(&Task::Measure(plan, rights))?.spawn().context("cannot start the lab")?;
    let pid = Pid::from_raw(first.id().cast_signed());
    let status = loop {
        if let Some(status) = first.try_wait().context("cannot wait for the lab")? {
            break status;
        }
        // A terminal's Ctrl-C reaches the lab by itself.
        if signals.wait().context("cannot wait for signals")? == Signal::SIGTERM {
            let _ = kill(pid, Signal::SIGTERM);
        }
    };
    mounts::remove_memory_folder(&folder.path);
    drop(folder);
    remove_empty_folders();
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Outcome {
    /// The table.
    samples: Samples,
    /// A person stopped it.
    stopped: bool,
    /// Experiments that failed, and why.
    failures: Vec<(Experiment, String)>,
}

/// Runs the first process of the namespaces: measures, and writes the results.
///
/// # Errors
/// If the network cannot be built; if an experiment failed, after the results are written.
pub(crate) fn measure(plan: &MeasurePlan, rights: Rights) -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot bind the lab to its command")?;
    let stop = stop_on_signals()?;
    rights.missing().into_iter().for_each(say);
    let inner = InnerFolder::hold()?;
    let folder = inner.path.clone();
    mounts::make_private()?;
    mounts::memory_folder(&folder)?;
    let size = if plan.quick { RunSize::QUICK } else { RunSize::FULL };
    let experiments: Vec<Experiment> =
        plan.experiments.iter().map(|name| name.parse().map_err(anyhow::Error::msg)).collect::<anyhow::Result<_>>()?;
    let network = Network::build(size.members(), &folder)?;
    mounts::show_own(&folder.join("hosts"));
    let steps = experiments.iter().map(|experiment| experiment::steps(*experiment, &size)).sum();
    let mut bench = Bench::new(network, folder, size, steps, stop);
    let outcome = all(&mut bench, &experiments);
    match &plan.output {
        MeasureOutput::Table { csv } => tell(csv.as_deref(), &outcome)?,
        MeasureOutput::Report { folder, language } => {
            report(&mut bench, plan.quick, rights, &outcome, (folder, *language))?
        }
    }
    if outcome.stopped {
        say(Stopped);
    }
    for (experiment, why) in &outcome.failures {
        say(format_args!("{} failed: {why}", experiment.name()));
    }
    anyhow::ensure!(outcome.failures.is_empty(), "not all experiments could be made");
    Ok(())
}

/// Writes the report, with a capture unless a person stopped the run.
fn report(
    bench: &mut Bench,
    quick: bool,
    rights: Rights,
    outcome: &Outcome,
    (folder, language): (&Path, Language),
) -> anyhow::Result<()> {
    let frames = if outcome.stopped { None } else { Some(experiment::showcase::run(bench)?) };
    if let Some(frames) = &frames {
        report::write_capture(folder, &capture::to_pcap(frames))?;
    }
    let failures = outcome.failures.iter().map(|(experiment, why)| (experiment.name().to_owned(), why.clone()));
    let run = Run {
        machine: MachineInfo::look(rights),
        quick,
        stopped: outcome.stopped,
        failures: failures.collect(),
        capture: frames.as_deref().map(FrameCounts::of),
    };
    let page = report::write(folder, &run, &outcome.samples, language)?;
    writeln!(io::stdout(), "{}", page.display()).context("cannot write to stdout")
}

/// Runs one experiment after the other, until a person stops one.
fn all(bench: &mut Bench, experiments: &[Experiment]) -> Outcome {
    let mut outcome = Outcome::default();
    for &experiment in experiments {
        match experiment::run(bench, experiment) {
            Ok(()) => {}
            Err(error) if error.is::<Stopped>() => {
                outcome.stopped = true;
                break;
            }
            Err(error) => outcome.failures.push((experiment, format!("{error:#}"))),
        }
    }
    bench.finish();
    outcome.samples = std::mem::take(&mut bench.samples);
    outcome
}

fn tell(csv: Option<&Path>, outcome: &Outcome) -> anyhow::Result<()> {
    print!("{}", table(&outcome.samples));
    if let Some(path) = csv {
        fs::write(path, outcome.samples.to_csv()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Formats medians and quartiles as a table.
fn table(samples: &Samples) -> String {
    let mut text = format!(
        "{:12} {:10} {:>4} {:26} {:>12} {:>12} {:>12} {:>3}\n",
        "EXPERIMENT", "SERIES", "X", "METRIC", "MEDIAN", "QUARTER", "3 QUARTERS", "N"
    );
    for &experiment in Experiment::ALL {
        for &metric in Metric::ALL {
            for &series in Series::ALL {
                for x in samples.xs(experiment, series, metric) {
                    let Some(spread) = samples.spread(experiment, series, metric, x) else { continue };
                    let (experiment, series, metric) = (experiment.name(), series.name(), metric.name());
                    let (median, lower, upper, count) = (spread.median, spread.lower, spread.upper, spread.count);
                    let _ = writeln!(
                        text,
                        "{experiment:12} {series:10} {x:4} {metric:26} {median:12.2} {lower:12.2} {upper:12.2} {count:3}"
                    );
                }
            }
        }
    }
    text
}

/// Returns a flag that the first SIGINT or SIGTERM sets; the second one exits at once.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let mut signals = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM].into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block().context("cannot hold signals back")?;
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let watch = move || -> Result<(), Errno> {
        loop {
            let _ = signals.wait()?;
            if raised.swap(true, Ordering::AcqRel) {
                process::exit(130);
            }
            say("\nstopping after this measurement; once more ends at once");
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch).context("cannot start a thread")?;
    Ok(stop)
}

/// Writes a line to stderr. A failure is ignored: a report is worth writing even if the terminal is gone.
fn say(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
