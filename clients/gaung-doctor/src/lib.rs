//! Examines what this machine's network does to multicast and broadcast, and says what fixes it.
//!
//! [`gather`] looks and makes [`facts`] of what it sees; [`rules`] make [`finding`]s of facts and do no I/O; [`words`]
//! say them; [`report`] lays them out. [`peer`] tests with another
//! machine's doctor.
//!
//! Facts come from `/sys`, `/proc` and sockets ([`gaung_net::probe`]), the packet filter's rules from
//! `nft -j list ruleset`, those of iptables' extensions and of the older iptables from `iptables-save`. Most tests are on
//! recorded facts.
//!
//! - **[`firewall`] walks the rules with packets like Gaung's and says only what is certain.** A statement, a field or an
//!   extension that it does not know may match or not: the packet's fate is then unclear, with the first rule that perhaps
//!   drops it, and the trial decides; what nothing tried out is a note.
//! - **The kernel loops our own multicast back through the input filters**, as if it had come in by the interface, so one
//!   machine can test whether it would receive others'. Where rule and trial both speak the trial is right: what came back
//!   was not dropped. Its silence counts only if others' datagrams are not known to pass: the own copy has no Ethernet
//!   header and keeps the connection that it was sent in, so that rules about these drop it alone.
//! - **One sample does not stand for all.** Rules and routes are evaluated for neighbours all over the network, for every port
//!   and address of groups that the rules tell apart, and for a server's real groups.
//! - **A querier is provoked.** Queries come every 125 s, but a member that leaves is asked after at once (RFC 3376, 6.4.2). A
//!   second group with the same Ethernet address stays joined meanwhile, or the card would filter the answer; the first is
//!   joined again at once, for the system takes in only queries of its groups. Packet sockets before the filters and a raw
//!   socket behind them tell a query that does not come from one that is dropped.
//! - **No querier is a warning, and only after 125 s**: from one machine nobody can see whether a switch snoops.
//! - **Interrupting makes no finding**: what had no time to be seen is left out.
//! - **Two doctors** talk in JSON lines over TCP and send bursts by Gaung's own ports, so that a filter treats the test as it
//!   treats Gaung.

mod facts;
mod finding;
mod firewall;
mod gather;
mod peer;
mod report;
mod rules;
mod words;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::SocketAddrV4,
};

use anyhow::Context as _;
use gaung_net::{
    discovery::{Discovery, FoundService, discover},
    interface::{Link, choose, interfaces},
    probe::AnswerTap,
};
use gaung_proto::ports;
use gaung_terminal::style::Style;
use tokio_util::sync::CancellationToken;

use self::{
    facts::{DiscoveryFacts, Facts},
    finding::Finding,
    gather::Look,
    report::Report,
};

pub use facts::{ServerFacts, ServerProof};
pub use finding::Severity;
pub use gather::KnownGroup;

/// What to examine.
#[derive(Debug)]
pub struct Examination {
    /// The interface that was asked for, by name or IPv4 address; `None`: every one that is fit for multicast.
    pub iface: Option<String>,
    /// Whether not to wait for an IGMP querier that does not respond at once.
    pub quick: bool,
    /// Whether to test with another doctor, and how it is found.
    pub peer: Option<PeerChoice>,
}

/// A server as a client sees it.
#[derive(Debug)]
pub struct KnownServer {
    /// Its groups, or why they are not known.
    pub groups: Result<Vec<KnownGroup>, String>,
    /// Its security; `None` if it was not reached.
    pub security: Option<ServerFacts>,
}

/// How two doctors find each other.
#[derive(Debug)]
pub struct PeerChoice {
    /// The host of the one that waits; `None`: this one waits.
    pub host: Option<String>,
    /// The TCP port of the one that waits.
    pub port: u16,
}

/// The facts of a machine and the findings made of them.
#[derive(Debug)]
pub struct Diagnosis {
    facts: Facts,
    findings: Vec<Finding>,
}

impl Diagnosis {
    /// Examines this machine, for a few seconds, or up to 125 s where no querier responds. Once `stop` is cancelled it
    /// ends with what it has. `server`: what a client sees of a server.
    ///
    /// # Errors
    /// If the system does not list its interfaces, or the port for the other doctor cannot be had.
    pub async fn examine(
        examination: Examination,
        server: impl Future<Output = KnownServer>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let Examination { iface: wanted, quick, peer } = examination;
        let (KnownServer { groups, security }, (discovery, copies)) = tokio::join!(server, search(wanted.as_deref()));
        let looking = tokio::task::spawn_blocking(move || {
            let stopped = || stop.is_cancelled();
            let peer = match peer {
                None => None,
                Some(PeerChoice { host: Some(host), port }) => Some(peer::call(&host, port)),
                Some(PeerChoice { host: None, port }) => peer::wait(port, &stopped)?,
            };
            let facts = gather::gather(Look { wanted, quick, groups, discovery, copies, stopped: &stopped })?;
            anyhow::Ok(Facts { peer, server: security, ..facts })
        });
        let facts = looking.await.context("the doctor failed")??;
        let findings = rules::judge(&facts);
        Ok(Self { facts, findings })
    }

    /// The worst finding.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.report().worst()
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        self.report().json()
    }

    /// The report as lines for people.
    #[must_use]
    pub fn lines(&self, style: Style) -> Vec<String> {
        self.report().lines(style)
    }

    fn report(&self) -> Report<'_> {
        Report::new(&self.facts, self.findings.clone())
    }
}

/// Searches for servers. Returns which answers came in, `None` where packets cannot be captured before the filter, and
/// which servers are copies of each other.
async fn search(wanted: Option<&str>) -> (Option<DiscoveryFacts>, Vec<Vec<SocketAddrV4>>) {
    let links = interfaces().ok().and_then(|list| choose(&list, wanted).ok()).map(|chosen| chosen.links);
    let Some(links) = links else { return (None, Vec::new()) };
    let tap = AnswerTap::open(ports::DISCOVERY).ok();
    let Ok(found) = discover(&Discovery::registries(links.clone())).await else { return (None, Vec::new()) };
    (tap.map(|tap| answers(tap, &links, &found)), copies(&found))
}

/// Returns the processes that share one identity. A process answers from all of its addresses with the same instance.
fn copies(found: &[FoundService]) -> Vec<Vec<SocketAddrV4>> {
    let mut of_identity: BTreeMap<_, Vec<SocketAddrV4>> = BTreeMap::new();
    for server in found {
        of_identity.entry(server.id).or_default().extend(server.addresses.first());
    }
    of_identity.into_values().filter(|servers| servers.len() > 1).collect()
}

fn answers(mut tap: AnswerTap, links: &[Link], found: &[FoundService]) -> DiscoveryFacts {
    let own: Vec<_> = links.iter().map(|link| link.ip).collect();
    // Loopback is searched too, and answers whatever the network does.
    let elsewhere = |found: &FoundService| {
        found.addresses.iter().any(|address| !own.contains(address.ip()) && !address.ip().is_loopback())
    };
    let found = found.iter().filter(|found| elsewhere(found)).count();
    DiscoveryFacts { arrived: tap.count(&own), found: u32::try_from(found).unwrap_or(u32::MAX) }
}

/// Writes a line for the person to stderr; a closed stderr is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
