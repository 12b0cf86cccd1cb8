//! What one file of the old log holds: what it says of its groups, and which of its records are whole.

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use gaung_proto::{Epoch, GroupId, LogId, Seq};
use redb::StorageBackend;

use super::{
    report::{SalvageError, SalvagedFile, damage, read_failed},
    source::ReadOnly,
};
use crate::{
    fault::Fault,
    layout::{GroupState, seq_word, word},
    record::{Hash, RECORD_HEADER, Record},
    segment::{
        file::{PREAMBLE, Preamble, SEGMENT_FORMAT},
        frame::{ALIGNMENT, FRAME_HEADER, Kind},
        recover::{scan, skip_damage},
        scan::Scanner,
    },
};

/// What a file says of its groups.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// `None` if that cannot be read.
    pub(super) states: Option<HashMap<GroupId, GroupState>>,
    pub(super) configs: HashMap<GroupId, Bytes>,
    /// The latest log of each group as its records tell, where the states cannot.
    pub(super) heard: HashMap<GroupId, (Epoch, LogId)>,
    /// There may have been more in it than is found, and no file says so.
    pub(super) is_unread: bool,
    pub(super) fault: Option<String>,
}

impl Survey {
    fn new(number: u64, path: PathBuf) -> Self {
        let (configs, heard) = (HashMap::new(), HashMap::new());
        Self { number, path, states: None, configs, heard, is_unread: true, fault: None }
    }

    fn hear(&mut self, records: &[Found]) {
        for found in records {
            let latest = self.heard.entry(found.group).or_insert((found.epoch, found.log));
            *latest = (*latest).max((found.epoch, found.log));
        }
    }
}

/// A whole record and where it lies.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) group: GroupId,
    pub(super) log: LogId,
    pub(super) epoch: Epoch,
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) previous: Hash,
    pub(super) hash: Hash,
    pub(super) place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In its place.
    Read(u64),
    /// Behind a damage, where it was sought.
    At(u64),
}

impl Place {
    /// It was not sought.
    pub(super) const fn is_regular(self) -> bool {
        matches!(self, Self::Read(_))
    }

    pub(super) const fn offset(self) -> u64 {
        match self {
            Self::Read(offset) | Self::At(offset) => offset,
        }
    }
}

/// The records of a file.
#[derive(Debug)]
pub(super) struct Runs {
    pub(super) name: String,
    pub(super) fault: Option<String>,
    pub(super) whole: Vec<Found>,
    /// Those that are not, as far as they can be named, and why.
    pub(super) bad: Vec<(GroupId, LogId, Seq, &'static str)>,
}

impl Runs {
    pub(super) fn report(&self) -> SalvagedFile {
        let read = self.whole.iter().filter(|found| found.place.is_regular()).count();
        let found = self.whole.len() - read;
        let fault = self.fault.clone().or_else(|| {
            let (.., why) = self.bad.first()?;
            Some(format!("{} of its records cannot be used: {why}", self.bad.len()))
        });
        SalvagedFile { name: self.name.clone(), fault, read: read as u64, found: found as u64 }
    }
}

impl Found {
    fn of(record: &Record, place: Place) -> Self {
        let header = record.run.header();
        Self {
            group: header.group,
            log: header.log,
            epoch: header.epoch,
            first: record.run.first_seq(),
            last: record.run.last_seq(),
            previous: record.previous,
            hash: record.hash,
            place,
        }
    }
}

/// What a segment says of its groups, and its records.
pub(super) fn survey(number: u64, path: &Path) -> Result<(Survey, Runs), SalvageError> {
    let file = ReadOnly(File::open(path).map_err(read_failed(path))?);
    let mut survey = Survey::new(number, path.to_owned());
    let mut stamp = None;
    // Up to here all is in its place.
    let mut in_place = 0;
    let scanned = Preamble::read(&file, number).and_then(|preamble| {
        stamp = Some(preamble.stamp);
        let mut scanned = scan(&file, &preamble)?;
        let is_known = match &scanned.damage {
            None => true,
            Some(_) => skip_damage(&file, &preamble, scanned.end, &mut scanned.contents)?,
        };
        Ok((scanned, is_known))
    });
    match scanned {
        Ok((scanned, is_known)) => {
            (in_place, survey.fault, survey.is_unread) = (scanned.end, scanned.damage, !is_known);
            survey.states = is_known.then_some(scanned.contents.groups);
        }
        Err(Fault::Newer { found }) => {
            let file = path.display().to_string();
            return Err(SalvageError::NewerFormat { file, found, supported: SEGMENT_FORMAT });
        }
        Err(fault) => survey.fault = Some(damage(fault, path)?),
    }
    let runs = runs(&file, path, &mut survey, stamp, in_place).map_err(read_failed(path))?;
    survey.hear(&runs.whole);
    Ok((survey, runs))
}

/// Finds every frame that is whole. `stamp`: of the segment; that of the first frame if its beginning is lost.
fn runs(
    file: &dyn StorageBackend,
    path: &Path,
    survey: &mut Survey,
    mut stamp: Option<u32>,
    in_place: u64,
) -> io::Result<Runs> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut runs = Runs { name, fault: survey.fault.clone(), whole: Vec::new(), bad: Vec::new() };
    let mut scanner = Scanner::new(file)?;
    let mut at = PREAMBLE;
    while let Some((offset, header)) = scanner.find(at)? {
        at = offset + ALIGNMENT;
        if *stamp.get_or_insert(header.stamp) != header.stamp {
            continue;
        }
        let Some(frame) = scanner.frame(offset)? else {
            if header.kind == Kind::Run {
                runs.bad.extend(hint_of(file, offset));
            }
            continue;
        };
        at = frame.next();
        let place = if offset < in_place { Place::Read(offset) } else { Place::At(offset) };
        match header.kind {
            Kind::Run => match Record::parse(frame.body) {
                Ok(record) => runs.whole.push(Found::of(&record, place)),
                Err(why) => runs.fault = Some(why.to_owned()),
            },
            Kind::Config => {
                if let Some(group) = frame.body.first_chunk::<16>() {
                    survey.configs.insert(GroupId(*group), frame.body.slice(16..));
                }
            }
            Kind::Group
            | Kind::Snapshot
            | Kind::Superseded
            | Kind::Dropped
            | Kind::Index
            | Kind::End
            | Kind::Checkpoint => {}
        }
    }
    Ok(runs)
}

/// Which record a damaged frame seems to have held; it only explains what is missing.
fn hint_of(file: &dyn StorageBackend, offset: u64) -> Option<(GroupId, LogId, Seq, &'static str)> {
    // A run's header begins with 8 bytes of its own.
    let mut head = [0; 36];
    file.read(offset + (FRAME_HEADER + RECORD_HEADER + 8) as u64, &mut head).ok()?;
    let group = GroupId(*head.first_chunk()?);
    Some((group, LogId(word(&head, 16)), seq_word(&head, 28), "a record's CRC does not hold"))
}
