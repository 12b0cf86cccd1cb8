//! Evaluates nftables' rules for a packet: parses what `nft -j list ruleset` writes, and walks the chains.
//!
//! Only what is certain is reported: if a rule matches on something that cannot be known beforehand (a mark, a used-up
//! quota, an unknown extension of iptables), the verdict is unclear, and only a trial tells. nft lists the extensions of
//! iptables by name alone; what they match on comes from `iptables-save`.

mod iptables;
mod matching;
mod packet;
mod points;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
    ops::RangeInclusive,
};

use serde::Deserialize;
use serde_json::Value;

pub(crate) use packet::{Cast, Direction, Packet, Tracking, Transport};
pub(crate) use walk::Fate;

/// The tables of the packet filter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Value")]
pub(crate) struct Ruleset {
    chains: Vec<Chain>,
    /// Elements of named sets and of named maps (as pairs), by family, table and name.
    sets: HashMap<(String, String, String), Vec<Value>>,
}

/// The family given here to rules of the older iptables, which nft does not list.
pub(crate) const LEGACY: &str = "iptables-legacy";

/// A rule, or a chain's policy, by which a packet is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Culprit {
    /// `inet`, `ip` or `netdev`, or [`LEGACY`].
    pub(crate) family: String,
    /// The table.
    pub(crate) table: String,
    /// The chain.
    pub(crate) chain: String,
    /// The rule's handle, in legacy chains its position from 1; `None` for the chain's policy.
    pub(crate) handle: Option<u64>,
}

#[derive(Debug, Clone)]
struct Chain {
    family: String,
    table: String,
    name: String,
    /// Its hook; `None` if it is only called.
    base: Option<Base>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Base {
    hook: String,
    priority: i64,
    /// The interfaces of an interface's hook.
    devices: Vec<String>,
    drops: bool,
}

#[derive(Debug, Clone)]
struct Rule {
    handle: Option<u64>,
    statements: Vec<Value>,
}

impl From<Value> for Ruleset {
    /// Reads `{"nftables": [...]}`; what is not understood is passed over.
    fn from(listing: Value) -> Self {
        let mut ruleset = Self::default();
        let mut dormant = Vec::new();
        for object in listing["nftables"].as_array().into_iter().flatten() {
            if let Some(chain) = object.get("chain") {
                ruleset.chains.extend(Chain::read(chain));
            } else if let Some(rule) = object.get("rule") {
                ruleset.add_rule(rule);
            } else if let Some(set) = object.get("set").or_else(|| object.get("map")) {
                let key = (text(set, "family"), text(set, "table"), text(set, "name"));
                ruleset.sets.insert(key, set["elem"].as_array().cloned().unwrap_or_default());
            } else if let Some(table) = object.get("table").filter(|table| is_dormant(&table["flags"])) {
                dormant.push((text(table, "family"), text(table, "name")));
            }
        }
        dormant.iter().for_each(|(family, table)| ruleset.forget_table(family, table));
        ruleset
    }
}

fn is_dormant(flags: &Value) -> bool {
    let named = |flag: &Value| flag == "dormant";
    named(flags) || flags.as_array().is_some_and(|flags| flags.iter().any(named))
}

impl Ruleset {
    /// Evaluates the rules for a packet of this machine.
    pub(crate) fn fate(&self, packet: &Packet<'_>) -> Fate {
        walk::fate(self, packet)
    }

    /// Removes a table, such as a dormant one.
    pub(crate) fn forget_table(&mut self, family: &str, table: &str) {
        self.chains.retain(|chain| chain.family != family || chain.table != table);
    }

    /// Returns whether some rule has an extension of iptables, of which nft lists the name alone.
    pub(crate) fn has_extensions(&self) -> bool {
        let mut statements = self.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.statements);
        statements.any(|statement| statement.get("xt").is_some())
    }

    /// Fills in what the extensions match on, from `iptables-save`'s text: chain by chain, where both list as many rules.
    pub(crate) fn explain_extensions(&mut self, saved: &str) {
        for chain in iptables::read(saved) {
            let Some(own) = self.chain_mut("ip", &chain.table, &chain.name) else { continue };
            if own.rules.len() == chain.rules.len() {
                own.rules.iter_mut().zip(chain.rules).for_each(|(rule, saved)| rule.statements = saved);
            }
        }
    }

    /// Adds the rules of the older iptables, from `iptables-legacy-save`'s text.
    pub(crate) fn add_legacy(&mut self, saved: &str) {
        for chain in iptables::read(saved) {
            let base = chain.hook().map(|(hook, priority)| Base {
                hook: hook.to_owned(),
                priority,
                devices: Vec::new(),
                drops: chain.policy == "DROP",
            });
            let numbered = (1..).zip(chain.rules);
            let rules = numbered.map(|(place, statements)| Rule { handle: Some(place), statements }).collect();
            self.chains.push(Chain { family: LEGACY.to_owned(), table: chain.table, name: chain.name, base, rules });
        }
    }

    /// Iterates over the values that occur in rules and sets, for [`points`].
    fn values(&self) -> impl Iterator<Item = &Value> {
        let rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.flat_map(|rule| &rule.statements).chain(self.sets.values().flatten())
    }

    /// Returns ports of `range`, one for each interval that the rules treat alike: rules tell ports apart only by the
    /// numbers that occur in them.
    pub(crate) fn ports_told_apart(&self, range: RangeInclusive<u16>) -> BTreeSet<u16> {
        points::ports(self.values(), range)
    }

    /// Returns addresses of `range` likewise.
    pub(crate) fn addresses_told_apart(&self, range: RangeInclusive<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
        points::addresses(self.values(), range)
    }

    fn add_rule(&mut self, rule: &Value) {
        let (family, table, chain) = (text(rule, "family"), text(rule, "table"), text(rule, "chain"));
        let statements = rule["expr"].as_array().cloned().unwrap_or_default();
        if let Some(chain) = self.chain_mut(&family, &table, &chain) {
            chain.rules.push(Rule { handle: rule["handle"].as_u64(), statements });
        }
    }

    fn chain_mut(&mut self, family: &str, table: &str, name: &str) -> Option<&mut Chain> {
        self.chains.iter_mut().find(|chain| chain.is(family, table, name))
    }

    /// Finds the chain that a chain of the same table calls.
    fn called(&self, by: &Chain, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.is(&by.family, &by.table, name))
    }

    fn set(&self, chain: &Chain, name: &str) -> Option<&[Value]> {
        self.sets.get(&(chain.family.clone(), chain.table.clone(), name.to_owned())).map(Vec::as_slice)
    }
}

impl Chain {
    fn read(chain: &Value) -> Option<Self> {
        // Address translation drops nothing by its policy, and its rules see only a flow's first packet.
        if chain["type"] == "nat" {
            return None;
        }
        let base = chain["hook"].as_str().map(|hook| Base {
            hook: hook.to_owned(),
            priority: chain["prio"].as_i64().unwrap_or(0),
            devices: match chain["dev"].as_array() {
                Some(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                None => chain["dev"].as_str().map(str::to_owned).into_iter().collect(),
            },
            drops: chain["policy"] == "drop",
        });
        let (family, table, name) = (text(chain, "family"), text(chain, "table"), text(chain, "name"));
        Some(Self { family, table, name, base, rules: Vec::new() })
    }

    fn is(&self, family: &str, table: &str, name: &str) -> bool {
        self.family == family && self.table == table && self.name == name
    }

    fn culprit(&self, handle: Option<u64>) -> Culprit {
        Culprit { family: self.family.clone(), table: self.table.clone(), chain: self.name.clone(), handle }
    }
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}
