//! Parses the text of `iptables-save`, of both the older iptables and that of nftables, into statements as `nft -j` lists
//! them. An unknown option or extension becomes a match with an unknown result.

use serde_json::{Value, json};

/// A chain of the listing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SavedChain {
    pub(super) table: String,
    pub(super) name: String,
    /// The policy; `-` for a chain that is only called.
    pub(super) policy: String,
    /// Each rule's statements.
    pub(super) rules: Vec<Vec<Value>>,
}

impl SavedChain {
    /// Returns its hook in nftables' terms and its priority; `None` for address translation, which sees only the first packet
    /// of a flow, and for chains that are only called.
    pub(super) fn hook(&self) -> Option<(&'static str, i64)> {
        let priority = match self.table.as_str() {
            "raw" => -300,
            "mangle" => -150,
            "filter" => 0,
            "security" => 50,
            _ => return None,
        };
        let hook = match self.name.as_str() {
            "PREROUTING" => "prerouting",
            "INPUT" => "input",
            "FORWARD" => "forward",
            "OUTPUT" => "output",
            "POSTROUTING" => "postrouting",
            _ => return None,
        };
        Some((hook, priority))
    }
}

/// Parses all chains; invalid lines are skipped.
pub(super) fn read(saved: &str) -> Vec<SavedChain> {
    let mut chains: Vec<SavedChain> = Vec::new();
    let mut table = String::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            name.trim().clone_into(&mut table);
        } else if let Some(declared) = line.strip_prefix(':') {
            let mut words = declared.split_whitespace();
            if let (Some(name), Some(policy)) = (words.next(), words.next()) {
                let (table, name, policy) = (table.clone(), name.to_owned(), policy.to_owned());
                chains.push(SavedChain { table, name, policy, rules: Vec::new() });
            }
        } else if line.starts_with("-A ") {
            let words = words(line);
            let mut known = chains.iter_mut().filter(|chain| chain.table == table);
            if let Some(chain) = known.find(|chain| Some(&chain.name) == words.get(1)) {
                chain.rules.push(Reading::of(&words[2..]).statements());
            }
        }
    }
    let names: Vec<_> = chains.iter().map(|chain| (chain.table.clone(), chain.name.clone())).collect();
    for chain in &mut chains {
        let table = chain.table.clone();
        for statement in chain.rules.iter_mut().flatten() {
            let Some(name) = statement["xt"]["name"].as_str().map(str::to_owned) else { continue };
            // Chains in capitals look like targets of extensions.
            if statement["xt"]["type"] == "target" && names.contains(&(table.clone(), name.clone())) {
                *statement = json!({"jump": {"target": name}});
            }
        }
    }
    chains
}

/// Splits a line into words; quoted ones may have spaces and escaped quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quoted) = (String::new(), false, false);
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => (quoted, begun) = (!quoted, true),
            '\\' if quoted => word.extend(characters.next()),
            c if c.is_whitespace() && !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// The parser of one rule.
struct Reading<'a> {
    words: std::iter::Peekable<std::slice::Iter<'a, String>>,
    protocol: String,
    statements: Vec<Value>,
}

impl<'a> Reading<'a> {
    fn of(words: &'a [String]) -> Self {
        Self { words: words.iter().peekable(), protocol: String::new(), statements: Vec::new() }
    }

    fn statements(mut self) -> Vec<Value> {
        let mut negated = false;
        while let Some(word) = self.words.next() {
            if word == "!" {
                negated = true;
                continue;
            }
            self.option(word, std::mem::take(&mut negated));
        }
        self.statements
    }

