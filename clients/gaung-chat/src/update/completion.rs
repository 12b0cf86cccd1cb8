//! Tab: names of people, groups and commands.

use crate::{
    model::{Model, completion::Completion},
    people::member_name,
    update::command::{COMMANDS, takes_group},
};

impl Model {
    /// Completes the word before the cursor; again and again takes the next one.
    pub(super) fn complete(&mut self, back: bool) {
        let completion = match self.completion.take() {
            Some(mut going) => {
                going.advance(back);
                Some(going)
            }
            None => self.candidates(),
        };
        let Some(completion) = completion else { return };
        if let Some(room) = self.room_mut() {
            let (start, word) = completion.replacement();
            room.composer.editor.replace(start, word);
        }
        self.completion = Some(completion);
        self.touch();
    }

    fn candidates(&self) -> Option<Completion> {
        let room = self.room()?;
        let before = &room.composer.editor.text()[..room.composer.editor.cursor()];
        let start = before
            .rfind(char::is_whitespace)
            .map_or(0, |index| index + before[index..].chars().next().map_or(1, char::len_utf8));
        let word = &before[start..];
        let command = before.split_whitespace().next().filter(|first| first.starts_with('/') && start > 0);
        let candidates: Vec<String> = if start == 0 && word.starts_with('/') {
            COMMANDS.iter().map(|name| format!("/{name} ")).filter(|name| name.starts_with(word)).collect()
        } else if command.is_some_and(takes_group) {
            let groups = self.rooms.names().into_iter();
            groups.filter(|name| begins(name, word)).map(|name| format!("{name} ")).collect()
        } else {
            let (sign, wanted) = word.strip_prefix('@').map_or(("", word), |rest| ("@", rest));
            if wanted.is_empty() && sign.is_empty() {
                return None;
            }
            let after = if start == 0 && sign.is_empty() { ": " } else { " " };
            let people = self.people().into_iter();
            people.filter(|name| begins(name, wanted)).map(|name| format!("{sign}{name}{after}")).collect()
        };
        Completion::begin(start, candidates)
    }

    /// Who spoke last first, then who else is in the group; never oneself.
    fn people(&self) -> Vec<String> {
        let Some(room) = self.room() else { return Vec::new() };
        let spoke = room.timeline.newest().take(200).filter(|entry| entry.device != self.me.device);
        let members = room.roster.members.iter().filter(|member| member.device != self.me.device).map(member_name);
        let mut names: Vec<String> = Vec::new();
        for name in
            spoke.map(|entry| entry.name.clone()).chain(members).chain(room.roster.text_sessions.iter().cloned())
        {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

fn begins(name: &str, word: &str) -> bool {
    name.to_lowercase().starts_with(&word.to_lowercase())
}
