//! Folders of data that are for the service's own user alone: they hold private words and keys.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use nix::sys::stat::{Mode, umask};
use tracing::{info, warn};

/// Permission bits of other users, which are removed from folders and files.
const OTHERS: u32 = 0o077;

/// Sets the umask so that files made by this process from now on are accessible to their owner alone.
pub fn keep_to_owner() {
    umask(Mode::from_bits_truncate(OTHERS));
}

/// Creates the folder if it is missing, for its owner alone, and removes other users' permissions on it and on everything in
/// it, with one log line. Permissions that cannot be changed cause a warning.
///
/// # Errors
/// If the folder cannot be created or read.
pub fn prepare(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (mut mended, mut failed) = (0, None);
    close_to_others(folder, &mut mended, &mut failed)?;
    if mended > 0 {
        info!(folder = %folder.display(), files = mended, "open to others until now; only the owner may read it from now on");
    }
    if let Some(error) = failed {
        warn!(folder = %folder.display(), %error, "others may read some of it: its mode cannot be changed; try chmod -R go=");
    }
    Ok(())
}

fn close_to_others(path: &Path, mended: &mut u32, failed: &mut Option<io::Error>) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    if mode & OTHERS != 0 {
        match fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS & 0o7777)) {
            Ok(()) => *mended += 1,
            Err(error) => *failed = Some(error),
        }
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            close_to_others(&entry?.path(), mended, failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn old_folders_are_mended_and_new_ones_are_closed() {
        let scratch = tempfile::tempdir().unwrap();
        let (old, inner) = (scratch.path().join("old"), scratch.path().join("old/log"));
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("journal"), "words").unwrap();
        fs::set_permissions(inner.join("journal"), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        prepare(&old).unwrap();
        assert_eq!((mode(&old), mode(&inner), mode(&inner.join("journal"))), (0o700, 0o700, 0o600));
        let new = scratch.path().join("new/relay");
        prepare(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        keep_to_owner();
        fs::write(new.join("id"), "1").unwrap();
        assert_eq!(mode(&new.join("id")), 0o600);
    }
}
