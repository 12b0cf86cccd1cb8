//! `gaung history`: prints messages from a group's log.

use gaung_client::{HistoryPage, Lane};
use gaung_proto::Seq;

use crate::{
    cli::talk::HistoryArgs,
    context::Context,
    output::{Output, say},
    people::People,
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
    let mut history = client.history(&args.group, page, args.limit).await?;
    let (group, group_id) = (history.group().name.to_string(), history.group().id);
    let mut people = People::open(context, client.device_id())?;
    let mut output = Output::new();
    while let Some(next) = history.next().await {
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                output.flush()?;
                return Err(error.into());
            }
        };
        let mut received = ReceivedMessage {
            group: group.clone(),
            group_id: Some(group_id),
            message: next.message,
            content: next.content,
            lane: Lane::History,
            log: Some(next.log),
        };
        if received.content.kind.is_for_programs() && !args.json {
            continue;
        }
        if let Some(notice) = people.introduce(&mut received) {
            say(&notice);
        }
        let line = match args.json {
            true => json::message(&received, received.author_state().map(|state| people.state_name(state))),
            false => {
                format!("{}\t{}\t{}", received.message.seq, rfc3339_us(received.message.sent_at), received.plain())
            }
        };
        output.line(&line)?;
    }
    output.flush()
}
