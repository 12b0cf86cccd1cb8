//! `gaung doctor`: examines this machine's network and prints the report.

use std::{net::IpAddr, time::Duration};

use gaung_client::{Client, ClientError, Format, GroupInfo, Settings};
use gaung_doctor::{Diagnosis, Examination, KnownGroup, KnownServer, PeerChoice, ServerFacts, ServerProof, Severity};
use gaung_net::interface::interfaces;
use gaung_terminal::style::Style;
use tokio::{net::lookup_host, time::timeout};

use crate::{
    cli::doctor::DoctorArgs,
    context::Context,
    failure::FaultsFound,
    output::{Output, on_terminal},
    stop,
};

/// How long a server may take to list its groups.
const LIST_TIMEOUT: Duration = Duration::from_secs(4);

/// Examines this machine, and prints the report.
///
/// # Errors
/// [`FaultsFound`] if it found faults; the error of the system if nothing can be examined.
pub(crate) async fn run(context: &Context, args: DoctorArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    stop::on_hangup(&stop, stop::TerminalUse::OutputOnly)?;
    let examination = Examination {
        iface: context.iface.clone(),
        quick: args.quick,
        peer: args.peer.map(|host| PeerChoice { host, port: args.peer_port }),
    };
    let diagnosis = Diagnosis::examine(examination, known_server(context), stop).await?;
    let mut output = Output::new();
    if args.json {
        output.line(&diagnosis.json())?;
    } else {
        let style = Style::for_terminal(on_terminal());
        diagnosis.lines(style).iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()?;
    match diagnosis.worst() {
        None | Some(Severity::Note) => Ok(()),
        Some(Severity::Warning) => Err(FaultsFound::Warnings.into()),
        Some(Severity::Problem) => Err(FaultsFound::Problems.into()),
    }
}

/// Looks at the server as a client that leaves no trace.
async fn known_server(context: &Context) -> KnownServer {
    let looking = async {
        let client = match Client::look(context.settings()).await {
            Ok(client) => client,
            Err(error) => return KnownServer { security: refused_security(&error), groups: Err(error.to_string()) },
        };
        let security = Some(security_of(&client).await);
        let groups = client.groups().await;
        KnownServer { groups: groups.map(|all| with_datagrams(&all)).map_err(|error| error.to_string()), security }
    };
    let late = || KnownServer { groups: Err("the server did not answer in time".to_owned()), security: None };
    timeout(LIST_TIMEOUT, looking).await.unwrap_or_else(|_| late())
}

/// Returns the groups whose datagrams are recognised by their header.
fn with_datagrams(groups: &[GroupInfo]) -> Vec<KnownGroup> {
    let ours = groups.iter().filter(|group| group.format == Format::Proto && !group.private);
    let known = |group: &GroupInfo| {
        let address = group.heard_at()?.socket_addr();
        Some(KnownGroup { name: group.name.to_string(), address, tag: group.tag() })
    };
    ours.filter_map(known).collect()
}

async fn security_of(client: &Client) -> ServerFacts {
    let address = client.server();
    let proof = match client.site() {
        Some(_) => ServerProof::Site { certificate_age: client.certificate_age() },
        None => ServerProof::NotAsked,
    };
    ServerFacts { takes_plaintext: takes_plaintext(&address).await, address, proof }
}

/// Returns what the failure to connect says of the server's security.
fn refused_security(error: &ClientError) -> Option<ServerFacts> {
    let (address, proof) = if let ClientError::OtherSite { address, shown, expected } = error {
        let expected = expected.iter().map(ToString::to_string).collect();
        (address, ServerProof::OtherSite { shown: shown.to_string(), expected })
    } else if let ClientError::NoTls(address) = error {
        (address, ServerProof::NoTls)
    } else {
        return None;
    };
    Some(ServerFacts { address: address.clone(), proof, takes_plaintext: false })
}

/// Tries to connect to the server without TLS, unless it is on this machine, which may.
async fn takes_plaintext(address: &str) -> bool {
    let own = interfaces().unwrap_or_default();
    let is_own = |ip: IpAddr| {
        ip.is_loopback() || own.iter().flat_map(|interface| &interface.addresses).any(|own| IpAddr::V4(own.ip) == ip)
    };
    let Ok(mut addresses) = lookup_host(address).await else { return false };
    if addresses.any(|address| is_own(address.ip())) {
        return false;
    }
    // A folder that knows no site, for the attempt would be refused here where one is known; it is not made.
    let settings =
        Settings { server: Some(address.to_owned()), insecure: true, ..Settings::new("/nonexistent/gaung-doctor") };
    match Client::look(settings).await {
        Ok(client) => client.groups().await.is_ok(),
        Err(_) => false,
    }
}
