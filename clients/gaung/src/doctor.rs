//! `gaung doctor`: what this machine's network does to multicast and broadcast, and what mends it.
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

use std::{collections::BTreeMap, net::SocketAddrV4, time::Duration};

use anyhow::Context as _;
use gaung_client::{Client, Format, GroupInfo};
use gaung_net::{
    discovery::{Discovery, Found, discover},
    interface::{Link, choose, interfaces},
    probe::AnswerTap,
};
use gaung_proto::ports;
use gaung_terminal::style::Style;
use tokio::time::timeout;

use self::{
    facts::{DiscoveryFacts, Facts},
    finding::Severity,
    gather::{KnownGroup, Look},
    report::Report,
};
use crate::{
    cli::doctor::DoctorArgs,
    context::Context,
    failure::Unwell,
    output::{Output, on_terminal},
    stop,
};

/// For asking a server, if there is one, which groups there are.
const ASKING: Duration = Duration::from_secs(4);

/// Looks, judges, tells.
///
/// # Errors
/// [`Unwell`] if something is not as it should be; what the system says if it cannot even be looked at.
pub(crate) async fn run(context: &Context, args: DoctorArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    stop::on_hangup(&stop, stop::Serves::Screen)?;
    let (groups, (discovery, copies)) = tokio::join!(known_groups(context), search(context.iface.as_deref()));
    let (wanted, quick) = (context.iface.clone(), args.quick);
    let (peer, peer_port) = (args.peer, args.peer_port);
    let looking = tokio::task::spawn_blocking(move || {
        let stopped = || stop.is_cancelled();
        let peer = match peer {
            None => None,
            Some(Some(host)) => Some(peer::call(&host, peer_port)),
            Some(None) => peer::wait(peer_port, &stopped)?,
        };
        let facts = gather::gather(Look { wanted, quick, groups, discovery, copies, stopped: &stopped })?;
        anyhow::Ok(Facts { peer, ..facts })
    });
    let facts = looking.await.context("the doctor failed")??;
    let report = Report::new(&facts, rules::judge(&facts));
    let mut output = Output::new();
    if args.json {
        output.line(&report.json())?;
    } else {
        let style = Style::for_terminal(on_terminal());
        report.lines(style).iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()?;
    match report.worst() {
        None | Some(Severity::Note) => Ok(()),
        Some(Severity::Warning) => Err(Unwell::Warnings.into()),
        Some(Severity::Problem) => Err(Unwell::Problems.into()),
    }
}

/// Searches for servers, and sees which answers come in, `None` where packets cannot be seen before the filter; and which
/// servers are copies of each other.
async fn search(wanted: Option<&str>) -> (Option<DiscoveryFacts>, Vec<Vec<SocketAddrV4>>) {
    let links = interfaces().ok().and_then(|list| choose(&list, wanted).ok()).map(|chosen| chosen.links);
    let Some(links) = links else { return (None, Vec::new()) };
    let tap = AnswerTap::open(ports::DISCOVERY).ok();
    let Ok(found) = discover(&Discovery::registries(links.clone())).await else { return (None, Vec::new()) };
    (tap.map(|tap| answers(tap, &links, &found)), copies(&found))
}

/// Different processes of one identity: a process answers from all of its addresses with the same instance.
fn copies(found: &[Found]) -> Vec<Vec<SocketAddrV4>> {
    let mut of_identity: BTreeMap<_, Vec<SocketAddrV4>> = BTreeMap::new();
    for server in found {
        of_identity.entry(server.id).or_default().extend(server.addresses.first());
    }
    of_identity.into_values().filter(|servers| servers.len() > 1).collect()
}

fn answers(mut tap: AnswerTap, links: &[Link], found: &[Found]) -> DiscoveryFacts {
    let own: Vec<_> = links.iter().map(|link| link.ip).collect();
    // Loopback is asked too, and answers however the network is.
    let elsewhere = |found: &Found| {
        found.addresses.iter().any(|address| !own.contains(address.ip()) && !address.ip().is_loopback())
    };
    let found = found.iter().filter(|found| elsewhere(found)).count();
    DiscoveryFacts { arrived: tap.count(&own), found: u32::try_from(found).unwrap_or(u32::MAX) }
}

/// The groups whose datagrams can be told from others' by their header; why they are not known, if they are not.
async fn known_groups(context: &Context) -> Result<Vec<KnownGroup>, String> {
    let asking = async {
        let client = Client::look(context.settings()).await?;
        client.groups().await
    };
    let groups = match timeout(ASKING, asking).await {
        Ok(groups) => groups.map_err(|error| error.to_string())?,
        Err(_) => return Err("the server did not answer in time".to_owned()),
    };
    let ours = groups.iter().filter(|group| group.format == Format::Proto && !group.private);
    let known = |group: &GroupInfo| {
        let address = group.heard_at()?.socket_addr();
        Some(KnownGroup { name: group.name.to_string(), address, tag: group.tag() })
    };
    Ok(ours.filter_map(known).collect())
}
