//! Walks a packet through the chains of its hooks.

use serde_json::Value;

use super::{Base, Chain, Culprit, Direction, LEGACY, Packet, Rule, Ruleset, Tracking, matching};

/// The verdict on a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// No rule drops it.
    Passes,
    /// It is certainly dropped.
    Dropped(Culprit),
    /// The verdict depends on what is not known beforehand. With the first rule or policy that may drop it, if any.
    Unclear(Option<Culprit>),
}

/// Deepest call of chains, as in the kernel; deeper ones are not followed.
const DEEPEST: usize = 16;

pub(super) fn fate(ruleset: &Ruleset, packet: &Packet<'_>) -> Fate {
    let hooks: [&str; 3] = match packet.direction {
        Direction::In => ["ingress", "prerouting", "input"],
        Direction::Out => ["output", "postrouting", "egress"],
    };
    let mut walk = Walk { ruleset, packet: *packet, clear: true, suspect: None };
    for hook in hooks {
        let mut attached: Vec<_> =
            ruleset.chains.iter().filter_map(|chain| Some((chain, at(chain, hook, packet)?))).collect();
        attached.sort_by_key(|(_, base)| base.priority);
        for (chain, base) in attached {
            match walk.chain(chain, 0) {
                End::Accepted | End::Unclear => {}
                End::Dropped(culprit) => return Fate::Dropped(culprit),
                End::Fell { sure: true } if base.drops => return Fate::Dropped(chain.culprit(None)),
                End::Fell { sure: false } if base.drops => walk.suspect(chain.culprit(None)),
                End::Fell { .. } => {}
            }
        }
    }
    if walk.clear { Fate::Passes } else { Fate::Unclear(walk.suspect) }
}

fn at<'a>(chain: &'a Chain, hook: &str, packet: &Packet<'_>) -> Option<&'a Base> {
    let base = chain.base.as_ref().filter(|base| base.hook == hook)?;
    let of_ipv4 = matches!(chain.family.as_str(), "ip" | "inet" | "netdev" | LEGACY);
    let of_interface = base.devices.is_empty() || base.devices.iter().any(|device| device == packet.interface);
    (of_ipv4 && of_interface).then_some(base)
}

/// How a walk through one chain ends.
enum End {
    Accepted,
    Dropped(Culprit),
    /// No rule decided; if not `sure`, a rule may have accepted the packet.
    Fell {
        sure: bool,
    },
    /// The verdict is not known.
    Unclear,
}

/// The state of a walk through all chains.
struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: Packet<'a>,
    /// Whether no unknown rule may have dropped the packet.
    clear: bool,
    suspect: Option<Culprit>,
}

impl<'a> Walk<'a> {
    fn suspect(&mut self, culprit: Culprit) {
        self.clear = false;
        self.suspect.get_or_insert(culprit);
    }

    fn chain(&mut self, chain: &Chain, depth: usize) -> End {
        if depth > DEEPEST {
            self.clear = false;
            return End::Unclear;
        }
        // A rule that perhaps let the packet pass makes every later drop unsure, but no later acceptance.
        let mut sure = true;
        for rule in &chain.rules {
            match self.says(chain, rule) {
                Says::Nothing => {}
                Says::Perhaps { drops } => {
                    if drops {
                        self.suspect(chain.culprit(rule.handle));
                    } else {
                        sure = false;
                    }
                }
                Says::Stolen => {
                    self.clear = false;
                    sure = false;
                }
                Says::Accept => return End::Accepted,
                Says::Drop if sure => return End::Dropped(chain.culprit(rule.handle)),
                Says::Drop => {
                    self.suspect(chain.culprit(rule.handle));
                    return End::Unclear;
                }
                Says::Return => return End::Fell { sure },
                Says::Call { target, back, matches } => {
                    let Some(called) = self.ruleset.called(chain, &target) else {
                        self.clear = false;
                        return End::Unclear;
                    };
                    let certain = matches && sure;
                    match self.chain(called, depth + 1) {
                        End::Accepted if matches => return End::Accepted,
                        End::Accepted => sure = false,
                        End::Dropped(culprit) if certain => return End::Dropped(culprit),
                        End::Dropped(culprit) => {
                            self.suspect(culprit);
                            if matches {
                                return End::Unclear;
                            }
                        }
                        End::Fell { sure: came_back } if back => sure &= came_back,
                        End::Fell { sure: came_back } if matches => return End::Fell { sure: sure && came_back },
                        // It perhaps went there for good.
                        End::Fell { .. } => sure = false,
                        End::Unclear if matches && !back => return End::Unclear,
                        End::Unclear => sure = false,
                    }
                }
            }
        }
        End::Fell { sure }
    }
}

