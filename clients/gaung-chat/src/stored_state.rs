//! The state that is stored across restarts: open groups, read positions, drafts, settings. Each device has one file.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use gaung_proto::{DeviceId, GroupId, LogId};
use serde::{Deserialize, Serialize};

use super::{model::Model, settings::Settings};

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredState {
    /// The names of the open groups in order, by server, since a name means another group elsewhere.
    pub(crate) open: BTreeMap<String, Vec<String>>,
    /// The groups by id, as hexadecimal digits.
    #[serde(rename = "places")]
    pub(crate) groups: BTreeMap<String, StoredRoom>,
    /// The choices of the person.
    pub(crate) settings: Settings,
}

/// What is stored of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredRoom {
    /// The group's name when it was stored.
    pub(crate) name: String,
    /// The address of its registry.
    pub(crate) server: String,
    /// The group's id, as hexadecimal digits.
    pub(crate) id: String,
    /// The id of its log, as hexadecimal digits.
    pub(crate) log: String,
    /// The seq up to which everything was read.
    pub(crate) read: u64,
    /// The text in the line.
    pub(crate) draft: String,
}

impl StoredRoom {
    /// Returns the group's id; `None` if the text is no id.
    pub(crate) fn id(&self) -> Option<GroupId> {
        let number = u128::from_str_radix(&self.id, 16).ok()?;
        Some(GroupId(number.to_be_bytes()))
    }

    /// Returns the log's id; `None` if the text is no id.
    pub(crate) fn log(&self) -> Option<LogId> {
        u64::from_str_radix(&self.log, 16).ok().map(LogId)
    }
}

impl StoredState {
    /// Takes the state of a model.
    pub(crate) fn of(model: &Model) -> Self {
        let mut state = Self { settings: model.context.settings, ..Self::default() };
        let names = model.rooms.iter().map(|room| room.name.to_string()).collect();
        state.open.insert(model.server.clone(), names);
        for room in model.rooms.iter() {
            let (Some(id), Some(log)) = (room.id, room.log) else { continue };
            let id = format!("{:032x}", u128::from_be_bytes(id.0));
            let room = StoredRoom {
                name: room.name.to_string(),
                server: model.server.clone(),
                id: id.clone(),
                log: format!("{:016x}", log.0),
                read: room.marks.read.0,
                draft: room.composer.editor.text().to_owned(),
            };
            state.groups.insert(id, room);
        }
        state
    }

    /// Adds the state of another chat; a group that both had open keeps the larger read position and the other's draft.
    fn merged(mut self, other: Self) -> Self {
        self.settings = other.settings;
        self.open.extend(other.open);
        for (id, mut room) in other.groups {
            if let Some(before) = self.groups.get(&id).filter(|before| before.log == room.log) {
                room.read = room.read.max(before.read);
            }
            self.groups.insert(id, room);
        }
        self
    }

    /// Merges this into the file, which may have the state of other servers and of other chats.
    ///
    /// # Errors
    /// An error of the file system.
    pub(crate) fn save(self, path: &Path) -> io::Result<()> {
        Self::read(path).merged(self).write(path)
    }

    /// Returns what is stored of a group of this server.
    pub(crate) fn room(&self, server: &str, name: &str) -> Option<&StoredRoom> {
        self.groups.values().find(|room| room.server == server && room.name == name)
    }

    /// Reads the file; one that is missing or cannot be parsed counts as empty.
    pub(crate) fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Replaces the file atomically. Only its owner can read it, since drafts are private.
    ///
    /// # Errors
    /// An error of the file system.
    fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::os::unix::fs::DirBuilderExt::mode(fs::DirBuilder::new().recursive(true), 0o700).create(folder)?;
        let draft = folder.join(format!(".chat.{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
        let written = options
            .open(&draft)
            .and_then(|mut file| file.write_all(&serde_json::to_vec_pretty(self)?).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&draft, path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

/// Returns the path of a device's file, in `$XDG_STATE_HOME/gaung` or `~/.local/state/gaung`; `None` if there is neither.
pub(crate) fn path(device: DeviceId) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("gaung").join(format!("chat-{device}.json")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_state_is_written_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/chat.json");
        let mut stored = StoredState::default();
        let id = "0192f000000070008000000000000001";
        let room = StoredRoom {
            id: id.to_owned(),
            log: "00ff".to_owned(),
            read: 7,
            draft: "halo\n".to_owned(),
            ..StoredRoom::default()
        };
        stored.groups.insert(id.to_owned(), room);
        stored.write(&path).unwrap();
        assert_eq!(StoredState::read(&path), stored);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(stored.groups[id].log(), Some(LogId(255)));
        assert_eq!(format!("{:032x}", u128::from_be_bytes(stored.groups[id].id().unwrap().0)), id);
    }

    #[test]
    fn the_states_of_two_chats_are_merged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.json");
        let chat = |server: &str, read, draft: &str| {
            let room = StoredRoom { log: "1".to_owned(), read, draft: draft.to_owned(), ..StoredRoom::default() };
            let mut stored = StoredState::default();
            stored.open.insert(server.to_owned(), vec!["lobby".to_owned()]);
            stored.groups.insert("a".to_owned(), room);
            stored
        };
        chat("here:1", 9, "first").save(&path).unwrap();
        chat("there:1", 4, "second").save(&path).unwrap();
        let kept = StoredState::read(&path);
        assert_eq!(kept.open.len(), 2);
        assert_eq!((kept.groups["a"].read, kept.groups["a"].draft.as_str()), (9, "second"));
    }

    #[test]
    fn a_file_that_cannot_be_parsed_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.json");
        assert_eq!(StoredState::read(&path), StoredState::default());
        fs::write(&path, "{\"open\": 3").unwrap();
        assert_eq!(StoredState::read(&path), StoredState::default());
        fs::write(&path, "{\"later\": true}").unwrap();
        assert_eq!(StoredState::read(&path), StoredState::default(), "a newer program's fields are no fault");
    }
}
