//! What an input makes of the model. Pure: what is to be done in the world becomes an [`Effect`].
//!
//! `Model` only finds out whom an input is for; the groups, the one in view, and the overlay handle what concerns them.

mod command;
mod completion;
mod groups;
mod keys;
mod listening;
mod lists;
mod message_command;
mod moderating;
mod mouse;
mod news;
mod notifications;
mod overlay_keys;
mod publishing;
mod reading;
mod verifying;

use gaung_proto::{DisplayName, Seq};
use gaung_terminal::sanitise::one_line;

use super::{
    effect::{Effect, Input},
    model::{
        Model,
        overlay::{List, Overlay},
        timeline::{ItemContent, MessageEntry},
    },
    ui_text::{UiText, lane_name},
};
use command::Command;

/// How often the members of the group in view are requested, in µs; for each [`FEW`] members once less often, since
/// each of them requests the list.
const MEMBERS_US: u64 = 5_000_000;
/// The number of members that may request the list every [`MEMBERS_US`].
const FEW: u64 = 50;

impl Model {
    /// Handles one input.
    pub(crate) fn handle(&mut self, input: Input) {
        let Self { context, rooms, .. } = self;
        match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => self.paste(&text),
            Input::Mouse(event) => mouse::mouse(rooms, event, context),
            Input::Focus(focused) => {
                context.focused = Some(focused);
                context.touch();
                rooms.mark_seen(context);
            }
            Input::Resize(columns, rows) => {
                context.size = (columns, rows);
                context.touch();
            }
            Input::Tick(now_us) => self.tick(now_us),
            Input::ListenerEvent { session, event } => rooms.listener_event(session, *event, context),
            Input::Entered { session, group } => rooms.entered(session, &group, context),
            Input::NotEntered { session, why } => rooms.not_entered(session, why, context),
            Input::Page { group, page, session, jump, answer } => {
                rooms.page(&group, page, session, jump, answer, context);
            }
            Input::Published { group, number, outcome } => {
                context.touch();
                if let Some(index) = rooms.index_of(&group) {
                    rooms[index].published(number, outcome, context);
                }
            }
            Input::SearchResults { number, mut messages, end } => {
                for message in &mut messages {
                    context.introduce(message);
                }
                if let Some(list) = Overlay::list_of(&mut self.overlay, number) {
                    list.add_found(&messages, end, context);
                }
            }
            Input::Members { group, members, text_sessions } => rooms.members(&group, members, text_sessions, context),
            Input::Receipts { group, receipts } => rooms.receipts(&group, receipts, context),
            Input::Created(group) => {
                rooms.join(group, context);
                context.effect(Effect::Groups);
            }
            Input::Invited { group, code, until_ms } => rooms.invited(&group, &code, until_ms, context),
            Input::Moderated { group, who, what } => {
                context.effect(Effect::Members(group.clone()));
                moderating::tell(&group, &who, what, context);
            }
            Input::Groups(names) => rooms.known = names,
            Input::Status { number, server, mut log } => {
                for member in log.iter_mut().flat_map(|log| &mut log.members).filter(|member| !member.name.is_empty()) {
                    member.name = context.meet(&one_line(&member.name), member.device).name;
                }
                let members = rooms.current().map(|room| &room.roster);
                if let Some(list) = Overlay::list_of(&mut self.overlay, number) {
                    list.set_status(*server, *log, members, context);
                }
            }
            Input::RequestFailed(line) | Input::LogLine(line) => context.status(line, true),
        }
        self.place_wide_status();
    }

    /// Shows a text in the status line, or in the conversation if it is too wide for that.
    pub(crate) fn show_status(&mut self, text: String, is_error: bool) {
        self.context.status(text, is_error);
        self.place_wide_status();
    }

    /// Adds status messages that are wider than the screen to the conversation; they stay in the status line, cut off,
    /// where the end of the conversation is not seen.
    fn place_wide_status(&mut self) {
        for notice in self.context.take_wide() {
            match self.rooms.current_mut().filter(|room| room.at_end()) {
                Some(room) => room.timeline.note(ItemContent::Notice(notice), self.context.now_us),
                None => self.context.show_status(notice.text, notice.is_error),
            }
            self.context.touch();
        }
    }

    fn tick(&mut self, now_us: u64) {
        let before = self.context.now_us;
        self.context.tick(now_us);
        let Some(room) = self.rooms.current() else { return };
        let period = MEMBERS_US * (1 + room.roster.members.len() as u64 / FEW);
        if now_us / period != before / period && room.id.is_some() {
            self.context.effect(Effect::Members(room.name.clone()));
        }
    }

    /// Executes a command that is typed in the group in view.
    fn execute(&mut self, command: Command) {
        let Self { context, rooms, .. } = self;
        let Some(room) = rooms.current_mut() else { return };
        match command {
            Command::Help => self.overlay = Some(Overlay::Help { top: 0 }),
            Command::Join(group) => rooms.join(group, context),
            Command::Redeem(code) => context.effect(Effect::Redeem(code)),
            Command::Leave(group) => rooms.leave(group, context),
            Command::Create { group, private } => context.effect(Effect::Create { group, private }),
            Command::Invite { uses, expires } if room.private => {
                context.effect(Effect::Invite { group: room.name.clone(), uses, expires });
            }
            Command::Invite { .. } => context.warn(UiText::InviteNotNeeded, &[]),
            Command::Members => {
                let title = context.lang.fill(UiText::MembersOf, &[("group", room.name.as_str())]);
                self.overlay = Some(Overlay::List(List::of_members(title, &room.roster, context.lang)));
            }
            Command::Nick(name) => self.rename(name),
            Command::Verify { name, is_confirmed } => verifying::compare_keys(room, &name, is_confirmed, context),
            Command::Moderate { who, what } => {
                context.effect(Effect::Moderate { group: room.name.clone(), who, what });
            }
            Command::Message(command) => command.execute(room, context),
            Command::Search(words) => self.search(words),
            Command::History(Some(seq)) => room.jump(seq, context),
            Command::History(None) => room.go_to_oldest(context),
            Command::Heard(seq) => self.show_receipt(seq),
            Command::Lane(Some(choice)) => rooms.change_lane(choice, context),
            Command::Lane(None) => match room.lane {
                Some(lane) => context.inform(UiText::ByLane, &[("lane", context.lang.text(lane_name(lane)))]),
                None => context.inform(UiText::Entering, &[]),
            },
            Command::Status => self.request_status(),
            Command::Notify(change) => {
                if let Some(change) = change {
                    context.settings.change(change);
                }
                let summary = context.settings.notify_summary(context.lang);
                context.status(summary, false);
                context.effect(Effect::Save);
            }
            Command::Mouse(on) => {
                context.settings.mouse = on;
                context.effect(Effect::Mouse(on));
                context.effect(Effect::Save);
                context.inform(if on { UiText::MouseOn } else { UiText::MouseOff }, &[]);
            }
            Command::Quit => self.quit = true,
        }
    }
    fn rename(&mut self, name: DisplayName) {
        name.as_str().clone_into(&mut self.context.me.name);
        self.context.inform(UiText::CalledNow, &[("name", name.as_str())]);
        self.context.effect(Effect::Rename(name));
    }

    fn search(&mut self, words: String) {
        let Some(room) = self.rooms.current() else { return };
        let (number, group) = (self.context.next_number(), room.name.clone());
        let title = self.context.lang.fill(UiText::SearchOf, &[("words", &words), ("group", group.as_str())]);
        self.overlay = Some(Overlay::List(List::requested(title, number)));
        self.context.effect(Effect::Search { group, words, number });
    }

    fn request_status(&mut self) {
        let Some(room) = self.rooms.current() else { return };
        let (number, group) = (self.context.next_number(), room.name.clone());
        let title = self.context.lang.fill(UiText::StatusOf, &[("server", &self.server)]);
        self.overlay = Some(Overlay::List(List::requested(title, number)));
        self.context.effect(Effect::Status { group, number });
    }

    /// Shows a message, the last own one if none is named, and requests its receipt if it is an own one.
    fn show_receipt(&mut self, seq: Option<Seq>) {
        let own = self.context.me.device;
        let Some(room) = self.rooms.current() else { return };
        let wanted = |entry: &&MessageEntry| seq.map_or(entry.device == own, |seq| entry.seq == seq);
        let found = room.timeline.newest().find(wanted).map(|entry| (entry.seq, entry.device));
        let Some((seq, author)) = found else { return self.context.warn(UiText::NothingSaidYet, &[]) };
        if author == own {
            self.context.effect(Effect::Receipts { group: room.name.clone(), seq });
        }
        self.overlay = Some(Overlay::Info { seq, top: 0 });
        self.context.touch();
    }
}

#[cfg(test)]
mod tests;
