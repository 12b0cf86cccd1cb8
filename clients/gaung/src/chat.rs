//! `gaung chat`: the full screen on a terminal, the line chat elsewhere and with `--plain`.

mod plain;

use std::io::{self, IsTerminal as _};

use gaung_chat::ScreenOptions;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::talk::{AppearanceArgs, ChatArgs, LaneArg},
    context::Context,
    listen::lane_choice,
    stop,
};

/// Runs a chat until a signal or `/quit`.
///
/// # Errors
/// [`gaung_client::ClientError`] if the first connection fails; if the terminal cannot be used.
pub(crate) async fn run(context: &Context, args: ChatArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    stop::on_hangup(&stop, stop::TerminalUse::Interactive)?;
    if args.look.plain || args.udp_only.is_some() || !is_on_terminal() {
        return plain::run(context, args, &stop).await;
    }
    let lane = lane_choice(args.lane)?;
    let AppearanceArgs { lang, theme: background, .. } = args.look;
    on_screen(context, ScreenOptions { groups: args.groups, lane, lang, background, ..ScreenOptions::default() }, &stop)
        .await
}

/// Runs a chat in `everyone` until `stop` or `/quit`; `join_commands` are shown to the person.
///
/// # Errors
/// As [`run`].
pub(crate) async fn in_everyone(
    context: &Context,
    look: AppearanceArgs,
    join_commands: Vec<String>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    if look.plain || !is_on_terminal() {
        let args = ChatArgs { groups: Vec::new(), lane: LaneArg::Auto, udp_only: None, look };
        return plain::run(context, args, stop).await;
    }
    let groups = vec![gaung_proto::name::EVERYONE.parse().expect("a valid name")];
    let AppearanceArgs { lang, theme: background, .. } = look;
    on_screen(context, ScreenOptions { groups, lang, background, join_commands, ..ScreenOptions::default() }, stop)
        .await
}

async fn on_screen(context: &Context, options: ScreenOptions, stop: &CancellationToken) -> anyhow::Result<()> {
    let client = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        client = context.connect() => client?,
    };
    // A group that does not exist is an error before the screen opens.
    for group in &options.groups {
        client.group(group).await?;
    }
    Box::pin(gaung_chat::run(client, options, stop)).await
}

/// Returns whether stdin and stdout are a terminal that can show a full screen.
fn is_on_terminal() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}
