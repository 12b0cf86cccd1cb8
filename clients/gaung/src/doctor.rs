//! `gaung doctor`: examines this machine's network and prints the report.

use std::time::Duration;

use gaung_client::{Client, Format, GroupInfo};
use gaung_doctor::{Diagnosis, Examination, KnownGroup, PeerChoice, Severity};
use gaung_terminal::style::Style;
use tokio::time::timeout;

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
    let diagnosis = Diagnosis::examine(examination, known_groups(context), stop).await?;
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

/// Returns the groups whose datagrams are recognised by their header, or why they are unknown.
async fn known_groups(context: &Context) -> Result<Vec<KnownGroup>, String> {
    let listing = async {
        let client = Client::look(context.settings()).await?;
        client.groups().await
    };
    let groups = match timeout(LIST_TIMEOUT, listing).await {
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
