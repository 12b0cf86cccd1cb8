//! Runs the links to relays: each follows groups and publishes.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    follow::{FollowContext, Follower},
    publishing::{PublishContext, Publishing},
    relays::NewLinks,
};

/// Starts the tasks of each link that is wanted, until `stop` is cancelled and the last of them has ended.
///
/// # Errors
/// If a task panicked, because no other task would serve its relay.
pub(crate) async fn run(
    mut new_links: NewLinks,
    follow: FollowContext,
    publish: PublishContext,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (follow, publish) = (Arc::new(follow), Arc::new(publish));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(link) = new_links.recv(), if !stop.is_cancelled() => {
                tasks.spawn(Follower::new(follow.clone(), link.clone()).run(stop.clone()));
                tasks.spawn(Publishing::new(publish.clone(), link).run(stop.clone()));
            }
            Some(ended) = tasks.join_next() => ended.context("a relay's link panicked")?,
            () = stop.cancelled(), if tasks.is_empty() => return Ok(()),
        }
    }
}