    fn option(&mut self, option: &str, negated: bool) {
        let op = if negated { "!=" } else { "==" };
        match option {
            "-p" | "--protocol" => {
                self.protocol = self.value();
                if self.protocol != "all" {
                    let protocol =
                        self.protocol.parse::<u8>().map_or_else(|_| json!(self.protocol), |number| json!(number));
                    self.matches(op, json!({"meta": {"key": "l4proto"}}), protocol);
                }
            }
            "-s" | "--source" => self.address(op, "saddr"),
            "-d" | "--destination" => self.address(op, "daddr"),
            "-i" | "--in-interface" => self.interface(op, "iifname"),
            "-o" | "--out-interface" => self.interface(op, "oifname"),
            "--dport" | "--destination-port" => self.port(op, "dport"),
            "--sport" | "--source-port" => self.port(op, "sport"),
            "--dports" | "--destination-ports" => {
                let ports: Vec<_> = self.value().split(',').map(ports).collect();
                let left = json!({"payload": {"protocol": self.protocol, "field": "dport"}});
                self.matches(op, left, json!({ "set": ports }));
            }
            "--ctstate" | "--state" => {
                let states = self.value().to_lowercase();
                let states: Vec<_> = states.split(',').collect();
                let op = if negated { "!=" } else { "in" };
                self.matches(op, json!({"ct": {"key": "state"}}), json!(states));
            }
            "--dst-type" => self.address_type(op, "daddr"),
            "--src-type" => self.address_type(op, "saddr"),
            "--pkt-type" => {
                let kind = self.value().to_lowercase();
                let kind = if kind == "unicast" { "host".to_owned() } else { kind };
                self.matches(op, json!({"meta": {"key": "pkttype"}}), json!(kind));
            }
            "--tcp-flags" => {
                let _mask = self.value();
                let set = self.value().to_lowercase();
                self.tcp_flags(op, &set);
            }
            "--syn" => self.tcp_flags(op, "syn"),
            "-m" | "--match" => {
                let name = self.value();
                // Their options tell, or they have none that can differ for Gaung's packets.
                let told = [
                    "tcp",
                    "udp",
                    "icmp",
                    "comment",
                    "conntrack",
                    "state",
                    "multiport",
                    "addrtype",
                    "pkttype",
                    "limit",
                ];
                if !told.contains(&name.as_str()) {
                    self.unknown(&name);
                }
            }
            "--limit" => {
                let _rate = self.value();
                self.statements.push(json!({"limit": {}}));
            }
            // Of ICMP, which Gaung does not send, and what changes nothing.
            "--icmp-type" | "--comment" | "--limit-burst" | "--reject-with" => drop(self.value()),
            "-j" | "--jump" => self.target(),
            "-g" | "--goto" => {
                let target = self.value();
                self.statements.push(json!({"goto": {"target": target}}));
            }
            other => {
                self.skip();
                self.unknown(other);
            }
        }
    }

    fn value(&mut self) -> String {
        self.words.next().cloned().unwrap_or_default()
    }

    /// Skips the values of an unknown option.
    fn skip(&mut self) {
        while self.words.next_if(|word| !word.starts_with('-') && *word != "!").is_some() {}
    }

    fn matches(&mut self, op: &str, left: Value, right: Value) {
        self.statements.push(json!({"match": {"op": op, "left": left, "right": right}}));
    }

    fn unknown(&mut self, name: &str) {
        self.statements.push(json!({"xt": {"type": "match", "name": name}}));
    }

    fn address(&mut self, op: &str, field: &str) {
        let value = self.value();
        let (address, length) = value.split_once('/').unwrap_or((&value, "32"));
        let mask = length.parse::<std::net::Ipv4Addr>().map(|mask| u64::from(mask.to_bits().count_ones()));
        let right = match length.parse().or(mask) {
            Ok(bits @ 0..=31_u64) => json!({"prefix": {"addr": address, "len": bits}}),
            Ok(_) | Err(_) => json!(address),
        };
        self.matches(op, json!({"payload": {"protocol": "ip", "field": field}}), right);
    }

    fn interface(&mut self, op: &str, key: &str) {
        let name = self.value();
        let pattern = name.strip_suffix('+').map_or_else(|| name.clone(), |start| format!("{start}*"));
        self.matches(op, json!({"meta": {"key": key}}), json!(pattern));
    }

