//! Tables for people, JSON lines for programs.

use std::{collections::BTreeSet, fs, thread};

use gaung_tests::{
    load::figure::{Figure, Outcome},
    programs::VERSION,
};
use serde_json::json;

use super::{
    contest::{Bar, Bound, Contest},
    target::version,
};

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    json: bool,
}

impl Report {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// What everything ran on.
    pub(super) fn machine(self) {
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let model = cpu_model().unwrap_or_else(|| "unknown processor".to_owned());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let versions: Vec<_> = ["nats-server", "redis-server", "mosquitto"].into_iter().filter_map(version).collect();
        let gaung = VERSION;
        if self.json {
            let machine =
                json!({"cores": cores, "processor": model, "kernel": kernel, "gaung": gaung, "peers": versions});
            println!("{}", json!({ "machine": machine }));
        } else {
            println!("{cores} cores, {model}, Linux {kernel}");
            println!("gaung {gaung}; {}", versions.join("; "));
        }
    }

    /// One run.
    pub(super) fn run(self, contest: &str, label: &str, round: u32, outcome: &Outcome) {
        if self.json {
            println!("{}", json!({"run": outcome.to_json(), "contest": contest, "entry": label, "round": round}));
        } else if !outcome.faults.is_empty() {
            eprintln!("{contest}, {label}, round {round}: {}", outcome.faults.join("; "));
        }
    }

    /// The medians of a contest's entries, and what must come out.
    pub(super) fn contest(self, contest: &Contest, medians: &[Outcome]) {
        if self.json {
            for (entry, median) in contest.entries.iter().zip(medians) {
                println!("{}", json!({"median": median.to_json(), "contest": contest.name, "entry": entry.label}));
            }
        } else {
            println!("\n{}\n{}", contest.name, table(contest, medians));
        }
        for bar in &contest.bars {
            let Some((ratio, best)) = contest.ratio(bar, medians) else { continue };
            if self.json {
                let against = json!({"contest": contest.name, "figure": bar.figure.name(), "of": bar.of, "to": best,
                    "ratio": ratio, "bar": bar.bound.words(), "met": bar.bound.is_met(ratio)});
                println!("{}", json!({ "comparison": against }));
            } else {
                let verdict = match bar.bound.is_met(ratio) {
                    Some(true) => format!(" ({}: met)", bar.bound.words()),
                    Some(false) => format!(" ({}: NOT MET)", bar.bound.words()),
                    None => String::new(),
                };
                let to = best.map(|best| format!(" to {best}")).unwrap_or_default();
                println!("  {}, {}{to}: {ratio:.2}{verdict}", bar.figure.title(), bar.of);
            }
        }
    }
}

impl Contest {
    /// For `--list`.
    pub(super) fn describe(&self) -> String {
        let labels: Vec<_> = self.entries.iter().map(|entry| entry.label).collect();
        let bars: Vec<_> = self.bars.iter().filter(|bar| bar.bound != Bound::Told).map(Bar::describe).collect();
        format!("{:26} {}\n{:26}   {}", self.name, labels.join(", "), "", bars.join("; "))
    }

    /// The figure of the bar's entry by the best of the others that were there, and which that was; or by itself.
    fn ratio(&self, bar: &Bar, medians: &[Outcome]) -> Option<(f64, Option<&'static str>)> {
        // Nothing can be held against nothing.
        let value = |label: &str| {
            let place = self.entries.iter().position(|entry| entry.label == label)?;
            medians[place].figures.get(&bar.figure).copied().filter(|value| *value > 0.0)
        };
        if bar.against.is_empty() {
            return Some((value(bar.of)?, None));
        }
        let others = bar.against.iter().filter_map(|label| Some((value(label)?, *label)));
        let (best, label) = match bar.figure.more_is_better() {
            true => others.max_by(|a, b| a.0.total_cmp(&b.0)),
            false => others.min_by(|a, b| a.0.total_cmp(&b.0)),
        }?;
        Some((value(bar.of)? / best, Some(label)))
    }
}

impl Bar {
    fn describe(&self) -> String {
        let to = if self.against.is_empty() { String::new() } else { format!(" to {}", self.against.join(" or ")) };
        format!("{}{to}: {}", self.figure.title(), self.bound.words())
    }
}

impl Bound {
    fn words(self) -> String {
        match self {
            Self::AtLeast(least) => format!("at least {least}"),
            Self::AtMost(most) => format!("at most {most}"),
            Self::Told => "told".to_owned(),
        }
    }

    fn is_met(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(ratio >= least),
            Self::AtMost(most) => Some(ratio <= most),
            Self::Told => None,
        }
    }
}

fn table(contest: &Contest, medians: &[Outcome]) -> String {
    let figures: BTreeSet<Figure> = medians.iter().flat_map(|median| median.figures.keys().copied()).collect();
    let mut lines = vec![format!("  {:12}", "")];
    for figure in &figures {
        lines[0] += &format!(" {:>15}", figure.title());
    }
    for (entry, median) in contest.entries.iter().zip(medians) {
        let mut line = format!("  {:12}", entry.label);
        for figure in &figures {
            let shown = median.figures.get(figure).map_or_else(|| "-".to_owned(), |value| shown(*value));
            line += &format!(" {shown:>15}");
        }
        if !median.faults.is_empty() {
            line += &format!("   FAULTS: {}", median.faults.len());
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// About three digits.
fn shown(value: f64) -> String {
    match value.abs() {
        1e6.. => format!("{:.2} M", value / 1e6),
        1e4.. => format!("{:.0} k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
