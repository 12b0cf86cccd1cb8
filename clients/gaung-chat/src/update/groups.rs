//! Opening groups, turning from one to another, and leaving them.

use gaung_client::{GroupInfo, LaneChoice};
use gaung_proto::{GroupName, Seq, name::EVERYONE};

use crate::{
    effect::{Effect, EnterRefusal},
    model::{
        context::ChatContext,
        editor::Editor,
        room::{RoomState, Scroll},
        rooms::Rooms,
        timeline::ChangeTrust,
    },
    stored_state::StoredRoom,
    ui_text::UiText,
};

impl Rooms {
    /// Turns to a group, which is entered if it is not open.
    pub(crate) fn join(&mut self, name: GroupName, context: &mut ChatContext) {
        let index = match self.index_of(&name) {
            Some(index) => {
                if self[index].state == RoomState::Gone {
                    self.enter(index, context);
                }
                index
            }
            None => {
                let index = self.open(name);
                self.enter(index, context);
                index
            }
        };
        self.go(index, context);
        context.effect(Effect::Save);
        context.touch();
    }

    /// Starts a listener for a group.
    pub(crate) fn enter(&mut self, index: usize, context: &mut ChatContext) {
        let session = self.next_session();
        let room = &mut self[index];
        room.session = session;
        room.state = RoomState::Entering;
        let (group, choice) = (room.name.clone(), room.choice);
        context.effect(Effect::Enter { group, session, choice, after: None });
    }

    /// A group was entered. What was read of it before counts if the group and its log are still the same.
    pub(super) fn entered(&mut self, session: u32, group: &GroupInfo, context: &mut ChatContext) {
        let Some(index) = self.index_of_session(session) else { return };
        let room = &mut self[index];
        if room.log.is_some_and(|log| log != group.log) || room.id.is_some_and(|id| id != group.id) {
            room.marks.read = Seq::ZERO;
        }
        (room.id, room.log, room.private) = (Some(group.id), Some(group.log), group.private);
        room.timeline.set_trust(if group.private { ChangeTrust::Signature } else { ChangeTrust::Relay });
        room.address = group.heard_at().filter(|_| !group.private).map_or_else(String::new, |addr| addr.to_string());
        context.effect(Effect::Save);
        context.touch();
    }

    /// A group could not be entered: it is closed again, unless it was open before.
    pub(super) fn not_entered(&mut self, session: u32, why: EnterRefusal, context: &mut ChatContext) {
        let Some(index) = self.index_of_session(session) else { return };
        let name = self[index].name.to_string();
        if self[index].id.is_none() && self.len() > 1 {
            self.remove(index, context);
        } else {
            self[index].state = RoomState::Gone;
        }
        match why {
            EnterRefusal::NoSuchGroup => context.warn(UiText::NoSuchGroup, &[("group", &name)]),
            EnterRefusal::NotInvited => context.warn(UiText::NotInvited, &[("group", &name)]),
            EnterRefusal::Other(why) => context.warn(UiText::CannotEnter, &[("group", &name), ("why", &why)]),
        }
    }

    /// Leaves a group for good: the one in view if none is named.
    pub(super) fn leave(&mut self, name: Option<GroupName>, context: &mut ChatContext) {
        let index = match name {
            Some(name) => self.index_of(&name),
            None => Some(self.current_index()).filter(|index| *index < self.len()),
        };
        let Some(index) = index else { return context.warn(UiText::NotOpen, &[]) };
        if self.len() == 1 {
            return context.warn(UiText::LastGroup, &[]);
        }
        let group = self[index].name.clone();
        // Everybody is in `everyone` without being a member of it.
        let lasting = group.as_str() != EVERYONE;
        context.effect(Effect::Leave { group, lasting });
        self.remove(index, context);
        context.effect(Effect::Save);
    }

    fn remove(&mut self, index: usize, context: &mut ChatContext) {
        self.close(index);
        self.mark_seen(context);
        context.touch();
    }

    /// Changes the lane of the group in view, without losing a message.
    pub(super) fn change_lane(&mut self, choice: LaneChoice, context: &mut ChatContext) {
        let session = self.next_session();
        let Some(room) = self.current_mut() else { return };
        if matches!(room.state, RoomState::Entering | RoomState::Gone) {
            return context.warn(UiText::NothingCanBeSent, &[]);
        }
        (room.choice, room.session) = (choice, session);
        room.loading = false;
        let (group, after) = (room.name.clone(), Some(room.timeline.head()));
        context.effect(Effect::Enter { group, session, choice, after });
    }

    /// Restores what was stored of a group when the chat ended the last time.
    pub(crate) fn restore(&mut self, index: usize, stored: &StoredRoom) {
        let room = &mut self[index];
        room.log = stored.log();
        room.id = stored.id();
        room.marks.read = Seq(stored.read);
        room.composer.editor = Editor::with(&stored.draft);
        room.scroll = Scroll::Latest;
    }

    /// Turns to a group by its index.
    pub(super) fn go(&mut self, index: usize, context: &mut ChatContext) {
        if !self.turn_to(index) {
            return;
        }
        self.mark_seen(context);
        let room = &self[index];
        if room.id.is_some() {
            context.effect(Effect::Members(room.name.clone()));
        }
        context.effect(Effect::Save);
        context.touch();
    }

    /// Turns to the group so many places further down the list, which goes round.
    pub(super) fn step(&mut self, by: usize, context: &mut ChatContext) {
        if self.len() > 0 {
            self.go((self.current_index() + by) % self.len(), context);
        }
    }

    /// Turns to the next group in which the person is mentioned, else to one in which something is new.
    pub(super) fn go_to_activity(&mut self, context: &mut ChatContext) {
        match self.next_activity() {
            Some(index) if index != self.current_index() => self.go(index, context),
            Some(index) => self[index].go_to_latest(context),
            None => context.inform(UiText::NothingNew, &[]),
        }
    }

    /// Counts what is new in the group in view as read, if the person sees it.
    pub(super) fn mark_seen(&mut self, context: &mut ChatContext) {
        if let Some(room) = self.current_mut() {
            room.mark_seen(context);
        }
    }
}
