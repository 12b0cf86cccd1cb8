//! Reads the rules of the packet filter. The kernel gives them by netlink alone, so this runs `nft`, and `iptables-save`
//! for the meaning of iptables' extensions.

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
    let Some(tables) = legacy_tables() else { return };
    match (output("iptables-legacy-save", &[]), &mut facts.firewall) {
        (Ok(saved), Some(ruleset)) => ruleset.add_legacy(&saved),
        (Ok(saved), none) => {
            let mut ruleset = Ruleset::default();
            ruleset.add_legacy(&saved);
            *none = Some(ruleset);
        }
        (Err(why), _) => facts.could_not_look(Unseen::LegacyFirewall, format!("tables {tables}: {why}")),
    }
}

fn ruleset() -> Result<Ruleset, String> {
    let listing = output("nft", &["-j", "list", "ruleset"])?;
    let parsed = serde_json::from_str::<Value>(&listing);
    let mut ruleset = match &parsed {
        Ok(listing) => Ruleset::from(listing.clone()),
        Err(_) => Ruleset::default(),
    };
    // nft 1.0.6 writes a random word for a table's flags, or stops there: its plain text is right.
    let has_flags = parsed.as_ref().is_ok_and(|listing| {
        let objects = listing["nftables"].as_array().into_iter().flatten();
        objects.filter_map(|object| object.get("table")).any(|table| !table["flags"].is_null())
    });
    if has_flags || parsed.is_err() {
        let dormant = dormant_tables(&output("nft", &["list", "ruleset"])?);
        if let Err(error) = parsed {
            ruleset = by_table(&dormant).map_err(|why| format!("nft's listing: {error}; {why}"))?;
        }
        dormant.iter().for_each(|(family, table)| ruleset.forget_table(family, table));
    }
    if ruleset.has_extensions()
        && let Ok(saved) = output("iptables-nft-save", &[]).or_else(|_| output("iptables-save", &[]))
    {
        ruleset.explain_extensions(&saved);
    }
    Ok(ruleset)
}

/// Finds the dormant tables of `nft list ruleset`: `table FAMILY NAME {` and below it `flags dormant`.
fn dormant_tables(text: &str) -> Vec<(String, String)> {
    let mut table = None;
    let mut dormant = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split([' ', '\t', ',', ';']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            ["table", family, name, "{"] => table = Some((family.to_owned(), name.to_owned())),
            ["flags", ..] if words.contains(&"dormant") => dormant.extend(table.take()),
            [] => {}
            // Flags stand before everything else.
            _ => table = None,
        }
    }
    dormant
}

/// Reads all tables but the dormant ones, each listed by itself.
fn by_table(dormant: &[(String, String)]) -> Result<Ruleset, String> {
    let tables = output("nft", &["list", "tables"])?;
    let mut objects = Vec::new();
    for line in tables.lines() {
        let ["table", family, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        if dormant.contains(&(family.to_owned(), name.to_owned())) {
            continue;
        }
        let listing = output("nft", &["-j", "list", "table", family, name])?;
        let mut listing: Value = serde_json::from_str(&listing).map_err(|error| format!("table {name}: {error}"))?;
        objects.extend(listing["nftables"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    Ok(Ruleset::from(serde_json::json!({ "nftables": objects })))
}

/// Runs a program and returns its output, or why there is none.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    // Where a user's PATH leaves out the folders of administration, it is there all the same.
    let folders = ["", "/usr/sbin/", "/sbin/"];
    let run = |folder: &&str| Command::new(format!("{folder}{program}")).args(arguments).output().ok();
    let output = folders.iter().find_map(run).ok_or_else(|| format!("`{program}` is not installed"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program}: {}", said.lines().next().unwrap_or("failed").trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the tables of the older iptables, which exist beside those of nftables.
fn legacy_tables() -> Option<String> {
    let names = fs::read_to_string("/proc/net/ip_tables_names").ok()?;
    let names: Vec<_> = names.split_whitespace().collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dormant_tables_are_told_from_the_text() {
        let text = "table inet off {\n\tflags dormant\n\n\tchain i {\n\t}\n}\ntable ip on {\n\tset s {\n\t\tflags \
                    interval\n\t}\n}\ntable ip both {\n\tflags dormant,owner\n}\n";
        let names: Vec<_> = dormant_tables(text).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["off", "both"]);
    }
}