/// The verdict of one rule.
enum Says {
    /// The rule does not match, or has no verdict.
    Nothing,
    /// The rule may match; then it drops the packet, or ends this chain in another way.
    Perhaps {
        drops: bool,
    },
    /// The rule may hand the packet to another program, or change it.
    Stolen,
    Accept,
    Drop,
    Return,
    /// The rule calls another chain: whether the walk returns from it, and whether the rule matches for certain.
    Call {
        target: String,
        back: bool,
        matches: bool,
    },
}

/// Whether evaluation goes on after a statement.
enum Passage {
    Goes,
    Stops,
    NotKnown,
}

impl Walk<'_> {
    fn says(&mut self, chain: &Chain, rule: &Rule) -> Says {
        let mut sure = true;
        for statement in &rule.statements {
            let Some((kind, content)) = statement.as_object().and_then(|object| object.iter().next()) else { continue };
            let passage = match kind.as_str() {
                "match" => match matching::holds(self.ruleset, chain, &self.packet, content) {
                    Some(true) => Passage::Goes,
                    Some(false) => Passage::Stops,
                    None => Passage::NotKnown,
                },
                "vmap" => return self.by_map(chain, content, sure),
                "notrack" => {
                    self.untrack(sure);
                    Passage::Goes
                }
                "xt" => match extension(content) {
                    Extension::Passage(passage) => passage,
                    Extension::Untracks => {
                        self.untrack(false);
                        Passage::Goes
                    }
                    Extension::Drops => return verdict(Says::Drop, sure),
                    Extension::Steals => return Says::Stolen,
                },
                "queue" | "tproxy" | "fwd" | "synproxy" => return Says::Stolen,
                "mangle" if changes_way(&content["key"]) => return Says::Stolen,
                _ => match verdict_of(statement, sure) {
                    Some(verdict) => return verdict,
                    None => condition(kind, content),
                },
            };
            match passage {
                Passage::Goes => {}
                Passage::Stops => return Says::Nothing,
                Passage::NotKnown => sure = false,
            }
        }
        Says::Nothing
    }

    fn by_map(&self, chain: &Chain, vmap: &Value, sure: bool) -> Says {
        let Some(pairs) = matching::pairs(self.ruleset, chain, vmap) else { return Says::Stolen };
        match matching::mapped(self.ruleset, chain, &self.packet, &vmap["key"], pairs) {
            Some(Some(verdict)) => verdict_of(verdict, sure).unwrap_or(Says::Nothing),
            Some(None) => Says::Nothing,
            // Whichever it is: one that drops is what matters.
            None => {
                let kinds = || pairs.iter().filter_map(|pair| verdict_of(pair.get(1)?, false));
                let drops = kinds().any(|says| matches!(says, Says::Perhaps { drops: true }));
                if drops { Says::Stolen } else { Says::Perhaps { drops: false } }
            }
        }
    }

    /// Makes the packet untracked. The looped copy of an own packet stays in its connection.
    fn untrack(&mut self, sure: bool) {
        if !self.packet.looped {
            self.packet.tracking = if sure { Tracking::Untracked } else { Tracking::Unknown };
        }
    }
}

/// Returns the verdict of a statement, if it is one.
fn verdict_of(statement: &Value, sure: bool) -> Option<Says> {
    let (kind, content) = statement.as_object()?.iter().next()?;
    let says = match kind.as_str() {
        "accept" => Says::Accept,
        "drop" | "reject" => Says::Drop,
        "return" => Says::Return,
        "continue" => Says::Nothing,
        "jump" | "goto" => {
            Says::Call { target: content["target"].as_str()?.to_owned(), back: kind == "jump", matches: true }
        }
        _ => return None,
    };
    Some(verdict(says, sure))
}

