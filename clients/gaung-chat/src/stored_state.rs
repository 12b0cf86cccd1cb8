//! What is kept across restarts: open groups, how far they were read, drafts, choices. One file for each device.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use gaung_proto::{DeviceId, GroupId, LogId};
use serde::{Deserialize, Serialize};

use super::{model::Model, settings::Settings};

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredState {
    /// Open groups in order, by server, for names mean nothing elsewhere.
    pub(crate) open: BTreeMap<String, Vec<String>>,
    /// By group id, as hexadecimal digits.
    pub(crate) places: BTreeMap<String, StoredRoom>,
    /// What the person chose.
    pub(crate) settings: Settings,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredRoom {
    /// Its name then.
    pub(crate) name: String,
    /// Its registry.
    pub(crate) server: String,
    /// Its id, as hexadecimal digits.
    pub(crate) id: String,
    /// Its log, as hexadecimal digits.
    pub(crate) log: String,
    /// Everything up to this seq was seen.
    pub(crate) read: u64,
    /// What was being typed.
    pub(crate) draft: String,
}

impl StoredRoom {
    /// The group's id, if it is one.
    pub(crate) fn id(&self) -> Option<GroupId> {
        let number = u128::from_str_radix(&self.id, 16).ok()?;
        Some(GroupId(number.to_be_bytes()))
    }

    /// The log's id, if it is one.
    pub(crate) fn log(&self) -> Option<LogId> {
        u64::from_str_radix(&self.log, 16).ok().map(LogId)
    }
}

impl StoredState {
    /// What is to be kept of a model.
    pub(crate) fn of(model: &Model) -> Self {
        let mut kept = Self { settings: model.context.settings, ..Self::default() };
        let names = model.rooms.iter().map(|room| room.name.to_string()).collect();
        kept.open.insert(model.server.clone(), names);
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
            kept.places.insert(id, room);
        }
        kept
    }

    /// Adds what another chat has to keep; of a group that both had open, the larger seq that was read and the other's
    /// draft.
    fn with(mut self, other: Self) -> Self {
        self.settings = other.settings;
        self.open.extend(other.open);
        for (id, mut room) in other.places {
            if let Some(before) = self.places.get(&id).filter(|before| before.log == room.log) {
                room.read = room.read.max(before.read);
            }
            self.places.insert(id, room);
        }
        self
    }

    /// Puts this into the file, beside what is there of other servers and other chats.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn keep(self, path: &Path) -> io::Result<()> {
        Self::read(path).with(self).write(path)
    }

    /// What was kept of a group of this server.
    pub(crate) fn room(&self, server: &str, name: &str) -> Option<&StoredRoom> {
        self.places.values().find(|room| room.server == server && room.name == name)
    }

    /// Reads the file; one that is missing or cannot be understood counts as empty.
    pub(crate) fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Replaces the file as a whole, readable by its owner alone, for drafts are private.
    ///
    /// # Errors
    /// What the system says.
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

/// Where the file of a device lies: in `$XDG_STATE_HOME/gaung`, or `~/.local/state/gaung`; `None` if there is neither.
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
    fn what_is_written_is_read_and_private() {
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
        stored.places.insert(id.to_owned(), room);
        stored.write(&path).unwrap();
        assert_eq!(StoredState::read(&path), stored);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(stored.places[id].log(), Some(LogId(255)));
        assert_eq!(format!("{:032x}", u128::from_be_bytes(stored.places[id].id().unwrap().0)), id);
    }

    #[test]
    fn two_chats_keep_beside_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.json");
        let chat = |server: &str, read, draft: &str| {
            let room = StoredRoom { log: "1".to_owned(), read, draft: draft.to_owned(), ..StoredRoom::default() };
            let mut stored = StoredState::default();
            stored.open.insert(server.to_owned(), vec!["lobby".to_owned()]);
            stored.places.insert("a".to_owned(), room);
            stored
        };
        chat("here:1", 9, "first").keep(&path).unwrap();
        chat("there:1", 4, "second").keep(&path).unwrap();
        let kept = StoredState::read(&path);
        assert_eq!(kept.open.len(), 2);
        assert_eq!((kept.places["a"].read, kept.places["a"].draft.as_str()), (9, "second"));
    }

    #[test]
    fn what_cannot_be_understood_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.json");
        assert_eq!(StoredState::read(&path), StoredState::default());
        fs::write(&path, "{\"open\": 3").unwrap();
        assert_eq!(StoredState::read(&path), StoredState::default());
        fs::write(&path, "{\"later\": true}").unwrap();
        assert_eq!(StoredState::read(&path), StoredState::default(), "a newer program's fields are no fault");
    }
}