    fn port(&mut self, op: &str, field: &str) {
        let right = ports(&self.value());
        self.matches(op, json!({"payload": {"protocol": self.protocol, "field": field}}), right);
    }

    fn address_type(&mut self, op: &str, flag: &str) {
        let kinds = self.value().to_lowercase();
        let kinds: Vec<_> = kinds.split(',').collect();
        self.matches(op, json!({"fib": {"result": "type", "flags": [flag]}}), json!({ "set": kinds }));
    }

    fn tcp_flags(&mut self, op: &str, set: &str) {
        let left = json!({"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, []]});
        self.matches(op, left, json!(set));
    }

    fn target(&mut self) {
        let name = self.value();
        let rest: Vec<_> = self.words.clone().collect();
        let statement = match name.as_str() {
            "ACCEPT" => json!({"accept": null}),
            "DROP" => json!({"drop": null}),
            "REJECT" => json!({"reject": null}),
            "RETURN" => json!({"return": null}),
            "NOTRACK" => json!({"notrack": null}),
            "CT" if rest.iter().any(|word| *word == "--notrack") => json!({"notrack": null}),
            // A chain that is not there leaves it unclear.
            name if name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) => {
                json!({"xt": {"type": "target", "name": name}})
            }
            name => json!({"jump": {"target": name}}),
        };
        self.statements.push(statement);
        // What follows belongs to the target.
        self.words.by_ref().for_each(drop);
    }
}

/// `PORT` or `FIRST:LAST`.
fn ports(text: &str) -> Value {
    let number = |text: &str, otherwise: u16| if text.is_empty() { Some(otherwise) } else { text.parse::<u16>().ok() };
    let read = match text.split_once(':') {
        Some((first, last)) => number(first, 0).zip(number(last, u16::MAX)).map(|(a, b)| json!({"range": [a, b]})),
        None => number(text, 0).map(|port| json!(port)),
    };
    // A service's name: no number equals it, and nobody knows.
    read.unwrap_or_else(|| json!(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_may_be_quoted() {
        assert_eq!(words(r#"-A X -m comment --comment "a \"b\" c" -j LOG"#).get(5).unwrap(), r#"a "b" c"#);
        assert_eq!(words("  -A   X ").len(), 2);
    }

    #[test]
    fn chains_have_their_tables_policies_and_rules() {
        let chains = read(
            "# Generated\n*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -j NOTRACK\nCOMMIT\n*filter\n\
             :INPUT DROP [0:0]\n:mine - [0:0]\n-A INPUT -s 10.0.0.0/8 ! -i wg+ -j mine\n\
             -A mine -p udp -m multiport --dports 7405,20000:32767 -j ACCEPT\nnonsense\n",
        );
        let seen: Vec<_> =
            chains.iter().map(|c| (c.name.as_str(), c.policy.as_str(), c.hook(), c.rules.len())).collect();
        assert_eq!(
            seen,
            [
                ("PREROUTING", "ACCEPT", Some(("prerouting", -300)), 1),
                ("INPUT", "DROP", Some(("input", 0)), 1),
                ("mine", "-", None, 1)
            ]
        );
        let text = |chain: usize| serde_json::to_string(&chains[chain].rules[0]).unwrap();
        assert!(text(0).contains("notrack"));
        assert!(text(1).contains(r#""len":8"#) && text(1).contains("wg*") && text(1).contains("!="), "{}", text(1));
        assert!(text(2).contains("[20000,32767]"), "{}", text(2));
    }

    #[test]
    fn what_is_not_known_is_a_match_that_nobody_knows() {
        let chains = read("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m recent --rcheck --seconds 60 --name x -j DROP\n");
        let rule = &chains[0].rules[0];
        assert!(rule.iter().any(|statement| statement["xt"]["name"] == "recent"), "{rule:?}");
        assert_eq!(rule.last().unwrap(), &json!({"drop": null}));
    }
}
