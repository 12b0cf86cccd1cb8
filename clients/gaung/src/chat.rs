//! `gaung chat`: the full screen on a terminal, the line chat where there is none or where it is asked for.

mod plain;

use std::io::{self, IsTerminal as _};

use gaung_chat::ScreenOptions;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::talk::{ChatArgs, LaneArg, LookArgs},
    context::Context,
    listen::lane_choice,
    stop,
};

/// Chats until told to stop.
///
/// # Errors
/// [`gaung_client::ClientError`] if the first connection fails; if the terminal cannot be used.
pub(crate) async fn run(context: &Context, args: ChatArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    stop::on_hangup(&stop, stop::Serves::Keyboard)?;
    if args.look.plain || args.udp_only.is_some() || !is_on_terminal() {
        return plain::run(context, args, &stop).await;
    }
    let lane = lane_choice(args.lane)?;
    let LookArgs { lang, theme: background, .. } = args.look;
    on_screen(context, ScreenOptions { groups: args.groups, lane, lang, background, ..ScreenOptions::default() }, &stop)
        .await
}

/// Chats in `everyone` until `stop` or `/quit`; `join_commands`: how others join.
///
/// # Errors
/// As [`run`].
pub(crate) async fn in_everyone(
    context: &Context,
    look: LookArgs,
    join_commands: Vec<String>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    if look.plain || !is_on_terminal() {
        let args = ChatArgs { groups: Vec::new(), lane: LaneArg::Auto, udp_only: None, look };
        return plain::run(context, args, stop).await;
    }
    let groups = vec![gaung_proto::name::EVERYONE.parse().expect("a valid name")];
    let LookArgs { lang, theme: background, .. } = look;
    on_screen(context, ScreenOptions { groups, lang, background, join_commands, ..ScreenOptions::default() }, stop)
        .await
}

async fn on_screen(context: &Context, options: ScreenOptions, stop: &CancellationToken) -> anyhow::Result<()> {
    let client = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        client = context.connect() => client?,
    };
    // What was asked for by name and does not exist is told before the screen is taken.
    for group in &options.groups {
        client.group(group).await?;
    }
    Box::pin(gaung_chat::run(client, options, stop)).await
}

/// Both ways lead to a terminal that can be steered.
fn is_on_terminal() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}
