//! What an input makes of the model. Pure: what is to be done in the world becomes an [`Effect`].

mod answers;
mod command;
mod completion;
mod heard;
mod keys;
mod mouse;
mod moving;
mod obey;
mod opening;
mod overlays;
mod saying;

pub(crate) use moving::PAGE;

use super::{
    effect::{Effect, Input},
    model::Model,
};

/// How often the members of the group looked at are asked for, µs; more seldom where they are many, for each of them asks.
const MEMBERS_US: u64 = 5_000_000;
/// Members that may ask so often.
const FEW: u64 = 50;

impl Model {
    /// Takes one input.
    pub(crate) fn handle(&mut self, input: Input) {
        match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => self.paste(&text),
            Input::Mouse(event) => self.mouse(event),
            Input::Focus(focused) => self.focus(focused),
            Input::Resize(columns, rows) => {
                self.size = (columns, rows);
                self.touch();
            }
            Input::Tick(now_us) => self.pass(now_us),
            Input::Heard { session, event } => self.heard(session, *event),
            Input::Entered { session, group } => self.entered(session, &group),
            Input::NotEntered { session, why } => self.not_entered(session, why),
            Input::Page { group, page, session, jump, answer } => self.page(&group, page, session, jump, answer),
            Input::Said { group, number, outcome } => self.said(&group, number, outcome),
            Input::Found { number, messages, end } => self.found(number, messages, end),
            Input::Members { group, members, text_sessions } => self.members(&group, members, text_sessions),
            Input::Receipts { group, receipts } => self.receipts(&group, receipts),
            Input::Created(group) => self.created(group),
            Input::Invited { group, code, until_ms } => self.invited(&group, &code, until_ms),
            Input::Groups(names) => self.rooms.known = names,
            Input::Status { number, server, log } => self.status(number, *server, *log),
            Input::Failed(why) => self.flash(why, true),
            Input::Logged(line) => self.flash(line, true),
        }
    }

    fn focus(&mut self, focused: bool) {
        self.focused = Some(focused);
        self.touch();
        self.look();
    }

    /// Time passes.
    fn pass(&mut self, now_us: u64) {
        let before = self.now_us;
        self.tick(now_us);
        let Some(room) = self.room() else { return };
        let period = MEMBERS_US * (1 + room.roster.members.len() as u64 / FEW);
        if now_us / period != before / period && room.id.is_some() {
            self.effect(Effect::Members(room.name.clone()));
        }
    }

    /// The person sees the current group: what is new there has been seen.
    pub(crate) fn look(&mut self) {
        let index = self.rooms.current_index();
        if index < self.rooms.len() && self.is_seen(index) && self.rooms[index].read_all() {
            self.touch();
        }
    }
}

#[cfg(test)]
mod tests;
