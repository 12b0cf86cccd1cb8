//! The hub's id: 128 random bits, stored in its data folder if it has one.

use std::{fs, io, path::Path};

use anyhow::{Context as _, bail};
use gaung_proto::RelayId;
use service_kit::data_folder;

const FILE: &str = "hub-id";

/// Reads the id from `folder`, or creates one and stores it there. Without a folder it is new at every start.
///
/// # Errors
/// If the folder cannot be used or the file has no valid id.
pub(crate) fn load(folder: Option<&Path>) -> anyhow::Result<RelayId> {
    let Some(folder) = folder else { return Ok(RelayId(rand::random())) };
    let path = folder.join(FILE);
    let cannot = || format!("cannot write {}; give another folder with --data", path.display());
    data_folder::prepare(folder).with_context(cannot)?;
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(id) => Ok(id),
            Err(error) => bail!("{}: {error}; delete the file to get a new id", path.display()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = RelayId(rand::random());
            fs::write(&path, format!("{id}\n")).with_context(cannot)?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_id_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let id = load(Some(&folder.path().join("new"))).unwrap();
        assert_eq!(load(Some(&folder.path().join("new"))).unwrap(), id);
        assert_ne!(load(None).unwrap(), id);
        fs::write(folder.path().join(FILE), "nonsense").unwrap();
        assert!(load(Some(folder.path())).unwrap_err().to_string().contains("delete the file"));
    }
}
