//! Room on the disk.

use std::{fs, io, path::Path};

/// What the file system under a folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes of the folder's own files; 0 if it is not there yet.
    pub used: u64,
    /// Bytes that a process without privileges may still use.
    pub free: u64,
}

impl DiskSpace {
    /// Looks at `folder`, or where it will be.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let there = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let system = nix::sys::statvfs::statvfs(there)?;
        let free = system.blocks_available().saturating_mul(system.fragment_size());
        let mut used = 0;
        if there == folder {
            for entry in fs::read_dir(folder)? {
                used += entry?.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        Ok(Self { used, free })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), [0; 1000]).unwrap();
        let known = DiskSpace::of(folder.path()).unwrap();
        assert!(known.used == 1000 && known.free > 0);
        assert_eq!(DiskSpace::of(&folder.path().join("a/b")).unwrap().used, 0);
    }
}
