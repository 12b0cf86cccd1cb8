//! The folder in which a user's running labs are noted. Where there is no folder that the system made for the user, it lies
//! where anybody may make one of its name first; so only a folder that nobody else can write to is used.

use std::{
    env,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use gaung_client::ErrorKind;
use nix::unistd::getuid;

use crate::error::Refusal;

/// Names the folder to a lab's own processes, to which a user namespace shows another user than the one who started them.
pub(crate) const VARIABLE: &str = "GAUNG_LAB_FOLDER";

/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// Returns the folder for new labs, and makes it if it is not there. Decides once for the process: by the time that it has
/// namespaces of its own, its user may have another number.
///
/// # Errors
/// [`Refusal`] if none of the places can be had for this user alone.
pub(crate) fn made() -> anyhow::Result<PathBuf> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = MADE.get() {
        // The last lab of another process may have taken it away.
        let _ = make(folder);
        return Ok(folder.clone());
    }
    let places = places(|name| env::var_os(name).map(PathBuf::from), getuid().as_raw(), &env::temp_dir());
    let folder = first_private(&places).ok_or_else(|| {
        let tried: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        let message = format!(
            "no folder for running labs belongs to this user alone ({} cannot be made, or another user can write there); \
             name one with XDG_RUNTIME_DIR",
            tried.join(", ")
        );
        Refusal::new(ErrorKind::Failed, message)
    })?;
    Ok(MADE.get_or_init(|| folder).clone())
}

/// Returns those folders that are there and belong to this user alone: which one a lab took depends on what others had made
/// when it started.
pub(crate) fn existing() -> Vec<PathBuf> {
    let mut places = places(|name| env::var_os(name).map(PathBuf::from), getuid().as_raw(), &env::temp_dir());
    places.retain(|place| is_private(place));
    places
}

/// The places in their order.
fn places(variable: impl Fn(&str) -> Option<PathBuf>, uid: u32, temporary: &Path) -> Vec<PathBuf> {
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    if let Some(given) = absolute(VARIABLE) {
        return vec![given];
    }
    let runtime = absolute("XDG_RUNTIME_DIR").map(|path| path.join("gaung-lab"));
    let shared = match uid {
        0 => PathBuf::from("/run/gaung-lab"),
        _ => temporary.join(format!("gaung-lab-{uid}")),
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    runtime.into_iter().chain([shared]).chain(cache.map(|path| path.join("gaung-lab"))).collect()
}

fn first_private(places: &[PathBuf]) -> Option<PathBuf> {
    // What cannot be made may be there, and what was there before may be another's.
    let usable = |place: &&PathBuf| {
        let _ = make(place);
        is_private(place)
    };
    places.iter().find(usable).cloned()
}

fn make(place: &Path) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o700).create(place)
}

/// True for a folder, not a link to one, that this user owns and nobody else can write to.
fn is_private(place: &Path) -> bool {
    fs::symlink_metadata(place)
        .is_ok_and(|found| found.is_dir() && found.uid() == getuid().as_raw() && found.mode() & OTHERS_WRITE == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_system_s_folder_comes_first_and_the_user_s_own_last() {
        let all = |name: &str| Some(PathBuf::from(format!("/{name}"))).filter(|_| name != VARIABLE);
        let none = |_: &str| None;
        let relative = |_: &str| Some(PathBuf::from("here"));
        let of = |places: Vec<PathBuf>| places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let temporary = Path::new("/tmp");
        assert_eq!(
            of(places(all, 1000, temporary)),
            ["/XDG_RUNTIME_DIR/gaung-lab", "/tmp/gaung-lab-1000", "/XDG_CACHE_HOME/gaung-lab"]
        );
        assert_eq!(of(places(none, 0, temporary)), ["/run/gaung-lab"]);
        assert_eq!(of(places(relative, 1000, temporary)), ["/tmp/gaung-lab-1000"]);
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ani"));
        assert_eq!(of(places(home, 1000, temporary)), ["/tmp/gaung-lab-1000", "/home/ani/.cache/gaung-lab"]);
        assert_eq!(of(places(|name| (name == VARIABLE).then(|| "/given".into()), 0, temporary)), ["/given"]);
    }

    #[test]
    fn what_others_made_or_may_write_to_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let [open, link, own] = ["open", "link", "own"].map(|name| root.path().join(name));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        symlink("/", &link).unwrap();
        let places = [open.clone(), link, PathBuf::from("/proc/self/gaung-lab"), own.clone()];
        assert_eq!(first_private(&places), Some(own.clone()));
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        assert_eq!(first_private(std::slice::from_ref(&own)), Some(own.clone()), "a second lab uses it too");
        assert_eq!(first_private(&[open]), None);
        if getuid().is_root() {
            // Every other user's: it stands for one that another made first.
            let others = root.path().join("others");
            fs::create_dir(&others).unwrap();
            std::os::unix::fs::chown(&others, Some(65534), None).unwrap();
            assert_eq!(first_private(&[others]), None);
        }
    }
}
