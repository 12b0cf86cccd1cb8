//! `gaung doctor`: examines this machine's network and prints the report.

use std::time::Duration;

use gaung_client::{Client, Format, GroupInfo};
use gaung_doctor::{Diagnosis, Examination, KnownGroup, PeerChoice, Severity};
use gaung_terminal::style::Style;
use tokio::time::timeout;

use crate::{
    cli::doctor::DoctorArgs,
    context::Context,
    failure::Unwell,
    output::{Output, on_terminal},
    stop,
};

/// Longest wait for a server, if there is one, to list its groups.
const ASKING: Duration = Duration::from_secs(4);

/// Examines, and prints the report.
///
/// # Errors
/// [`Unwell`] if something is not as it should be; what the system says if it cannot be examined at all.
pub(crate) async fn run(context: &Context, args: DoctorArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    stop::on_hangup(&stop, stop::Serves::Screen)?;
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
        Some(Severity::Warning) => Err(Unwell::Warnings.into()),
        Some(Severity::Problem) => Err(Unwell::Problems.into()),
    }
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
