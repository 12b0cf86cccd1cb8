//! Entering groups and leaving them.

use gaung_client::{GroupInfo, LaneChoice};
use gaung_proto::{GroupName, Seq, name::EVERYONE};

use crate::{
    effect::{Effect, Refusal},
    model::{
        Model,
        editor::Editor,
        room::{RoomState, Scroll},
    },
    stored::StoredRoom,
    words::Word,
};

impl Model {
    /// Goes to a group, which is entered if it is not open.
    pub(crate) fn join(&mut self, name: GroupName) {
        let index = match self.rooms.index_of(&name) {
            Some(index) => {
                if self.rooms[index].state == RoomState::Gone {
                    self.enter_room(index);
                }
                index
            }
            None => {
                let index = self.open(name);
                self.enter_room(index);
                index
            }
        };
        self.go(index);
        self.effect(Effect::Save);
    }

    /// Begins to listen.
    pub(crate) fn enter_room(&mut self, index: usize) {
        let session = self.rooms.next_session();
        let room = &mut self.rooms[index];
        room.session = session;
        room.state = RoomState::Entering;
        let (group, choice) = (room.name.clone(), room.choice);
        self.effect(Effect::Enter { group, session, choice, after: None });
    }

    /// The group is entered; whether what is known of it is of the same log.
    pub(super) fn entered(&mut self, session: u32, group: &GroupInfo) {
        let Some(index) = self.rooms.index_of_session(session) else { return };
        let room = &mut self.rooms[index];
        if room.log.is_some_and(|log| log != group.log) || room.id.is_some_and(|id| id != group.id) {
            room.marks.read = Seq::ZERO;
        }
        (room.id, room.log, room.private) = (Some(group.id), Some(group.log), group.private);
        room.address = group.heard_at().filter(|_| !group.private).map_or_else(String::new, |addr| addr.to_string());
        self.effect(Effect::Save);
        self.touch();
    }

    /// It cannot be entered: it is closed again, unless something was said there before.
    pub(super) fn not_entered(&mut self, session: u32, why: Refusal) {
        let Some(index) = self.rooms.index_of_session(session) else { return };
        let name = self.rooms[index].name.to_string();
        let text = match why {
            Refusal::NoSuchGroup => self.lang.fill(Word::NoSuchGroup, &[("group", &name)]),
            Refusal::NotInvited => self.lang.fill(Word::NotInvited, &[("group", &name)]),
            Refusal::Other(why) => self.lang.fill(Word::CannotEnter, &[("group", &name), ("why", &why)]),
        };
        if self.rooms[index].id.is_none() && self.rooms.len() > 1 {
            self.close(index);
        } else {
            self.rooms[index].state = RoomState::Gone;
        }
        self.flash(text, true);
    }

    /// Leaves a group for good.
    pub(super) fn leave(&mut self, name: Option<GroupName>) {
        let index = match name {
            Some(name) => self.rooms.index_of(&name),
            None => Some(self.rooms.current_index()).filter(|index| *index < self.rooms.len()),
        };
        let Some(index) = index else { return self.warn(Word::NotOpen, &[]) };
        if self.rooms.len() == 1 {
            return self.warn(Word::LastGroup, &[]);
        }
        let group = self.rooms[index].name.clone();
        // `everyone` has no members who could cease to be.
        let lasting = group.as_str() != EVERYONE;
        self.effect(Effect::Leave { group, lasting });
        self.close(index);
        self.effect(Effect::Save);
    }

    fn close(&mut self, index: usize) {
        self.rooms.close(index);
        self.look();
        self.touch();
    }

    /// Adds a group that is being entered; returns its index.
    pub(crate) fn open(&mut self, name: GroupName) -> usize {
        self.touch();
        self.rooms.open(name, self.choice)
    }

    /// Listens by another lane, and loses nothing.
    pub(super) fn change_lane(&mut self, choice: LaneChoice) {
        let session = self.rooms.next_session();
        let Some(room) = self.room_mut() else { return };
        if matches!(room.state, RoomState::Entering | RoomState::Gone) {
            return self.warn(Word::NothingCanBeSent, &[]);
        }
        (room.choice, room.session) = (choice, session);
        room.loading = false;
        let (group, after) = (room.name.clone(), Some(room.timeline.head()));
        self.effect(Effect::Enter { group, session, choice, after });
    }

    /// What was kept of a group when this ended the last time.
    pub(crate) fn restore(&mut self, index: usize, stored: &StoredRoom) {
        let room = &mut self.rooms[index];
        room.log = stored.log();
        room.id = stored.id();
        room.marks.read = Seq(stored.read);
        room.composer.editor = Editor::with(&stored.draft);
        room.scroll = Scroll::Latest;
    }
}
