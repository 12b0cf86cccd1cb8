//! The program: rounds of contests.

use anyhow::ensure;
use gaung_tests::load::{figure::Outcome, usage::allow_many_files};

use super::{
    arguments::Arguments,
    contest::{Contest, Entry},
    contests,
    report::Report,
};

/// Runs what is asked for; true if nothing was lost, repeated or out of order.
///
/// # Errors
/// No such contest, or a server cannot be measured.
pub fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let chosen = choose(&arguments.names)?;
    if arguments.list {
        chosen.iter().for_each(|contest| println!("{}", contest.describe()));
        return Ok(true);
    }
    allow_many_files()?;
    let report = Report::new(arguments.json);
    report.machine();
    let mut all_well = true;
    for mut contest in chosen {
        contest.entries.retain(|entry| is_here(entry, contest.name));
        if contest.entries.is_empty() {
            continue;
        }
        let medians = rounds(&contest, arguments, &report)?;
        report.contest(&contest, &medians);
        all_well &= medians.iter().all(|median| median.faults.is_empty());
    }
    Ok(all_well)
}

fn choose(names: &[String]) -> anyhow::Result<Vec<Contest>> {
    let all = contests::all();
    for name in names {
        ensure!(all.iter().any(|contest| contest.name.starts_with(name)), "no contest {name}; --list tells all");
    }
    let is_whole = |name: &str| all.iter().any(|contest| contest.name == name);
    let whole: Vec<_> = names.iter().filter(|name| is_whole(name)).cloned().collect();
    let is_chosen = |contest: &Contest| {
        let chooses = |name: &String| contest.name == name || !whole.contains(name) && contest.name.starts_with(name);
        names.is_empty() || names.iter().any(chooses)
    };
    Ok(all.into_iter().filter(is_chosen).collect())
}

fn is_here(entry: &Entry, contest: &str) -> bool {
    let Some(program) = entry.target.missing() else { return true };
    eprintln!("{contest}: without {}, {program} is not installed", entry.label);
    false
}

/// The medians, in the order of the entries.
fn rounds(contest: &Contest, arguments: &Arguments, report: &Report) -> anyhow::Result<Vec<Outcome>> {
    let mut runs = vec![Vec::new(); contest.entries.len()];
    for round in 1..=arguments.rounds {
        for (entry, runs) in contest.entries.iter().zip(&mut runs) {
            let outcome = entry.load.run(entry.target, arguments.secs)?;
            report.run(contest.name, entry.label, round, &outcome);
            runs.push(outcome);
        }
    }
    Ok(runs.iter().map(|runs| Outcome::median(runs)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Vec<&'static str> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        choose(&names).map(|chosen| chosen.iter().map(|contest| contest.name).collect()).unwrap_or_default()
    }

    #[test]
    fn a_whole_name_chooses_one_and_a_beginning_all() {
        assert_eq!(chosen(&["fan-out-64"]), ["fan-out-64"]);
        assert_eq!(chosen(&["durable", "groups"]), ["durable-1", "durable-64", "groups"]);
        assert_eq!(chosen(&[]).len(), contests::all().len());
        assert!(choose(&["nothing".to_owned()]).is_err());
    }
}
