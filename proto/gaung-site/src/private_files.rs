//! Files that are for their owner alone, and that are whole or absent whatever interrupts their writing.
//! Errors of reading name the file.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Largest file read, bytes: far more than any of them has.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a file of at most 1 MiB.
///
/// # Errors
/// Those of the system, and one for a larger file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(named)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(named(io::Error::other("the file is larger than 1 MiB")));
    }
    Ok(bytes)
}

/// Writes a file in place of what stands there.
///
/// # Errors
/// Those of the system; what stood there is still there then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft_of(path)?;
    let written = write(&draft, bytes).and_then(|()| fs::rename(&draft, path)).and_then(|()| sync_parent(path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Writes a file where there is none.
///
/// # Errors
/// Those of the system; [`io::ErrorKind::AlreadyExists`] leaves what stands there alone.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write(path, bytes).and_then(|()| sync_parent(path));
    if written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        let _ = fs::remove_file(path);
    }
    written
}

/// Makes a folder and those above it where they are missing.
///
/// # Errors
/// Those of the system.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Creates a folder with all of its files at once, unless another process was first.
pub(crate) fn create_folder(folder: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    let draft = draft_of(folder)?;
    let parent = folder.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(parent)?;
    let fill = || {
        DirBuilder::new().mode(0o700).create(&draft)?;
        files.iter().try_for_each(|(name, bytes)| write(&draft.join(name), bytes))?;
        File::open(&draft)?.sync_all()
    };
    // A rename replaces no folder that holds something.
    let placed = fill().and_then(|()| fs::rename(&draft, folder)).and_then(|()| sync_parent(folder));
    if placed.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    if folder.exists() { Ok(()) } else { placed }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Returns a name beside `path` that no other writer uses.
fn draft_of(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .map_err(|_| io::Error::other("the system's random generator failed"))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{:016x}", u64::from_be_bytes(random))))
}
