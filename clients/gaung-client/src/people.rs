//! Whom this device knows: which device had a name first, and whose keys a person has compared.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use gaung_proto::{DeviceId, foreign_text::without_invisible};
use sha2::{Digest as _, Sha256};
use unicode_security::skeleton;

/// The devices that were met, by their names.
///
/// Names are for display and anybody may choose any, so a name belongs to the device that was met first under it; another device,
/// or nobody's, is shown apart. What has to be kept comes out of [`poll_unsaved`](Self::poll_unsaved).
#[derive(Debug, Default)]
pub struct KnownPeople {
    /// By the forms of a name that look alike.
    owners: HashMap<String, DeviceId>,
    compared: HashSet<DeviceId>,
    /// Devices that were shown apart since the start.
    told: HashSet<(String, DeviceId)>,
    /// How the last name of each device is shown: comparing letters costs more than all else of a message.
    last: HashMap<DeviceId, LastName>,
    unsaved: Vec<String>,
}

#[derive(Debug)]
struct LastName {
    name: String,
    shown: String,
}

/// How a name is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownName {
    /// The name, with the beginning of the device's id behind it if another device had it first: `budi·3f9a`.
    pub name: String,
    /// True the first time that this device is shown apart, for a notice.
    pub is_news: bool,
}

/// Limits the names and the compared devices that are kept. Where there is no room, a new name is shown with its device.
const MAX_KEPT: usize = 4096;
/// Limits what is remembered for speed and for notices, which may come again above it.
const MAX_REMEMBERED: usize = 1024;
/// How many characters of a name are compared: as many as a name may have.
const MAX_COMPARED: usize = 64;

impl KnownPeople {
    /// Returns how the name of a device is shown; a name that nobody had belongs to the device from now on. `own`: this
    /// device, which is never shown apart to itself.
    pub fn meet(&mut self, name: &str, device: DeviceId, own: DeviceId) -> ShownName {
        if let Some(last) = self.last.get(&device).filter(|last| last.name == name) {
            return ShownName { name: last.shown.clone(), is_news: false };
        }
        let shown = self.meet_anew(name, device, own);
        // What nobody owns may become somebody's; what a device owns, or not, stays so.
        if !device.is_none() {
            if self.last.len() >= MAX_REMEMBERED {
                self.last.clear();
            }
            self.last.insert(device, LastName { name: name.to_owned(), shown: shown.name.clone() });
        }
        shown
    }

    fn meet_anew(&mut self, name: &str, device: DeviceId, own: DeviceId) -> ShownName {
        // Nobody's name may look as if it were one that is shown apart.
        let plain: String = name.chars().map(|c| if DOTS.contains(&c) { '.' } else { c }).collect();
        let shown = |name| ShownName { name, is_news: false };
        if plain.trim().is_empty() || self.owns(&plain, device, own) {
            return shown(plain);
        }
        let suffix = if device.is_none() { "?".to_owned() } else { device.to_string()[..4].to_owned() };
        if self.told.len() >= MAX_REMEMBERED {
            self.told.clear();
        }
        let is_news = self.told.insert((plain.chars().take(MAX_COMPARED).collect(), device));
        ShownName { name: format!("{plain}·{suffix}"), is_news }
    }

    /// Returns whether the name is the device's, and gives it to the device if it is nobody's.
    fn owns(&mut self, name: &str, device: DeviceId, own: DeviceId) -> bool {
        let forms = forms_of(name);
        let taken = forms.iter().any(|form| self.owners.get(form).is_some_and(|owner| *owner != device));
        if device.is_none() || taken {
            return !taken || (device == own && !own.is_none());
        }
        for form in forms {
            if self.owners.contains_key(&form) {
                continue;
            }
            if self.owners.len() >= MAX_KEPT {
                return device == own;
            }
            self.unsaved.push(format!("name {device} {form}"));
            self.owners.insert(form, device);
        }
        true
    }

    /// Returns whether a person has compared the key of this device.
    #[must_use]
    pub fn is_compared(&self, device: DeviceId) -> bool {
        self.compared.contains(&device)
    }

    /// Notes that a person has compared the key of a device; false if there is no room.
    pub fn mark_compared(&mut self, device: DeviceId) -> bool {
        let room = self.compared.len() < MAX_KEPT;
        if room && self.compared.insert(device) {
            self.unsaved.push(format!("compared {device}"));
        }
        room
    }

    /// Returns the next line that has to be kept.
    pub fn poll_unsaved(&mut self) -> Option<String> {
        self.unsaved.pop()
    }

    fn read_line(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let (kind, device) = (words.next(), words.next().and_then(|device| device.parse::<DeviceId>().ok()));
        match (kind, device, words.next()) {
            (Some("name"), Some(device), Some(form)) if self.owners.len() < MAX_KEPT => {
                // The first line wins, as the first device did.
                self.owners.entry(form.to_owned()).or_insert(device);
            }
            (Some("compared"), Some(device), None) if self.compared.len() < MAX_KEPT => {
                self.compared.insert(device);
            }
            // Written by a later version, or cut off.
            _ => {}
        }
    }
}

/// Characters that look like the dot before a device.
const DOTS: [char; 9] = ['·', '•', '∙', '⋅', '・', '･', '‧', '᛫', '⸱'];

