//! Formats findings and facts: lines for people, one JSON object for programs.

use gaung_terminal::{sanitise::one_line, style::Style, table::table};

#[cfg(test)]
mod tests;

use serde::Serialize;

use super::{
    facts::{Facts, InterfaceFacts, Kind, Passage, PeerFacts},
    finding::{Finding, Severity},
    words::{
        self, Mend, Words, kind_name,
        peer::{cast_name, percent},
        severity_name,
    },
};

/// The report.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    health: Health,
    interfaces: &'a [InterfaceFacts],
    findings: Vec<Told>,
    peer: Option<&'a PeerFacts>,
    not_looked_at: Vec<String>,
    /// Whether something was not examined because of which multicast or broadcast may fail.
    #[serde(skip)]
    incomplete: bool,
}

/// The overall result, as in the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Well,
    Warnings,
    Problems,
}

/// A finding with its description.
#[derive(Debug, Serialize)]
struct Told {
    code: &'static str,
    severity: Severity,
    interface: Option<String>,
    seen: String,
    means: String,
    /// A command line.
    mend: Option<String>,
    /// What a person can do where no command mends it.
    advice: Option<String>,
}

impl<'a> Report<'a> {
    /// Makes the report of the findings, in their order.
    pub(crate) fn new(facts: &'a Facts, findings: Vec<Finding>) -> Self {
        let findings: Vec<_> = findings.into_iter().map(Told::of).collect();
        let health = match findings.iter().map(|told| told.severity).max() {
            None | Some(Severity::Note) => Health::Well,
            Some(Severity::Warning) => Health::Warnings,
            Some(Severity::Problem) => Health::Problems,
        };
        let not_looked_at = facts.not_looked_at.iter().map(words::not_looked_at).collect();
        let hidden = facts.not_looked_at.iter().any(|unseen| unseen.what.may_hide_a_fault());
        let unclear = findings.iter().any(|told| told.code == "filter-unclear");
        let (interfaces, peer) = (facts.interfaces.as_slice(), facts.peer.as_ref());
        Self { health, interfaces, findings, peer, not_looked_at, incomplete: hidden || unclear }
    }

    /// Returns the worst severity.
    pub(crate) fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|told| told.severity).max()
    }

    /// Formats the report as one JSON object.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists of them are always JSON")
    }

    /// Formats the report as lines for a person.
    pub(crate) fn lines(&self, style: Style) -> Vec<String> {
        let mut lines = table(
            ["INTERFACE", "KIND", "STATE", "ADDRESS", "MTU", "IGMP", "MULTICAST", "QUERIER"],
            &self.interfaces.iter().map(row).collect::<Vec<_>>(),
        );
        if let Some(peer) = self.peer.filter(|peer| peer.failed.is_none()) {
            lines.push(String::new());
            lines.extend(peer_table(peer));
        }
        for told in &self.findings {
            lines.push(String::new());
            lines.extend(told.lines(style));
        }
        if !self.not_looked_at.is_empty() {
            lines.push(String::new());
            lines.extend(self.not_looked_at.iter().map(|text| style.dim(text)));
        }
        lines.push(String::new());
        lines.push(self.summary());
        lines
    }

    fn summary(&self) -> String {
        let count = |severity| self.findings.iter().filter(|told| told.severity == severity).count();
        let some = |severity: Severity| match count(severity) {
            0 => None,
            1 => Some(format!("1 {}", severity_name(severity))),
            several => Some(format!("{several} {}s", severity_name(severity))),
        };
        let all = [Severity::Problem, Severity::Warning, Severity::Note].into_iter().filter_map(some);
        let all = all.collect::<Vec<_>>().join(", ");
        match self.health {
            Health::Well if self.incomplete => {
                let all = if all.is_empty() { String::new() } else { format!(" ({all})") };
                format!(
                    "This machine receives its own multicast and broadcast{all}. Not everything was examined: see above."
                )
            }
            Health::Well if all.is_empty() => "Multicast and broadcast work here.".to_owned(),
            Health::Well => format!("Multicast and broadcast work here ({all})."),
            Health::Warnings | Health::Problems => format!("{all}."),
        }
    }
}

impl Told {
    fn of(finding: Finding) -> Self {
        let Words { seen, means, mend } = words::words(&finding);
        let (mend, advice) = match mend {
            Some(Mend::Command(line)) => (Some(line), None),
            Some(Mend::Advice(text)) => (None, Some(text)),
            None => (None, None),
        };
        let (code, severity) = (finding.trouble.code(), finding.trouble.severity());
        Self { code, severity, interface: finding.interface, seen, means, mend, advice }
    }

    fn lines(&self, style: Style) -> Vec<String> {
        let severity = severity_name(self.severity);
        let mut lines = vec![format!("{}  {}", style.name(severity, severity.as_bytes()), self.seen)];
        lines.push(format!("  means  {}", self.means));
        lines.extend(self.mend.iter().map(|command| format!("  mend   {command}")));
        lines.extend(self.advice.iter().map(|advice| format!("  do     {advice}")));
        lines
    }
}

fn peer_table(peer: &PeerFacts) -> Vec<String> {
    let row = |way: &str, passage: &Passage| {
        [
            format!("{way} {}", peer.host),
            cast_name(passage.cast).to_owned(),
            format!("{} of {}", passage.received, passage.sent),
            format!("{} %", percent(passage.lost_permille())),
            passage.reordered.to_string(),
            passage.duplicated.to_string(),
            passage.largest_bytes.to_string(),
        ]
    };
    let to = peer.to_peer.iter().map(|passage| row("to", passage));
    let from = peer.from_peer.iter().map(|passage| row("from", passage));
    let rows: Vec<_> = to.chain(from).collect();
    table(["PEER", "BY", "CAME", "LOST", "OVERTAKEN", "TWICE", "LARGEST"], &rows)
}

fn row(interface: &InterfaceFacts) -> [String; 8] {
    let state = match (interface.up, interface.running) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    };
    let addresses = interface.addresses.iter().map(|a| format!("{}/{}", a.ip, a.netmask.to_bits().count_ones()));
    let igmp = match (interface.igmp_version, interface.memberships.len()) {
        (None, _) => String::new(),
        (Some(version), 1) => format!("v{version}, 1 group"),
        (Some(version), groups) => format!("v{version}, {groups} groups"),
    };
    let multicast = match (interface.multicast, interface.kind) {
        (false, Kind::Loopback) | (true, _) if interface.probe.is_some() => "used",
        (false, Kind::Loopback) | (true, _) => "can",
        (false, _) => "off",
    };
    [
        one_line(&interface.name).into_owned(),
        kind_name(interface.kind).to_owned(),
        state.to_owned(),
        addresses.collect::<Vec<_>>().join(" "),
        interface.mtu.map(|mtu| mtu.to_string()).unwrap_or_default(),
        igmp,
        multicast.to_owned(),
        querier(interface),
    ]
}

fn querier(interface: &InterfaceFacts) -> String {
    let igmp = interface.probe.as_ref().and_then(|probe| probe.igmp.as_ref());
    match igmp.map(|igmp| (igmp.querier, igmp.whole_interval)) {
        None => String::new(),
        Some((Some(querier), _)) => format!("{} v{}", querier.from, querier.version),
        Some((None, true)) => "none".to_owned(),
        Some((None, false)) => "none yet".to_owned(),
    }
}
