//! Reads pages of a group's log, and searches it.

use std::collections::VecDeque;

use gaung_client::{Client, History, HistoryPage, Lane};
use gaung_proto::{GroupName, Seq};
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

/// Searches a log from its end for messages that contain `words`, in upper or lower case.
pub(super) async fn search(client: Client, group: GroupName, words: String, number: u64, inputs: mpsc::Sender<Input>) {
    let words = words.to_lowercase();
    let (mut before, mut found) = (HistoryPage::NEWEST, 0);
    loop {
        let history = match client.history(&group, before, Some(STEP)).await {
            Ok(history) => all(history).await,
            Err(error) => Err(error_line(&error)),
        };
        let messages = match history {
            Ok(messages) => messages,
            Err(why) => {
                let _ = inputs.send(Input::SearchResults { number, messages: Vec::new(), end: Some(Err(why)) }).await;
                return;
            }
        };
        let first = messages.first().map(|message| message.seq);
        let matching: VecDeque<IncomingMessage> = messages.into_iter().filter(|message| has(message, &words)).collect();
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

async fn all(mut history: History) -> Result<Vec<IncomingMessage>, String> {
    let mut messages = Vec::new();
    while let Some(next) = history.next().await {
        let next = next.map_err(|error| error_line(&error))?;
        messages.push(IncomingMessage::of(history.group(), next.log, &next.message, next.content, Lane::History));
    }
    Ok(messages)
}

fn has(message: &IncomingMessage, words: &str) -> bool {
    message.kind.text_body().is_some_and(|body| String::from_utf8_lossy(&body).to_lowercase().contains(words))
}
