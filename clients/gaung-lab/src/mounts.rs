//! The file system of a lab's processes: the machine's, with some mounts of the lab's own.

use std::path::Path;

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const NONE: Option<&str> = None;

/// Makes mounts private, so that later ones are not seen outside.
///
/// # Errors
/// What the system says.
pub(crate) fn make_private() -> anyhow::Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).context("cannot make mounts private")
}

/// Mounts an empty folder in memory over `folder`: what is written there is gone with the lab.
///
/// # Errors
/// What the system says.
pub(crate) fn memory_folder(folder: &Path) -> anyhow::Result<()> {
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755"))
        .with_context(|| format!("cannot keep the lab's files in memory at {}", folder.display()))
}

/// Unmounts the folder in memory, if there is one.
pub(crate) fn remove_memory_folder(folder: &Path) {
    let _ = umount2(folder, MntFlags::MNT_DETACH);
}

/// Mounts the calling thread's own view of `/proc`, `/sys` and `/etc/hosts`.
///
/// Containers may refuse some of it. The lab works without: `/proc/self` is right in any case.
pub(crate) fn show_own(hosts_file: &Path) {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), quiet, NONE);
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), quiet, NONE);
    let _ = mount(Some(hosts_file), "/etc/hosts", NONE, MsFlags::MS_BIND, NONE);
}
