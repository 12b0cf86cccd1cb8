//! Makes findings of facts, without I/O, so that a recorded network is judged like a live one.

mod addressing;
mod choice;
mod filter;
mod groups;
mod host;
mod membership;
mod peer;
mod server;
#[cfg(test)]
mod tests;

use gaung_net::interface::ChosenLinks;

use super::{
    facts::{Facts, InterfaceFacts, ProbeFacts},
    finding::{Finding, Trouble},
};

/// Returns all findings, the worst first, otherwise in the order of the interfaces.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Findings::default();
    choice::judge(facts, &mut findings);
    if let Ok(chosen) = facts.chosen() {
        for used in used(facts, &chosen) {
            addressing::judge(facts, &used, &mut findings);
            filter::judge(facts, &used, &mut findings);
            membership::judge(facts, &used, &mut findings);
        }
        host::judge(facts, &chosen, &mut findings);
    }
    server::judge(facts, &mut findings);
    peer::judge(facts, &mut findings);
    let mut all = findings.all;
    all.sort_by_key(|finding| std::cmp::Reverse(finding.trouble.severity()));
    all
}

/// An interface that Gaung uses.
struct Used<'a> {
    interface: &'a InterfaceFacts,
    /// `None` only where facts were not gathered to the end.
    probe: Option<&'a ProbeFacts>,
}

fn used<'a>(facts: &'a Facts, chosen: &ChosenLinks) -> Vec<Used<'a>> {
    let interfaces = chosen.links.iter().filter_map(|link| facts.of_link(link));
    interfaces.map(|interface| Used { interface, probe: interface.probe.as_ref() }).collect()
}

#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    fn of_machine(&mut self, trouble: Trouble) {
        self.all.push(Finding { interface: None, trouble });
    }

    fn at(&mut self, interface: &InterfaceFacts, trouble: Trouble) {
        self.all.push(Finding { interface: Some(interface.name.clone()), trouble });
    }
}
