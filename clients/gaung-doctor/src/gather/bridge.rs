//! Reads a local bridge from `/sys/class/net/NAME/bridge` and its ports' `brport`.

use std::{fs, path::Path};

use super::{
    super::facts::{BridgeFacts, PortFacts},
    number,
};

/// Reads how the bridge in this folder treats multicast; `None` if it is no bridge.
pub(super) fn read(folder: &Path) -> Option<BridgeFacts> {
    let bridge = folder.join("bridge");
    let snooping = number(&bridge.join("multicast_snooping"))? != 0;
    let querier = number(&bridge.join("multicast_querier")).unwrap_or(0) != 0;
    let mut ports: Vec<_> = fs::read_dir(folder.join("brif")).into_iter().flatten().flatten().map(port).collect();
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    Some(BridgeFacts { snooping, querier, ports })
}

fn port(entry: fs::DirEntry) -> PortFacts {
    let on = |file: &str| number(&entry.path().join(file)).unwrap_or(1) != 0;
    PortFacts {
        name: entry.file_name().to_string_lossy().into_owned(),
        multicast_flood: on("multicast_flood"),
        broadcast_flood: on("broadcast_flood"),
    }
}
