//! Tests that need root, namespaces, Docker or a browser: skipped loudly on a user's machine, failed in CI.

use std::{env, process::Command};

/// Something a test needs from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Root, and `ip netns`.
    Namespaces,
    /// Namespaces for a user who is not root, and root to become such a user.
    UserNamespaces,
    /// `tcpdump`.
    Tcpdump,
    /// `tshark` of Wireshark, with Lua.
    Tshark,
    /// `nft` of nftables.
    Nft,
    /// `iptables`, whose NFQUEUE hands packets to a program.
    Iptables,
    /// `sysctl` of procps.
    Sysctl,
    /// `tmux`.
    Tmux,
    /// A Docker daemon and `docker-compose` or `docker compose`.
    Compose,
    /// The image `gaung:lab`, or the one named by `GAUNG_IMAGE`; `deploy/build-image.sh` makes it.
    Image,
    /// `chromium` and its `chromedriver`.
    Chromium,
    /// `certutil` of NSS, whose data base Chromium reads roots from.
    Certutil,
    /// `python3`.
    Python,
    /// `python3` with grpcio and grpcio-reflection.
    PythonGrpc,
}

impl Need {
    fn check(self) -> Result<(), String> {
        match self {
            Self::Namespaces => {
                if !nix::unistd::Uid::effective().is_root() {
                    return Err("it needs root".to_owned());
                }
                succeeds("ip", &["netns", "list"])
            }
            Self::UserNamespaces => {
                let as_nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
                succeeds("setpriv", &[&as_nobody[..], &["unshare", "--user", "--map-root-user", "true"]].concat())
            }
            Self::Nft => succeeds("nft", &["--version"]),
            Self::Iptables => succeeds("iptables", &["--version"]),
            Self::Sysctl => succeeds("sysctl", &["--version"]),
            Self::Tcpdump => succeeds("tcpdump", &["--version"]),
            Self::Tshark => succeeds("tshark", &["--version"]),
            Self::Tmux => succeeds("tmux", &["-V"]),
            Self::Compose => succeeds("docker", &["info"]).and_then(|()| {
                succeeds("docker-compose", &["version"]).or_else(|_| succeeds("docker", &["compose", "version"]))
            }),
            Self::Image => succeeds("docker", &["image", "inspect", &image()])
                .map_err(|why| format!("{why}; `deploy/build-image.sh` makes it")),
            Self::Chromium => {
                succeeds("chromium", &["--version"]).and_then(|()| succeeds("chromedriver", &["--version"]))
            }
            // It fails at everything that needs no data base, its help included.
            Self::Certutil => {
                let started = Command::new("certutil").arg("-H").output();
                started.map(drop).map_err(|error| format!("`certutil` cannot be started: {error}"))
            }
            Self::Python => succeeds("python3", &["--version"]),
            Self::PythonGrpc => succeeds(&python(), &["-c", "import grpc, grpc_reflection"]),
        }
    }
}

/// The Python of tests: `GAUNG_TEST_PYTHON`, else `python3`.
#[must_use]
pub fn python() -> String {
    env::var("GAUNG_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn image() -> String {
    env::var("GAUNG_IMAGE").unwrap_or_else(|_| "gaung:lab".to_owned())
}

/// Ends the test that it is in unless the machine has all that is named, as in `needs!(Namespaces, Nft)`.
#[macro_export]
macro_rules! needs {
    ($($need:ident),+) => {{
        fn here() {}
        let test = std::any::type_name_of_val(&here).trim_end_matches("::here");
        if !$crate::requires::has(test, &[$($crate::requires::Need::$need),+]) {
            return;
        }
    }};
}

/// True if the machine has all of `needs`. Otherwise says loudly what is skipped and gives false, or fails where `CI=true`.
///
/// # Panics
/// In CI, if something is missing.
#[must_use]
pub fn has(test: &str, needs: &[Need]) -> bool {
    let missing: Vec<_> =
        needs.iter().filter_map(|need| need.check().err().map(|why| format!("{need:?}: {why}"))).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join("; ");
    assert!(env::var("CI").as_deref() != Ok("true"), "{test} cannot run, and CI skips nothing: {missing}");
    eprintln!("\n*** SKIPPED: {test} ***\n*** {missing} ***\n");
    false
}

fn succeeds(program: &str, args: &[&str]) -> Result<(), String> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(format!("`{program} {}` failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Err(format!("`{program}` cannot be started: {error}")),
    }
}
