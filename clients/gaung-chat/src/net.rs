//! Requests to the services: each effect becomes a task, whose answer is an input.

mod group_tasks;
mod history;

use std::collections::HashMap;

use gaung_client::{Client, ClientError, LaneChoice, MemberLane, NamedDevice, NewGroup};
use gaung_proto::{DisplayName, GroupName, Seq};
use tokio::{sync::mpsc, task::JoinSet};

use super::effect::{Effect, Input};
use gaung_terminal::sanitise::one_line;
use group_tasks::GroupTasks;

/// The tasks that talk to the services, some for each open group.
#[derive(Debug)]
pub(crate) struct ServiceTasks {
    client: Client,
    inputs: mpsc::Sender<Input>,
    rooms: HashMap<GroupName, GroupTasks>,
    leaving: JoinSet<()>,
}

impl ServiceTasks {
    /// Starts without a group.
    pub(crate) fn new(client: Client, inputs: mpsc::Sender<Input>) -> Self {
        Self { client, inputs, rooms: HashMap::new(), leaving: JoinSet::new() }
    }

    /// Starts to run an effect; those that concern the terminal or the stored state are ignored.
    pub(crate) fn run(&mut self, effect: Effect) {
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
                self.request(async move |client| {
                    let answer = history::page(&client, &group, page).await;
                    Input::Page { group, page, session, jump, answer }
                });
            }
            Effect::Search { group, words, number } => {
                tokio::spawn(history::search(self.client.clone(), group, words, number, self.inputs.clone()));
            }
            Effect::Members(group) => self.members(group),
            Effect::Create { group, private } => self.request(async move |client| {
                match client.create_group(NewGroup { private, ..NewGroup::named(group) }).await {
                    Ok(group) => Input::Created(group.name),
                    Err(error) => Input::RequestFailed(error_line(&error)),
                }
            }),
            Effect::Invite { group, uses, expires } => {
                self.request(async move |client| match client.invite(&group, uses, expires).await {
                    Ok(invite) => Input::Invited { group, code: invite.code, until_ms: invite.expires_unix_ms },
                    Err(error) => Input::RequestFailed(error_line(&error)),
                })
            }
            Effect::Redeem(code) => self.request(async move |client| match client.redeem(&code).await {
                Ok(group) => Input::Created(group.name),
                Err(error) => Input::RequestFailed(error_line(&error)),
            }),
            Effect::Moderate { group, who, what } => self.request(async move |client| {
                let moderated = async {
                    let person = client.named_device(&group, &who).await?;
                    client.moderate(&group, person.device, what).await?;
                    Ok::<_, ClientError>(person)
                };
                match moderated.await {
                    Ok(NamedDevice { name: Some(name), .. }) => {
                        Input::Moderated { group, who: one_line(&name).into_owned(), what }
                    }
                    Ok(NamedDevice { name: None, device }) => Input::Moderated { group, who: device.to_string(), what },
                    Err(error) => Input::RequestFailed(error_line(&error)),
                }
            }),
            Effect::Groups => self.request(async move |client| match client.groups().await {
                Ok(groups) => Input::Groups(groups.into_iter().map(|group| group.name.to_string()).collect()),
                Err(error) => Input::RequestFailed(error_line(&error)),
            }),
            Effect::Status { group, number } => self.request(async move |client| {
                let server = Box::new(client.status().await.map_err(|error| error_line(&error)));
                let log = Box::new(client.group_status(&group).await.map_err(|error| error_line(&error)));
                Input::Status { number, server, log }
            }),
            Effect::Rename(name) => self.rename(&name),
            Effect::Notify { .. } | Effect::Mouse(_) | Effect::Redraw | Effect::Save => {}
        }
    }

    /// Leaves all groups, and waits until the registry knows.
    pub(crate) async fn close(mut self) {
        for (_, room) in self.rooms.drain() {
            self.leaving.spawn(room.close());
        }
        while self.leaving.join_next().await.is_some() {}
    }

    /// Returns whether an own message is not acknowledged yet.
    pub(crate) fn is_publishing(&self) -> bool {
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
                // A registry that cannot be reached removes the member when the lease ends.
                let _ = client.leave(&group).await;
            }
        });
    }

    fn members(&self, group: GroupName) {
        let (client, inputs) = (self.client.clone(), self.inputs.clone());
        tokio::spawn(async move {
            // The listener reports a registry that is away, and the list is requested again within seconds.
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

    fn request<F>(&self, call: impl FnOnce(Client) -> F + Send + 'static)
    where
        F: Future<Output = Input> + Send,
    {
        let (client, inputs) = (self.client.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let answer = call(client).await;
            // The screen may have gone, and the answer with it.
            let _ = inputs.send(answer).await;
        });
    }
}

/// Returns an error in one line, without control characters.
fn error_line(error: &ClientError) -> String {
    one_line(&error.to_string()).into_owned()
}
