//! Copying what is whole of a damaged log into a new folder. The old one is read and never written.
//!
//! Every frame says where it lies, so that what is whole behind a damage is found by its shape. A record is copied as it is,
//! byte by byte, so that its hash chain goes on in the copy. Where messages are missing a new file begins, for within one
//! file a group's messages are dense.

mod collect;
mod plan;
mod report;
mod source;
mod write;

use std::{io, path::Path};

pub use report::{Missing, SalvageError, Salvaged, SalvagedFile, SalvagedGroup};

use self::{collect::survey, plan::Plan, source::Source, write::NewLog};

/// Copies what is whole of the log in `from`, a folder or a single file, into the new folder `to`. Reads every file two or
/// three times; memory is some hundred bytes for each run of one file.
///
/// # Errors
/// [`SalvageError`]; damage is none.
pub fn salvage(from: &Path, to: &Path) -> Result<Salvaged, SalvageError> {
    let source = Source::open(from)?;
    refuse_full(to)?;
    let mut surveys = Vec::new();
    for (number, path) in &source.files {
        surveys.push(survey(*number, path)?.0);
    }
    let mut plan = Plan::new(&surveys);
    let mut copy = NewLog::new(to);
    let mut files = Vec::new();
    let copied = (|| {
        for known in &surveys {
            let (_, found) = survey(known.number, &known.path)?;
            files.push(found.report());
            for batch in plan.take(known, &found) {
                copy.batch(&known.path, &batch)?;
            }
        }
        plan.end();
        if plan.is_empty() {
            return Err(SalvageError::Nothing(from.to_owned()));
        }
        copy.finish(&plan)
    })();
    match copied {
        Ok(()) => Ok(Salvaged { groups: plan.into_report(), files }),
        Err(error) => {
            copy.give_up();
            Err(error)
        }
    }
}

fn refuse_full(to: &Path) -> Result<(), SalvageError> {
    match std::fs::read_dir(to).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SalvageError::NotEmpty(to.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(SalvageError::NotEmpty(to.to_owned())),
        Err(source) => Err(SalvageError::Io { path: to.to_owned(), source }),
    }
}