fn verdict(says: Says, sure: bool) -> Says {
    match says {
        says if sure => says,
        Says::Drop => Says::Perhaps { drops: true },
        Says::Call { target, back, .. } => Says::Call { target, back, matches: false },
        Says::Accept | Says::Return => Says::Perhaps { drops: false },
        Says::Nothing | Says::Perhaps { .. } | Says::Stolen => says,
    }
}

/// Evaluates a statement that is neither match nor verdict. An unknown one may stop the rule.
fn condition(kind: &str, content: &Value) -> Passage {
    match kind {
        "counter" | "log" | "comment" | "last" | "mangle" | "flow" | "dup" | "secmark" | "ct helper" | "ct timeout"
        | "ct expectation" => Passage::Goes,
        // Within the limit: what goes beyond is meant for floods.
        "limit" | "ct count" => {
            if content["inv"] == true {
                Passage::Stops
            } else {
                Passage::Goes
            }
        }
        "quota" => match spent(content) {
            Some(spent) if spent == (content["inv"] == true) => Passage::Goes,
            Some(_) => Passage::Stops,
            None => Passage::NotKnown,
        },
        // The packet's address is put into a set, on a condition that each element has for itself.
        "set" | "map" | "meter" => {
            let of_element = match (content["stmt"].as_array(), content.get("stmt")) {
                (Some(several), _) => several.as_slice(),
                (None, Some(one)) => std::slice::from_ref(one),
                (None, None) => &[],
            };
            let conditions = of_element.iter().filter_map(|statement| statement.as_object()?.iter().next());
            let passages: Vec<_> = conditions.map(|(kind, content)| condition(kind, content)).collect();
            if passages.iter().any(|passage| matches!(passage, Passage::Stops)) {
                Passage::Stops
            } else if passages.iter().any(|passage| matches!(passage, Passage::NotKnown)) {
                Passage::NotKnown
            } else {
                Passage::Goes
            }
        }
        _ => Passage::NotKnown,
    }
}

/// Returns whether the quota is used up; `None` if it is defined elsewhere.
fn spent(quota: &Value) -> Option<bool> {
    let bytes = |number: &Value, unit: &Value| {
        let factor = match unit.as_str() {
            Some("bytes") | None => 1,
            Some("kbytes") => 1 << 10,
            Some("mbytes") => 1 << 20,
            Some("gbytes") => 1 << 30,
            Some(_) => return None,
        };
        number.as_u64()?.checked_mul(factor)
    };
    let all = bytes(&quota["val"], &quota["val_unit"])?;
    // Nothing was counted where nothing is said.
    let used = if quota["used"].is_null() { 0 } else { bytes(&quota["used"], &quota["used_unit"])? };
    Some(used >= all)
}

/// Returns whether a statement changes addresses or ports; a mark or priority does not redirect a packet by itself.
fn changes_way(key: &Value) -> bool {
    let field = key["payload"]["field"].as_str();
    key.get("payload").is_some() && !matches!(field, Some("dscp" | "ecn" | "ttl" | "checksum" | "length" | "id"))
}

/// The effect of an iptables extension, as far as its name tells.
enum Extension {
    Passage(Passage),
    Untracks,
    Drops,
    Steals,
}

fn extension(content: &Value) -> Extension {
    let name = content["name"].as_str().unwrap_or_default();
    match (content["type"].as_str(), name) {
        (Some("match"), "comment") => Extension::Passage(Passage::Goes),
        (Some("match"), _) => Extension::Passage(Passage::NotKnown),
        (_, "REJECT" | "DROP") => Extension::Drops,
        (_, "CT" | "NOTRACK") => Extension::Untracks,
        (
            _,
            "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "TOS" | "DSCP" | "TTL" | "TCPMSS" | "CLASSIFY" | "SET"
            | "CHECKSUM" | "SECMARK" | "CONNSECMARK" | "AUDIT" | "TRACE" | "IDLETIMER" | "LED" | "RATEEST",
        ) => Extension::Passage(Passage::Goes),
        _ => Extension::Steals,
    }
}
