//! Makes the group `everyone` as soon as there is a relay. It is never deleted.

use std::{sync::Arc, time::Duration};

use gaung_net::backoff::Backoff;
use gaung_proto::{DeviceId, GroupRetention, Scope, name::EVERYONE, pb::registry as pb};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{info, warn};

use crate::{async_registry::AsyncRegistry, create::CreateSpec, group::RequestId, registry::Registry};

const RETRY_FROM: Duration = Duration::from_millis(200);
const RETRY_TO: Duration = Duration::from_secs(10);

/// Makes `everyone` once a relay is registered; ends with `stop`.
pub(crate) async fn keep(registry: Arc<Registry>, calls: AsyncRegistry, stop: CancellationToken) -> anyhow::Result<()> {
    let mut registrations = registry.services.changes();
    let mut backoff = Backoff::between(RETRY_FROM, RETRY_TO);
    loop {
        let made = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            made = calls.create(spec()) => made,
        };
        match made {
            Ok(group) => {
                info!(address = %group.addr, relay = %group.relay, "the group everyone exists");
                stop.cancelled().await;
                return Ok(());
            }
            // Only a relay's registration can change this.
            Err(status) if status.code() == Code::Unavailable && registry.group_count() == 0 => {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    changed = registrations.changed() => changed?,
                }
            }
            Err(status) => {
                warn!(reason = status.message(), "the group everyone cannot be made; retrying");
                if !backoff.wait(&stop).await {
                    return Ok(());
                }
            }
        }
    }
}

/// Returns the one request for `everyone`. Its id is fixed, so that the group is made once.
fn spec() -> CreateSpec {
    let request = Sha256::digest(b"gaung everyone v1");
    CreateSpec {
        request: RequestId(*request.first_chunk().expect("a SHA-256 digest has 32 bytes")),
        name: EVERYONE.parse().expect("the name is a group name"),
        scope: Scope::Site,
        format: pb::Format::Proto,
        private: false,
        address: None,
        port: None,
        owner: DeviceId::NONE,
        owner_name: String::new(),
        reserved: true,
        keep: GroupRetention::default(),
        made_from: None,
    }
}
