//! Tab: completes names of people, groups and commands.

use gaung_proto::DeviceId;

use crate::{
    model::{completion::Completion, room::Room, rooms::Rooms},
    people::member_name,
    update::command::{names, takes_group},
};

/// How many of the newest messages are searched for the names of their authors.
const RECENT: usize = 200;

/// Completes the word before the cursor; called again, goes on to the next candidate, or back to the one before.
pub(super) fn complete(rooms: &mut Rooms, own: DeviceId, back: bool) {
    let under_way = rooms.current_mut().and_then(|room| room.composer.completion.take());
    let completion = match under_way {
        Some(mut completion) => {
            completion.advance(back);
            Some(completion)
        }
        None => rooms.current().and_then(|room| begin(room, rooms, own)),
    };
    if let (Some(completion), Some(room)) = (completion, rooms.current_mut()) {
        let (start, word) = completion.replacement();
        room.composer.editor.replace(start, word);
        room.composer.completion = Some(completion);
    }
}

/// Finds the candidates for the word before the cursor.
fn begin(room: &Room, rooms: &Rooms, own: DeviceId) -> Option<Completion> {
    let before = &room.composer.editor.text()[..room.composer.editor.cursor()];
    let start = before
        .rfind(char::is_whitespace)
        .map_or(0, |index| index + before[index..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    let command = before.split_whitespace().next().filter(|first| first.starts_with('/') && start > 0);
    let candidates: Vec<String> = if start == 0 && word.starts_with('/') {
        names().iter().map(|name| format!("/{name} ")).filter(|name| name.starts_with(word)).collect()
    } else if command.is_some_and(takes_group) {
        let groups = rooms.names().into_iter();
        groups.filter(|name| begins(name, word)).map(|name| format!("{name} ")).collect()
    } else {
        let (sign, wanted) = word.strip_prefix('@').map_or(("", word), |rest| ("@", rest));
        if wanted.is_empty() && sign.is_empty() {
            return None;
        }
        let after = if start == 0 && sign.is_empty() { ": " } else { " " };
        let people = people(room, own).into_iter();
        people.filter(|name| begins(name, wanted)).map(|name| format!("{sign}{name}{after}")).collect()
    };
    Completion::begin(start, candidates)
}

/// Returns the names of the others: first those who wrote last, then the other members and text sessions.
fn people(room: &Room, own: DeviceId) -> Vec<String> {
    let authors = room.timeline.newest().take(RECENT).filter(|entry| entry.device != own);
    let members = room.roster.members.iter().filter(|member| member.device != own).map(member_name);
    let texts = room.roster.text_sessions.iter().cloned();
    let mut names: Vec<String> = Vec::new();
    for name in authors.map(|entry| entry.name.clone()).chain(members).chain(texts) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn begins(name: &str, word: &str) -> bool {
    name.to_lowercase().starts_with(&word.to_lowercase())
}
