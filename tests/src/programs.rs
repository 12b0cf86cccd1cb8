//! The programs and examples under test, built by cargo so that none is stale or missing.

use std::{
    collections::HashMap,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The version that all programs have.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Path of the program or example `name`, of the same profile and target folder as the running test.
///
/// The whole workspace is named, so that features are those of `cargo test --workspace` and nothing is built twice.
/// Asks cargo once per test process; cargo's own lock makes parallel test processes wait for one another.
/// # Panics
/// If the build fails or makes no such program.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    static PROGRAMS: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| built_in(Path::new(env!("CARGO_MANIFEST_DIR"))));
    programs.get(name).unwrap_or_else(|| panic!("cargo built no program {name}")).clone()
}

/// The programs and examples of the workspace that `folder` belongs to, built by cargo.
///
/// # Panics
/// If the build fails.
#[must_use]
pub fn built_in(folder: &Path) -> HashMap<String, PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).args(["build", "--workspace", "--bins", "--examples", "--message-format=json"]);
    // What cargo tells the test of its package would make build scripts that look at it, such as ring's, run again.
    for name in env::vars_os().map(|(name, _)| name) {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo can be started");
    assert!(output.status.success(), "cargo build of the programs under test failed");
    output.stdout.split(|&b| b == b'\n').filter_map(executable).collect()
}

fn executable(line: &[u8]) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_slice(line).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), path.into()))
}
