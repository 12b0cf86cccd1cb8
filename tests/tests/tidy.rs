//! Holds the workspace to its own rules: which crate may know which, what each manifest inherits, which licences lie here.
#![allow(missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What each member may depend on among the members, dev-dependencies included. `gaung` and `gaung-tests` may use all.
const ARROWS: [(&str, &[&str]); 14] = [
    ("gaung-proto", &[]),
    ("service-kit", &["gaung-proto", "gaung-net", "gaung-site"]),
    ("gaung-engine", &["gaung-proto"]),
    ("gaung-log", &["gaung-proto", "gaung-engine"]),
    ("gaung-net", &["gaung-proto", "gaung-engine", "gaung-site"]),
    ("gaung-site", &["gaung-proto"]),
    ("group-registry", SERVICE),
    ("multicast-relay", SERVICE),
    ("broadcast-hub", &["gaung-proto", "gaung-engine", "gaung-net", "gaung-site", "service-kit"]),
    ("gaung-client", &["gaung-proto", "gaung-engine", "gaung-net", "gaung-site"]),
    ("gaung-chat", &["gaung-proto", "gaung-client", "gaung-terminal", "service-kit"]),
    ("gaung-doctor", &["gaung-proto", "gaung-net", "gaung-terminal"]),
    ("gaung-lab", &["gaung-proto", "gaung-client"]),
    ("gaung-terminal", &["gaung-proto"]),
];
const SERVICE: &[&str] = &["gaung-proto", "gaung-engine", "gaung-net", "gaung-log", "gaung-site", "service-kit"];
const FREE: [&str; 2] = ["gaung", "gaung-tests"];

/// The engines do no I/O, so they name no crate that does; nor does anything they depend on reach a runtime or socket.
const NOT_IN_ENGINE: [&str; 6] = ["tokio", "tonic", "socket2", "mio", "nix", "hyper"];

#[test]
fn the_arrows_between_crates_hold() {
    let workspace = Workspace::read();
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let known: BTreeSet<_> = allowed.keys().copied().chain(FREE).collect();
    let members: BTreeSet<_> = workspace.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(members, known, "a crate without arrows in this test, or the other way round");
    let mut wrong = Vec::new();
    for member in &workspace.members {
        let Some(allowed) = allowed.get(member.name.as_str()) else { continue };
        let among = member.dependencies.iter().filter(|name| members.contains(name.as_str()));
        wrong.extend(
            among.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{} → {name}", member.name)),
        );
    }
    assert!(wrong.is_empty(), "forbidden arrows: {}", wrong.join(", "));
}

#[test]
fn the_engines_do_no_io() {
    for package in ["gaung-engine", "gaung-proto"] {
        let reached = reached_by(package);
        let wrong: Vec<_> = NOT_IN_ENGINE.into_iter().filter(|name| reached.contains(*name)).collect();
        assert!(wrong.is_empty(), "{package} reaches {}", wrong.join(", "));
    }
}

/// `sabotage` takes safety mechanisms out of the engines, so it is never unified into a program that is shipped.
#[test]
fn no_program_is_built_with_sabotage() {
    let engine_of = |package: &str| {
        let tree = cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p} {f}"]);
        let tree = String::from_utf8(tree).expect("cargo writes UTF-8");
        tree.lines().filter(|line| line.starts_with("gaung-engine ")).map(str::to_owned).collect::<Vec<_>>()
    };
    for package in ["gaung", "group-registry", "multicast-relay", "broadcast-hub"] {
        let engines = engine_of(package);
        assert!(!engines.is_empty() && !engines.iter().any(|line| line.contains("sabotage")), "{package}: {engines:?}");
    }
    assert!(engine_of("gaung-tests").iter().any(|line| line.contains("sabotage")), "the feature is seen where it is");
}

#[test]
fn every_member_inherits_what_stands_in_the_root() {
    const INHERITED: [&str; 5] = [
        "version.workspace = true",
        "edition.workspace = true",
        "license.workspace = true",
        "[lints]\nworkspace = true",
        "rust-version.workspace = true",
    ];
    for member in &Workspace::read().members {
        let text = fs::read_to_string(&member.manifest).expect("cargo has just read it");
        for line in INHERITED {
            assert!(text.contains(line), "{} lacks `{line}`", member.manifest.display());
        }
        let folder = member.manifest.parent().and_then(Path::file_name).expect("a manifest lies in a folder");
        let name = if member.name == "gaung-tests" { "tests" } else { &member.name };
        assert_eq!(folder, name, "the folder has the crate's name");
    }
}

#[test]
fn every_dependency_is_named_once_in_the_root() {
    for member in &Workspace::read().members {
        let text = fs::read_to_string(&member.manifest).expect("cargo has just read it");
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line.to_owned();
            } else if section.contains("dependencies") && line.contains('=') {
                let inherits = line.contains("workspace = true");
                assert!(inherits, "{}: `{line}` does not inherit its version", member.manifest.display());
            }
        }
    }
}

#[test]
fn the_root_holds_manifest_and_licences_and_no_code() {
    let root = root();
    for file in
        ["Cargo.toml", "Cargo.lock", "README.md", "ARCHITECTURE.md", "LICENSE-MIT", "LICENSE-APACHE", "deny.toml"]
    {
        assert!(root.join(file).is_file(), "{file} is missing");
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("it is a file");
    assert!(!manifest.contains("\n[package]"), "the root manifest holds no package");
    assert!(manifest.contains("license = \"MIT OR Apache-2.0\""));
    assert!(!root.join("src").exists(), "the root holds no code");
}

struct Workspace {
    members: Vec<Member>,
}

struct Member {
    name: String,
    manifest: PathBuf,
    /// Of all kinds, on all platforms, optional ones too.
    dependencies: BTreeSet<String>,
}

impl Workspace {
    fn read() -> Self {
        let metadata: Value = serde_json::from_slice(&cargo(&["metadata", "--format-version=1", "--no-deps"]))
            .expect("cargo writes JSON");
        let packages = metadata["packages"].as_array().expect("metadata has packages");
        Self { members: packages.iter().map(Member::of).collect() }
    }
}

impl Member {
    fn of(package: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("metadata has names as strings").to_owned();
        let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
        Self {
            name: text(&package["name"]),
            manifest: text(&package["manifest_path"]).into(),
            dependencies: dependencies.iter().map(|dependency| text(&dependency["name"])).collect(),
        }
    }
}

/// All crates that end up in a program that depends on `package` with its default features.
fn reached_by(package: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"]);
    let lines = String::from_utf8(tree).expect("cargo writes UTF-8");
    lines.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn cargo(args: &[&str]) -> Vec<u8> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(args).current_dir(root()).output().expect("cargo can be started");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
