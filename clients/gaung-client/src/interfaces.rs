//! Which interfaces multicast is heard on.

use gaung_net::interface::{self, Link};

use crate::error::ClientError;

/// `iface`: a name or an IPv4 address.
///
/// # Errors
/// [`ClientError::Usage`] for one that cannot be used, [`ClientError::Failed`] where there is none.
pub(crate) fn choose(iface: Option<&str>) -> Result<Vec<Link>, ClientError> {
    let all = interface::interfaces()
        .map_err(|error| ClientError::Failed(format!("cannot list this machine's interfaces: {error}")))?;
    let chosen = interface::choose(&all, iface).map_err(|error| match iface {
        Some(_) => ClientError::Usage(error.to_string()),
        None => ClientError::Failed(error.to_string()),
    })?;
    Ok(chosen.links)
}
