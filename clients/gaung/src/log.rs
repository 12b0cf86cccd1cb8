//! `gaung log …`: works on the files of a log while no relay runs.

use gaung_client::ErrorKind;
use gaung_log::{Missing, SalvageError, SalvagedFile, SalvagedGroup, salvage};
use gaung_proto::pb::registry::Group;
use gaung_terminal::sanitise::one_line;
use prost::Message as _;
use serde::Serialize;

use crate::{
    cli::log::{LogCommand, SalvageArgs},
    failure::Failure,
    group::to_json,
    output::{Output, say},
};

/// Runs a command on a log.
///
/// # Errors
/// [`Failure`]: of usage if a path is wrong, not found if there is nothing to salvage, else failed.
pub(crate) fn run(command: LogCommand) -> anyhow::Result<()> {
    match command {
        LogCommand::Salvage(args) => run_salvage(&args),
    }
}

fn run_salvage(args: &SalvageArgs) -> anyhow::Result<()> {
    let salvaged = salvage(&args.from, &args.to).map_err(|error| Failure::new(kind(&error), error.to_string()))?;
    salvaged.files.iter().filter_map(file_line).for_each(|line| say(&line));
    let mut output = Output::new();
    for group in &salvaged.groups {
        if args.json {
            output.line(&to_json(&GroupObject::of(group)))?;
        } else {
            group_lines(group).iter().try_for_each(|line| output.line(line))?;
        }
    }
    output.flush()?;
    say(&format!(
        "{} holds the copy. To serve it, stop the relay, keep its old log folder elsewhere, and put this one in its place",
        args.to.display()
    ));
    Ok(())
}

const fn kind(error: &SalvageError) -> ErrorKind {
    match error {
        SalvageError::NotEmpty(_) => ErrorKind::Usage,
        SalvageError::NotThere(_) | SalvageError::NoLog { .. } | SalvageError::Nothing(_) => ErrorKind::NotFound,
        SalvageError::Folder(_) | SalvageError::NewerFormat { .. } | SalvageError::Io { .. } => ErrorKind::Failed,
    }
}

/// Returns a line about a damaged file; `None` if it is intact.
fn file_line(file: &SalvagedFile) -> Option<String> {
    let fault = file.fault.as_ref()?;
    let fault = one_line(fault);
    Some(match (file.read, file.found) {
        (0, 0) => format!("{}: nothing whole was found: {fault}", file.name),
        (0, found) => format!(
            "{}: the store cannot read it ({fault}); {found} whole runs were found in its bare bytes",
            file.name
        ),
        (read, found) => format!(
            "{}: the store reads part of it ({fault}): {read} runs, and {found} more in its bare bytes",
            file.name
        ),
    })
}

/// Returns the last name of a group that the relay knows, else its id.
fn name(group: &SalvagedGroup) -> String {
    let known = Group::decode(group.config.clone()).map(|known| known.name).unwrap_or_default();
    if known.is_empty() { group.group.to_string() } else { one_line(&known).into_owned() }
}

fn group_lines(group: &SalvagedGroup) -> Vec<String> {
    let mut lines = vec![format!("{}: {} messages in {} runs{}", name(group), group.messages, group.runs, span(group))];
    lines.extend(
        group
            .missing
            .iter()
            .map(|Missing { range, why }| format!("  missing {} to {}: {}", range.first, range.last, one_line(why))),
    );
    if !group.whole_to_end {
        lines.push(format!(
            "  nothing says whether messages came after {}: it can be read, and goes on after `gaung group reset`",
            group.head
        ));
    }
    if group.of_earlier_logs > 0 {
        lines.push(format!("  not copied: {} messages from before a reset", group.of_earlier_logs));
    }
    lines
}

fn span(group: &SalvagedGroup) -> String {
    group.first.map_or_else(String::new, |first| format!(", seq {first} to {}", group.head))
}

/// A salvaged group as a JSON object for scripts.
#[derive(Serialize)]
struct GroupObject {
    group: String,
    group_id: String,
    log_id: String,
    runs: u64,
    messages: u64,
    first: Option<u64>,
    head: u64,
    missing: Vec<MissingObject>,
    whole_to_end: bool,
    of_earlier_logs: u64,
}

#[derive(Serialize)]
struct MissingObject {
    first: u64,
    last: u64,
    why: String,
}

impl GroupObject {
    fn of(group: &SalvagedGroup) -> Self {
        let missing = group.missing.iter();
        Self {
            group: name(group),
            group_id: group.group.to_string(),
            log_id: group.log.to_string(),
            runs: group.runs,
            messages: group.messages,
            first: group.first.map(|seq| seq.0),
            head: group.head.0,
            missing: missing
                .map(|m| MissingObject { first: m.range.first.0, last: m.range.last.0, why: m.why.clone() })
                .collect(),
            whole_to_end: group.whole_to_end,
            of_earlier_logs: group.of_earlier_logs,
        }
    }
}
