//! The exit codes of the command: each error has one of those that the help documents.

use std::fmt;

use gaung_client::{ClientError, DeviceError, ErrorKind, PublishError};

/// An error of the command itself with its kind; the errors of the SDK have their own.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: String,
}

impl Failure {
    /// Makes an error whose `message` says what is wrong and what to do.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Makes an error of wrong usage, exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The reader of stdout has closed it; the command then ends with success and without a message, as with `head`.
#[derive(Debug)]
pub(crate) struct StdoutClosed;

impl fmt::Display for StdoutClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stdout was closed")
    }
}

impl std::error::Error for StdoutClosed {}

/// A command such as `doctor` has reported the faults that it found; only the exit code remains to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultsFound {
    /// Something may fail, or fails for some.
    Warnings,
    /// Something does not work.
    Problems,
}

impl fmt::Display for FaultsFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warnings => "there are warnings",
            Self::Problems => "there are problems",
        })
    }
}

impl std::error::Error for FaultsFound {}

/// A child process has ended with this exit code, which becomes the exit code of this command; it printed its own errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitWith(pub(crate) u8);

impl fmt::Display for ExitWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command ended with {}", self.0)
    }
}

impl std::error::Error for ExitWith {}

/// Returns the exit code of an error: that of the first cause in its chain that has a kind, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(ExitWith(code)) = error.downcast_ref() {
        return *code;
    }
    match error.downcast_ref::<FaultsFound>() {
        Some(FaultsFound::Warnings) => 6,
        Some(FaultsFound::Problems) => 7,
        None => error.chain().find_map(kind).map_or(1, code),
    }
}

/// Returns advice that is appended to an error of the SDK, which does not know the options of this command.
pub(crate) fn hint(error: &anyhow::Error) -> String {
    let hint = |error: &ClientError| match error {
        ClientError::SeveralServers(_) => Some("; choose it with --server HOST:PORT".to_owned()),
        ClientError::NoMulticastAddress(_) => Some("; wait, or use --lane tcp".to_owned()),
        ClientError::PrivateByTcpOnly(_) => Some("; leave --lane out or use --lane tcp".to_owned()),
        ClientError::NoTls(_) => Some(", or use --insecure".to_owned()),
        ClientError::NoHub => Some(", or use --lane multicast".to_owned()),
        ClientError::OtherSite { address, shown, .. } => Some(format!(
            "; if it was set up anew, compare {shown} with the code that it shows at its start, then: gaung site trust {shown} \
             --server {address}"
        )),
        ClientError::Usage(_)
        | ClientError::NotFound(_)
        | ClientError::NotAllowed(_)
        | ClientError::Unreachable(_)
        | ClientError::Failed(_) => None,
    };
    error.chain().find_map(|cause| hint(cause.downcast_ref()?)).unwrap_or_default()
}

/// Returns the exit code of a kind of error.
pub(crate) const fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failed => 1,
        ErrorKind::Usage => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::NotAllowed => 4,
        ErrorKind::Unreachable => 5,
        ErrorKind::OtherSite => 8,
    }
}

fn kind(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.kind);
    }
    if let Some(refusal) = cause.downcast_ref::<gaung_lab::Refusal>() {
        return Some(refusal.kind);
    }
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return Some(error.kind());
    }
    if let Some(error) = cause.downcast_ref::<DeviceError>() {
        return Some(device_kind(error));
    }
    cause.downcast_ref::<PublishError>().map(PublishError::kind)
}

const fn device_kind(error: &DeviceError) -> ErrorKind {
    match error {
        DeviceError::WrongPassphrase(_) | DeviceError::Protected(_) => ErrorKind::NotAllowed,
        DeviceError::Elsewhere { .. } => ErrorKind::Usage,
        DeviceError::Io { .. } | DeviceError::Malformed(_) | DeviceError::NotExported(_) => ErrorKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use gaung_client::SiteId;

    use super::*;

    #[test]
    fn each_kind_has_its_exit_code_also_under_context() {
        let name = || "lab".parse().expect("a valid name");
        let code = SiteId::from_bytes([7; 16]).code();
        let other_site = ClientError::OtherSite {
            address: "h:1".to_owned(),
            shown: code,
            expected: vec![SiteId::from_bytes([8; 16]).code()],
        };
        let client: [(ClientError, u8); 11] = [
            (other_site.clone(), 8),
            (ClientError::NoTls(String::new()), 5),
            (ClientError::Failed(String::new()), 1),
            (ClientError::Usage(String::new()), 2),
            (ClientError::SeveralServers(Vec::new()), 2),
            (ClientError::NotFound(String::new()), 3),
            (ClientError::NotAllowed(String::new()), 4),
            (ClientError::Unreachable(String::new()), 5),
            (ClientError::PrivateByTcpOnly(name()), 2),
            (ClientError::NoMulticastAddress(name()), 5),
            (ClientError::NoHub, 5),
        ];
        for (error, code) in client {
            let wrapped = Err::<(), _>(error).context("while trying").map_err(|e| e.context("outer"));
            assert_eq!(wrapped.map_err(|e| exit_code(&e)), Err(code));
        }
        let publish: [(PublishError, u8); 3] = [
            (PublishError::TooLarge { len: 2, max: 1 }, 2),
            (PublishError::NotFound(String::new()), 3),
            (PublishError::Closed, 1),
        ];
        for (error, code) in publish {
            assert_eq!(exit_code(&error.into()), code);
        }
        let no_hub = anyhow::Error::from(ClientError::NoHub);
        let shown = format!("{no_hub:#}{}", hint(&no_hub));
        assert_eq!(shown, "no hub is running; start broadcast-hub, or use --lane multicast");
        let advice = hint(&other_site.into());
        assert!(advice.ends_with(&format!("gaung site trust {code} --server h:1")), "{advice}");
        assert_eq!(exit_code(&Failure::usage("x").into()), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("x")), 1);
        assert_eq!((exit_code(&FaultsFound::Warnings.into()), exit_code(&FaultsFound::Problems.into())), (6, 7));
    }
}
