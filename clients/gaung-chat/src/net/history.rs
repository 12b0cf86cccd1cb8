//! Reads pages of a group's log, and searches it.

use gaung_client::{Client, HiddenMessages, History, HistoryMessage, HistoryPage, Lane};
use gaung_proto::{GroupName, Kind, Seq};
use tokio::sync::mpsc;

use super::error_line;
use crate::{
    effect::{Input, PAGE},
    incoming::IncomingMessage,
};

/// How many messages a search reads at a time.
const STEP: u64 = 2_000;
/// How many matches end a search.
const MAX_MATCHES: usize = 200;

/// Reads one page, oldest message first.
pub(super) async fn page(
    client: &Client,
    group: &GroupName,
    page: HistoryPage,
) -> Result<Vec<IncomingMessage>, String> {
    let history = client.history(group, page, Some(PAGE)).await.map_err(|error| error_line(&error))?;
    all(history).await
}

/// Searches a log from its end for messages that contain `words`, in upper or lower case, except those that a moderator has hidden.
pub(super) async fn search(client: Client, group: GroupName, words: String, number: u64, inputs: mpsc::Sender<Input>) {
    let words = words.to_lowercase();
    let (mut before, mut found) = (HistoryPage::NEWEST, 0);
    let mut hidden = None;
    loop {
        let Found { first, matching } = match search_page(&client, &group, before, &words, &mut hidden).await {
            Ok(found) => found,
            Err(why) => {
                let _ = inputs.send(Input::SearchResults { number, messages: Vec::new(), end: Some(Err(why)) }).await;
                return;
            }
        };
        found += matching.len();
        let ended = first.is_none_or(|first| first <= Seq::FIRST) || found >= MAX_MATCHES;
        let messages = matching.into_iter().rev().collect();
        let sent = inputs.send(Input::SearchResults { number, messages, end: ended.then_some(Ok(())) }).await;
        match first {
            Some(first) if !ended && sent.is_ok() => before = HistoryPage::Before(first),
            Some(_) | None => return,
        }
    }
}

/// What a page of a search has.
struct Found {
    /// The first message of the page; `None` if it has none.
    first: Option<Seq>,
    /// The messages that contain the words, oldest first.
    matching: Vec<IncomingMessage>,
}

/// Searches one page. Pages are read from the log's end, so that what hides a message is read before it or with it.
async fn search_page(
    client: &Client,
    group: &GroupName,
    before: HistoryPage,
    words: &str,
    hidden: &mut Option<HiddenMessages>,
) -> Result<Found, String> {
    let hidden = match hidden {
        Some(hidden) => hidden,
        None => hidden.insert(HiddenMessages::new(client.policy(group).await.map_err(|error| error_line(&error))?)),
    };
    let mut history = client.history(group, before, Some(STEP)).await.map_err(|error| error_line(&error))?;
    let (mut first, mut matching) = (None, Vec::new());
    while let Some(next) = history.next().await {
        let next = next.map_err(|error| error_line(&error))?;
        first = first.or(Some(next.message.seq));
        hidden.handle_message(next.log, &next.message);
        if has(&next.content.kind, words) {
            matching.push(next);
        }
    }
    matching.retain(|found| !hidden.hide(found.log, found.message.seq, &found.content.kind));
    let incoming = |found: HistoryMessage| {
        IncomingMessage::of(history.group(), found.log, &found.message, found.content, Lane::History)
    };
    Ok(Found { first, matching: matching.into_iter().map(incoming).collect() })
}

async fn all(mut history: History) -> Result<Vec<IncomingMessage>, String> {
    let mut messages = Vec::new();
    while let Some(next) = history.next().await {
        let next = next.map_err(|error| error_line(&error))?;
        messages.push(IncomingMessage::of(history.group(), next.log, &next.message, next.content, Lane::History));
    }
    Ok(messages)
}

fn has(kind: &Kind, words: &str) -> bool {
    kind.text_body().is_some_and(|body| String::from_utf8_lossy(&body).to_lowercase().contains(words))
}
