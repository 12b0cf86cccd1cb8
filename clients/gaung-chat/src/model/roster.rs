//! The members of one group.

use gaung_client::Member;
use gaung_proto::DeviceId;

use super::timeline::Presence;
use crate::people::member_name;

/// The members of one group and the text sessions in it.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// The members as the registry lists them.
    pub(crate) members: Vec<Member>,
    /// The names of text sessions.
    pub(crate) text_sessions: Vec<String>,
    /// Whether a list was received.
    pub(crate) known: bool,
}

impl Roster {
    /// Replaces the lists. Returns who came and who left, except for the device `own`; `None` if nothing changed.
    pub(crate) fn replace(
        &mut self,
        members: Vec<Member>,
        text_sessions: Vec<String>,
        own: DeviceId,
    ) -> Option<Vec<Presence>> {
        if self.known && (&self.members, &self.text_sessions) == (&members, &text_sessions) {
            return None;
        }
        let changes = if self.known { self.changes(&members, own) } else { Vec::new() };
        *self = Self { members, text_sessions, known: true };
        Some(changes)
    }

    /// Returns how many members and text sessions are present.
    pub(crate) fn present_count(&self) -> usize {
        self.members.iter().filter(|member| member.present).count() + self.text_sessions.len()
    }

    /// Returns the name of a device, or the beginning of its id if it is no member.
    pub(crate) fn name_of(&self, device: DeviceId) -> String {
        let member = self.members.iter().find(|member| member.device == device);
        member.map_or_else(|| device.to_string()[..8].to_owned(), member_name)
    }

    fn changes(&self, members: &[Member], own: DeviceId) -> Vec<Presence> {
        let present = |members: &[Member], device| members.iter().any(|m| m.device == device && m.present);
        let others = |member: &&Member| member.present && member.device != own;
        let came = members.iter().filter(others).filter(|member| !present(&self.members, member.device));
        let left = self.members.iter().filter(others).filter(|member| !present(members, member.device));
        let came = came.map(|member| Presence::came(member_name(member)));
        came.chain(left.map(|member| Presence::left(member_name(member)))).collect()
    }
}
