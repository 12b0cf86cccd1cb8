//! The files that were converted, kept while there is room.

use std::io;

use crate::volume::Volume;

const KEPT: &str = ".redb.converted";
pub(super) const KEPT_JOURNAL: &str = "journal.converted";

pub(super) fn kept_name(number: u64) -> String {
    format!("log-{number:010}{KEPT}")
}

fn copies(volume: &dyn Volume) -> io::Result<Vec<String>> {
    Ok(volume
        .names()?
        .into_iter()
        .filter(|name| name == KEPT_JOURNAL || name.starts_with("log-") && name.ends_with(KEPT))
        .collect())
}

/// Bytes of the files that were converted and are kept.
pub(crate) fn bytes_of_copies(volume: &dyn Volume) -> u64 {
    let names = copies(volume).unwrap_or_default();
    names.iter().map(|name| volume.len(name).unwrap_or(0)).sum()
}

/// Removes the files that were converted and are kept; gives how many.
pub(crate) fn remove_copies(volume: &dyn Volume) -> io::Result<usize> {
    let names = copies(volume)?;
    names.iter().try_for_each(|name| volume.remove(name))?;
    if !names.is_empty() {
        volume.sync_names()?;
    }
    Ok(names.len())
}
