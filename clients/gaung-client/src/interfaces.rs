//! Which interfaces multicast is heard on.

use gaung_net::interface::{ChooseError, LinkWatch};

use crate::error::ClientError;

/// Watches the interfaces. `iface`: a name or an IPv4 address; one that is down or has no address yet is waited for.
///
/// # Errors
/// [`ClientError::Usage`] for one that is not there or cannot multicast: whoever asks is there to mend a slip.
pub(crate) fn watch(iface: Option<&str>) -> Result<LinkWatch, ClientError> {
    let watch = LinkWatch::begin(iface.map(str::to_owned).into_iter().collect())
        .map_err(|error| ClientError::Failed(format!("cannot list this machine's interfaces: {error}")))?;
    let wrong = |error: &&ChooseError| matches!(error, ChooseError::NoSuch { .. } | ChooseError::CannotMulticast(_));
    match watch.now().missing.iter().find(wrong) {
        Some(error) => Err(ClientError::Usage(error.to_string())),
        None => Ok(watch),
    }
}

/// Why nothing can be heard now.
pub(crate) fn why_none(watch: &LinkWatch) -> String {
    let missing: Vec<_> = watch.now().missing.iter().map(ToString::to_string).collect();
    if missing.is_empty() { "no interface can multicast".to_owned() } else { missing.join("; ") }
}
