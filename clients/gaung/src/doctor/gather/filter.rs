//! The system's packet filter. The kernel tells its rules by netlink alone, so this asks `nft`.

use std::{fs, process::Command};

use serde_json::Value;

use super::super::{
    facts::{Facts, Unseen},
    firewall::Ruleset,
};

/// Reads the rules into `facts`, or notes why not.
pub(super) fn read(facts: &mut Facts) {
    match ruleset() {
        Ok(ruleset) => facts.firewall = Some(ruleset),
        Err(why) => facts.could_not_look(Unseen::Firewall, why),
    }
    if let Some(tables) = legacy_tables() {
        facts.could_not_look(Unseen::LegacyFirewall, format!("tables {tables}"));
    }
}

fn ruleset() -> Result<Ruleset, String> {
    // Where a user's PATH leaves out the folders of administration, it is there all the same.
    let nft = ["nft", "/usr/sbin/nft", "/sbin/nft"];
    let run = |program: &&str| Command::new(program).args(["-j", "list", "ruleset"]).output().ok();
    let output = nft.iter().find_map(run).ok_or("`nft` of nftables is not installed")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("nft: {}", said.lines().next().unwrap_or("failed").trim()));
    }
    let listing: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("nft's listing: {error}"))?;
    Ok(Ruleset::from(listing))
}

/// The tables of the older iptables, which are there besides nftables' and which only root may see.
fn legacy_tables() -> Option<String> {
    let names = fs::read_to_string("/proc/net/ip_tables_names").ok()?;
    let names: Vec<_> = names.split_whitespace().collect();
    (!names.is_empty()).then(|| names.join(", "))
}
