//! A packet's way through the chains of its hooks.

use serde_json::Value;

use super::{Base, Chain, Culprit, Direction, Packet, Rule, Ruleset, matching};

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// No rule drops it.
    Passes,
    /// It is certainly dropped.
    Dropped(Culprit),
    /// It depends on what is not known beforehand.
    Unclear,
}

/// Chains that call each other in a ring are no valid rules; deeper than the kernel allows is not followed.
const DEEPEST: usize = 16;

pub(super) fn fate(ruleset: &Ruleset, packet: &Packet<'_>) -> Fate {
    let hooks: [&str; 3] = match packet.direction {
        Direction::In => ["ingress", "prerouting", "input"],
        Direction::Out => ["output", "postrouting", "egress"],
    };
    let mut clear = true;
    for hook in hooks {
        let mut attached: Vec<_> =
            ruleset.chains.iter().filter_map(|chain| Some((chain, at(chain, hook, packet)?))).collect();
        attached.sort_by_key(|(_, base)| base.priority);
        for (chain, base) in attached {
            match walk(ruleset, chain, packet, 0) {
                End::Accepted => {}
                End::Dropped(culprit) => return Fate::Dropped(culprit),
                End::Fell if base.drops => return Fate::Dropped(chain.culprit(None)),
                End::Fell => {}
                End::Unclear => clear = false,
            }
        }
    }
    if clear { Fate::Passes } else { Fate::Unclear }
}

fn at<'a>(chain: &'a Chain, hook: &str, packet: &Packet<'_>) -> Option<&'a Base> {
    let base = chain.base.as_ref().filter(|base| base.hook == hook)?;
    let of_ipv4 = matches!(chain.family.as_str(), "ip" | "inet" | "netdev");
    let of_interface = base.devices.is_empty() || base.devices.iter().any(|device| device == packet.interface);
    (of_ipv4 && of_interface).then_some(base)
}

/// How a walk through one chain ends.
enum End {
    Accepted,
    Dropped(Culprit),
    /// No rule decided.
    Fell,
    Unclear,
}

fn walk(ruleset: &Ruleset, chain: &Chain, packet: &Packet<'_>, depth: usize) -> End {
    if depth > DEEPEST {
        return End::Unclear;
    }
    // A rule that perhaps let the packet pass makes every later drop unsure, but no later acceptance.
    let mut unsure = false;
    let drop = |culprit, unsure| if unsure { End::Unclear } else { End::Dropped(culprit) };
    let fall = |unsure| if unsure { End::Unclear } else { End::Fell };
    for rule in &chain.rules {
        match says(ruleset, chain, packet, rule) {
            Says::Nothing => {}
            Says::Perhaps => unsure = true,
            Says::Accept => return End::Accepted,
            Says::Drop => return drop(chain.culprit(rule.handle), unsure),
            Says::Return => return fall(unsure),
            Says::Call { target, back } => {
                let Some(called) = ruleset.called(chain, &target) else { return End::Unclear };
                match walk(ruleset, called, packet, depth + 1) {
                    End::Accepted => return End::Accepted,
                    End::Dropped(culprit) => return drop(culprit, unsure),
                    End::Fell if back => {}
                    End::Fell => return fall(unsure),
                    End::Unclear if back => unsure = true,
                    End::Unclear => return End::Unclear,
                }
            }
        }
    }
    fall(unsure)
}

/// What one rule says of a packet.
enum Says {
    /// It does not match, or has no verdict.
    Nothing,
    /// Something other than a drop, if it matches.
    Perhaps,
    Accept,
    Drop,
    Return,
    /// Another chain, and whether to come back from it.
    Call {
        target: String,
        back: bool,
    },
}

fn says(ruleset: &Ruleset, chain: &Chain, packet: &Packet<'_>, rule: &Rule) -> Says {
    let mut sure = true;
    for statement in &rule.statements {
        let Some((kind, content)) = statement.as_object().and_then(|object| object.iter().next()) else { continue };
        match kind.as_str() {
            "match" => match matching::holds(ruleset, chain, packet, content) {
                Some(true) => {}
                Some(false) => return Says::Nothing,
                None => sure = false,
            },
            // Within the limit; a rule that is for what goes beyond does not match.
            "limit" if content["inv"] == true => return Says::Nothing,
            "vmap" => match matching::mapped(ruleset, chain, packet, content) {
                Some(Some(verdict)) => return verdict_of(verdict, sure).unwrap_or(Says::Nothing),
                Some(None) => return Says::Nothing,
                None => return Says::Perhaps,
            },
            "xt" if content["type"] == "match" => sure = false,
            "xt" if content["name"] == "REJECT" => return if sure { Says::Drop } else { Says::Nothing },
            "queue" | "tproxy" | "fwd" | "synproxy" => return Says::Perhaps,
            _ => {
                if let Some(verdict) = verdict_of(statement, sure) {
                    return verdict;
                }
            }
        }
    }
    Says::Nothing
}

/// The verdict that a statement is, if it is one.
fn verdict_of(statement: &Value, sure: bool) -> Option<Says> {
    let (kind, content) = statement.as_object()?.iter().next()?;
    let verdict = match kind.as_str() {
        "accept" => Says::Accept,
        "drop" | "reject" => Says::Drop,
        "return" => Says::Return,
        "continue" => Says::Nothing,
        "jump" | "goto" => Says::Call { target: content["target"].as_str()?.to_owned(), back: kind == "jump" },
        _ => return None,
    };
    Some(match verdict {
        verdict if sure => verdict,
        // A drop that may not be: the next rules decide as far as can be known.
        Says::Drop | Says::Nothing => Says::Nothing,
        Says::Accept | Says::Return | Says::Call { .. } | Says::Perhaps => Says::Perhaps,
    })
}
