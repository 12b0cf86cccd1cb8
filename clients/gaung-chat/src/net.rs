//! What the screen wants of the services: each wish a task of its own, its answer an input.

mod group_tasks;
mod history;

use std::collections::HashMap;

use gaung_client::{Client, ClientError, LaneChoice, MemberLane, NewGroup};
use gaung_proto::{DisplayName, GroupName, Seq};
use tokio::{sync::mpsc, task::JoinSet};

use super::effect::{Effect, Input};
use gaung_terminal::sanitise::one_line;
use group_tasks::GroupTasks;

/// The services, as the screen sees them.
#[derive(Debug)]
pub(crate) struct ServiceTasks {
    client: Client,
    inputs: mpsc::Sender<Input>,
    rooms: HashMap<GroupName, GroupTasks>,
    leaving: JoinSet<()>,
}

impl ServiceTasks {
    /// Nothing is listened to yet.
    pub(crate) fn new(client: Client, inputs: mpsc::Sender<Input>) -> Self {
        Self { client, inputs, rooms: HashMap::new(), leaving: JoinSet::new() }
    }

    /// Begins to do what is wished; effects that are not the services' are left alone.
    pub(crate) fn carry(&mut self, effect: Effect) {
        match effect {
            Effect::Enter { group, session, choice, after } => self.enter(group, session, choice, after),
            Effect::Leave { group, lasting } => self.leave(group, lasting),
            Effect::Publish { group, number, kind } => {
                if let Some(room) = self.rooms.get(&group) {
                    room.publish(number, kind);
                }
            }
            Effect::Receipts { group, seq } => {
                if let Some(room) = self.rooms.get(&group) {
                    room.follow(seq);
                }
            }
            Effect::Read { group, page, session, jump } => {
                self.ask(async move |client| {
                    let answer = history::page(&client, &group, page).await;
                    Input::Page { group, page, session, jump, answer }
                });
            }
            Effect::Search { group, words, number } => {
                tokio::spawn(history::search(self.client.clone(), group, words, number, self.inputs.clone()));
            }
            Effect::Members(group) => self.members(group),
            Effect::Create { group, private } => self.ask(async move |client| {
                match client.create_group(NewGroup { private, ..NewGroup::named(group) }).await {
                    Ok(group) => Input::Created(group.name),
                    Err(error) => Input::RequestFailed(error_line(&error)),
                }
            }),
            Effect::Invite { group, uses, expires } => {
                self.ask(async move |client| match client.invite(&group, uses, expires).await {
                    Ok(invite) => Input::Invited { group, code: invite.code, until_ms: invite.expires_unix_ms },
                    Err(error) => Input::RequestFailed(error_line(&error)),
                })
            }
            Effect::Redeem(code) => self.ask(async move |client| match client.redeem(&code).await {
                Ok(group) => Input::Created(group.name),
                Err(error) => Input::RequestFailed(error_line(&error)),
            }),
            Effect::Groups => self.ask(async move |client| match client.groups().await {
                Ok(groups) => Input::Groups(groups.into_iter().map(|group| group.name.to_string()).collect()),
                Err(error) => Input::RequestFailed(error_line(&error)),
            }),
            Effect::Status { group, number } => self.ask(async move |client| {
                let server = Box::new(client.status().await.map_err(|error| error_line(&error)));
                let log = Box::new(client.group_status(&group).await.map_err(|error| error_line(&error)));
                Input::Status { number, server, log }
            }),
            Effect::Rename(name) => self.rename(&name),
            Effect::Notify { .. } | Effect::Mouse(_) | Effect::Redraw | Effect::Save => {}
        }
    }

    /// Leaves everything, and waits until it is known.
    pub(crate) async fn close(mut self) {
        for (_, room) in self.rooms.drain() {
            self.leaving.spawn(room.close());
        }
        while self.leaving.join_next().await.is_some() {}
    }

    /// Messages that are not acknowledged yet.
    pub(crate) fn under_way(&self) -> bool {
        self.rooms.values().any(GroupTasks::is_publishing)
    }

    fn enter(&mut self, group: GroupName, session: u32, choice: LaneChoice, after: Option<Seq>) {
        if let Some(former) = self.rooms.remove(&group) {
            self.leaving.spawn(former.close());
        }
        let room = GroupTasks::enter(&self.client, group.clone(), session, choice, after, self.inputs.clone());
        self.rooms.insert(group, room);
    }

    fn leave(&mut self, group: GroupName, lasting: bool) {
        let room = self.rooms.remove(&group);
        let client = self.client.clone();
        self.leaving.spawn(async move {
            if let Some(room) = room {
                room.close().await;
            }
            if lasting {
                // Whoever is not reached learns it by the lease that ends.
                let _ = client.leave(&group).await;
            }
        });
    }

    fn members(&self, group: GroupName) {
        let (client, inputs) = (self.client.clone(), self.inputs.clone());
        tokio::spawn(async move {
            // A registry or relay that is away is told of by the listener, and asked again soon.
            let Ok(members) = client.members(&group).await else { return };
            let progress = client.group_status(&group).await.map(|log| log.members).unwrap_or_default();
            let texts = progress.into_iter().filter(|member| member.lane == Some(MemberLane::Text));
            let mut text_sessions: Vec<String> = texts.map(|member| one_line(&member.name).into_owned()).collect();
            text_sessions.sort();
            let _ = inputs.send(Input::Members { group, members, text_sessions }).await;
        });
    }

    fn rename(&mut self, name: &DisplayName) {
        self.client.rename(name.clone());
    }

    fn ask<F>(&self, question: impl FnOnce(Client) -> F + Send + 'static)
    where
        F: Future<Output = Input> + Send,
    {
        let (client, inputs) = (self.client.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let answer = question(client).await;
            // The screen may have gone; then nobody wants to know.
            let _ = inputs.send(answer).await;
        });
    }
}

/// An error in one harmless line.
fn error_line(error: &ClientError) -> String {
    one_line(&error.to_string()).into_owned()
}
