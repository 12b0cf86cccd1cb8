//! Reads the routes of packets from an own address. The kernel gives them by netlink alone, so this runs `ip`.

use std::{net::Ipv4Addr, process::Command};

use gaung_net::interface::Link;
use serde_json::Value;

use super::{
    super::facts::{ProbeFacts, RouteFacts},
    neighbours,
};

/// An address that stands for all groups.
const A_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 3, 7);

/// Reads the routes from a link's address to a group and into its own network.
///
/// # Errors
/// Why routes cannot be read.
pub(super) fn read(probe: &mut ProbeFacts, link: &Link) -> Result<(), String> {
    let own = link.ip.to_string();
    // As for a socket that is bound to its interface, as Gaung's are.
    probe.multicast_route = Some(route(A_GROUP, &["from", &own, "oif", &link.name])?);
    for to in neighbours(link.ip, link.netmask) {
        probe.neighbour_routes.push(route(to, &["from", &own])?);
    }
    Ok(())
}

fn route(to: Ipv4Addr, more: &[&str]) -> Result<RouteFacts, String> {
    let arguments = ["-j", "-4", "route", "get"].map(str::to_owned).into_iter().chain([to.to_string()]);
    let arguments: Vec<_> = arguments.chain(more.iter().map(|&word| word.to_owned())).collect();
    let programs = ["ip", "/usr/sbin/ip", "/sbin/ip"];
    let run = |program: &&str| Command::new(program).args(&arguments).output().ok();
    let output = programs.iter().find_map(run).ok_or("`ip` of iproute2 is not installed")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().next().unwrap_or("no way").trim().to_owned();
        return Ok(RouteFacts { to, device: None, gateway: None, refused: Some(why) });
    }
    let listing: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("ip's listing: {error}"))?;
    let first = &listing[0];
    Ok(RouteFacts {
        to,
        device: first["dev"].as_str().map(str::to_owned),
        gateway: first["gateway"].as_str().and_then(|gateway| gateway.parse().ok()),
        refused: None,
    })
}
