//! Programs that set a network up.

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use gaung_client::ErrorKind;

use crate::error::Refusal;

/// Runs a program of the calling thread's machine with `input`, to its end.
///
/// # Errors
/// [`Refusal`] where it is not installed, with the package that has it; else what it says.
pub(super) fn feed(name: &str, args: &[&str], input: &str) -> anyhow::Result<()> {
    let mut command = Command::new(name);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| cannot_start(name, error))?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().with_context(|| format!("waiting for {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}\n{input}", String::from_utf8_lossy(&output.stderr).trim());
    }
    fed.with_context(|| format!("feeding {name}"))
}

fn cannot_start(name: &str, error: io::Error) -> anyhow::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return anyhow::Error::new(error).context(format!("cannot start {name}"));
    }
    let package = match name {
        "nft" => "nftables",
        _ => "iproute2",
    };
    let message = format!("a lab needs the program `{name}`; install it: sudo apt install {package}");
    Refusal::new(ErrorKind::Failed, message).into()
}
