//! The open groups in their order, and which of them is in view.

use std::ops::{Index, IndexMut};

use gaung_client::LaneChoice;
use gaung_proto::GroupName;

use super::room::Room;

/// The open groups.
#[derive(Debug)]
pub(crate) struct Rooms {
    list: Vec<Room>,
    /// The lanes that a group may use when it is opened.
    choice: LaneChoice,
    /// The index of the group in view.
    current: usize,
    /// The index of the group that was in view before.
    former: usize,
    /// The names of groups that can be entered.
    pub(crate) known: Vec<String>,
    /// A text that is shown in the first group once that is open.
    pub(crate) greeting: Option<String>,
    sessions: u32,
}

impl Rooms {
    /// Makes a list without groups; those that are opened use these lanes.
    pub(crate) const fn new(choice: LaneChoice) -> Self {
        Self { list: Vec::new(), choice, current: 0, former: 0, known: Vec::new(), greeting: None, sessions: 0 }
    }

    /// Returns the group in view.
    pub(crate) fn current(&self) -> Option<&Room> {
        self.list.get(self.current)
    }

    /// Returns the group in view, to change it.
    pub(crate) fn current_mut(&mut self) -> Option<&mut Room> {
        self.list.get_mut(self.current)
    }

    /// Returns the index of the group in view.
    pub(crate) const fn current_index(&self) -> usize {
        self.current
    }

    /// Returns the index of the group that was in view before.
    pub(crate) const fn former_index(&self) -> usize {
        self.former
    }

    /// Returns how many groups are open.
    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the groups in their order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Room> {
        self.list.iter()
    }

    /// Returns the index of a group by its name.
    pub(crate) fn index_of(&self, name: &GroupName) -> Option<usize> {
        self.list.iter().position(|room| room.name == *name)
    }

    /// Returns the index of a group by its listener; `None` for a former listener.
    pub(crate) fn index_of_session(&self, session: u32) -> Option<usize> {
        self.list.iter().position(|room| room.session == session)
    }

    /// Returns the number of another listener.
    pub(crate) const fn next_session(&mut self) -> u32 {
        self.sessions += 1;
        self.sessions
    }

    /// Adds a group that is being entered; returns its index.
    pub(crate) fn open(&mut self, name: GroupName) -> usize {
        let session = self.next_session();
        self.list.push(Room::entering(name, session, self.choice));
        self.list.len() - 1
    }

    /// Removes a group; if it was in view, another one is.
    pub(crate) fn close(&mut self, index: usize) {
        self.list.remove(index);
        for at in [&mut self.current, &mut self.former] {
            if *at > index || *at >= self.list.len() {
                *at = at.saturating_sub(1);
            }
        }
    }

    /// Turns to a group. False if there is no such group or it is in view already.
    pub(crate) fn turn_to(&mut self, index: usize) -> bool {
        if index >= self.list.len() || index == self.current {
            return false;
        }
        if let Some(room) = self.current_mut() {
            room.marks.leave();
            room.selected = None;
            room.composer.completion = None;
        }
        self.former = std::mem::replace(&mut self.current, index);
        true
    }

    /// Returns the next group in which the person is mentioned, else the next one with unread messages.
    pub(crate) fn next_activity(&self) -> Option<usize> {
        let after = || (1..=self.list.len()).map(|n| (self.current + n) % self.list.len());
        let mentioned = after().find(|index| self.list[*index].marks.mentions > 0);
        mentioned.or_else(|| after().find(|index| self.list[*index].marks.unread > 0))
    }

    /// Returns the names of open groups and of those that can be entered, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.list.iter().map(|room| room.name.to_string()).collect();
        names.extend(self.known.iter().cloned());
        names.sort();
        names.dedup();
        names
    }
}

impl Index<usize> for Rooms {
    type Output = Room;
    fn index(&self, index: usize) -> &Room {
        &self.list[index]
    }
}

impl IndexMut<usize> for Rooms {
    fn index_mut(&mut self, index: usize) -> &mut Room {
        &mut self.list[index]
    }
}
