//! `gaung history`: prints messages from a group's log.

use gaung_client::{HistoryPage, Lane};
use gaung_proto::Seq;

use crate::{
    cli::talk::HistoryArgs,
    context::Context,
    output::Output,
    render::{json, line::ReceivedMessage, time::rfc3339_us},
};

/// Prints the messages; for people `SEQ TIME NAME: text`, with tabs between the first three.
///
/// # Errors
/// [`gaung_client::ClientError`].
pub(crate) async fn run(context: &Context, args: HistoryArgs) -> anyhow::Result<()> {
    let client = context.connect().await?;
    let page = match (args.from, args.before) {
        (Some(from), _) => HistoryPage::From(from),
        (None, Some(before)) => HistoryPage::Before(before),
        (None, None) if args.limit.is_some() => HistoryPage::NEWEST,
        (None, None) => HistoryPage::From(Seq::ZERO),
    };
    let group = client.group(&args.group).await?;
    let mut history = client.history(&args.group, page, args.limit).await?;
    let mut output = Output::new();
    while let Some(next) = history.next().await {
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                output.flush()?;
                return Err(error.into());
            }
        };
        let received = ReceivedMessage {
            group: group.name.to_string(),
            group_id: Some(group.id),
            message: next.message,
            content: next.content,
            lane: Lane::History,
        };
        let line = match args.json {
            true => json::message(&received),
            false => {
                format!("{}\t{}\t{}", received.message.seq, rfc3339_us(received.message.sent_at), received.plain())
            }
        };
        output.line(&line)?;
    }
    output.flush()
}