/// Returns the forms of a name of which one is shared by names that look alike: by case, or by letters (UTS #39).
fn forms_of(name: &str) -> Vec<String> {
    let visible = without_invisible(name);
    let name: String = visible.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_COMPARED).collect();
    // `PAUL` is `paul` by case, and `pauI` looks like it; no one order of the two finds both.
    let by_case = skeleton(&name.to_lowercase()).collect::<String>();
    let by_letters = skeleton(&name).collect::<String>().to_lowercase();
    if by_case == by_letters { vec![by_case] } else { vec![by_case, by_letters] }
}

/// Returns the 30 digits, in groups of five, by which two people compare the keys of their devices. Both see the same ones.
#[must_use]
pub fn comparison_digits(one: &[u8; 32], other: &[u8; 32]) -> String {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    let hash: [u8; 32] = Sha256::digest([&b"gaung-compare-v1\0"[..], first, second].concat()).into();
    let group = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % 100_000;
    hash.chunks_exact(5).map(|bytes| format!("{:05}", group(bytes))).collect::<Vec<_>>().join(" ")
}

/// The file of a data folder in which [`KnownPeople`] are kept, a line for each fact. Several programs may append to it.
#[derive(Debug, Clone)]
pub struct PeopleFile {
    path: PathBuf,
}

impl PeopleFile {
    /// Names the file of a data folder.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join("known-people") }
    }

    /// Reads whom the device knows; nobody if there is no file yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(&self) -> io::Result<KnownPeople> {
        let mut people = KnownPeople::default();
        match fs::read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).lines().for_each(|line| people.read_line(line)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.unusable(&error)),
        }
        Ok(people)
    }

    /// Appends lines.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&self, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path);
        // In one write, so that lines of several programs do not mix.
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, error: &io::Error) -> io::Error {
        let path = self.path.display();
        io::Error::new(
            error.kind(),
            format!("cannot use {path}: {error}; mend its permissions, or remove it to meet everybody anew"),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OWN: DeviceId = DeviceId([0xaa; 16]);
    const BUDI: DeviceId = DeviceId([0x3f; 16]);
    const OTHER: DeviceId = DeviceId([0x42; 16]);

    fn shown(people: &mut KnownPeople, name: &str, device: DeviceId) -> String {
        people.meet(name, device, OWN).name
    }

    #[test]
    fn a_name_belongs_to_the_device_that_was_met_first_under_it() {
        let mut people = KnownPeople::default();
        assert_eq!(shown(&mut people, "budi", BUDI), "budi");
        for (like, device, apart) in [
            ("budi", OTHER, "budi·4242"),
            ("BUDI", OTHER, "BUDI·4242"),
            ("Вudi", OTHER, "Вudi·4242"),
            ("  budi ", OTHER, "  budi ·4242"),
            ("budi", DeviceId::NONE, "budi·?"),
            ("budi", OWN, "budi"),
        ] {
            assert_eq!(shown(&mut people, like, device), apart, "{like} of {device}");
        }
        assert_eq!(shown(&mut people, "Budi", BUDI), "Budi");
        assert_eq!(shown(&mut people, "paul", BUDI), "paul");
        assert_eq!(shown(&mut people, "pauI", OTHER), "pauI·4242", "a capital i looks like an l");
        assert_eq!(shown(&mut people, "budi·3f3f", OTHER), "budi.3f3f", "nobody names himself so");
        assert_eq!(shown(&mut people, "client-4", DeviceId::NONE), "client-4");
    }

    #[test]
    fn it_is_news_once() {
        let mut people = KnownPeople::default();
        assert!(!people.meet("budi", BUDI, OWN).is_news);
        assert!(people.meet("budi", OTHER, OWN).is_news);
        assert!(!people.meet("budi", OTHER, OWN).is_news);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = PeopleFile::of(dir.path());
        let mut people = file.load().unwrap();
        people.meet("budi santoso", BUDI, OWN);
        assert!(people.mark_compared(BUDI));
        let lines: Vec<_> = std::iter::from_fn(|| people.poll_unsaved()).collect();
        file.append(&lines).unwrap();
        file.append(&["name broken".to_owned(), "later words".to_owned()]).unwrap();
        let mut again = file.load().unwrap();
        assert!(again.is_compared(BUDI) && !again.is_compared(OTHER));
        assert_eq!(shown(&mut again, "budi santoso", OTHER), "budi santoso·4242");
        assert_eq!(again.poll_unsaved(), None);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = PeopleFile::of(dir.path());
        fs::create_dir(&file.path).unwrap();
        for error in [file.load().unwrap_err(), file.append(&["x".to_owned()]).unwrap_err()] {
            assert!(error.to_string().contains("known-people"), "{error}");
        }
    }

    #[test]
    fn names_without_room_are_shown_with_their_device() {
        let mut people = KnownPeople::default();
        for n in 0..MAX_KEPT {
            people.meet(&format!("name {n} x"), BUDI, OWN);
        }
        assert!(people.owners.len() <= MAX_KEPT);
        assert_eq!(shown(&mut people, "citra", OTHER), "citra·4242");
        assert_eq!(shown(&mut people, "name 3 x", BUDI), "name 3 x");
    }

    #[test]
    fn both_see_the_same_digits() {
        let digits = comparison_digits(&[1; 32], &[2; 32]);
        assert_eq!(digits, comparison_digits(&[2; 32], &[1; 32]));
        assert_ne!(digits, comparison_digits(&[2; 32], &[3; 32]));
        assert_eq!(digits.len(), 35);
        assert!(digits.split(' ').all(|group| group.len() == 5 && group.bytes().all(|b| b.is_ascii_digit())));
    }
}
