//! What one file of the old log holds: what it says of its groups, and which of its records are whole.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::PathBuf,
};

use bytes::Bytes;
use gaung_proto::{Epoch, GroupId, LogId, Seq};
use redb::ReadableTable as _;

use super::{SalvageError, SalvagedFile, damage, scan, source::Source};
use crate::{
    file::{LogFile, load, load_configs},
    journal::{Content, Entries, JOURNAL, Kept},
    layout::{GroupState, RUNS, Round, seq_key},
    record::{Hash, Record},
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
    /// Its records, if it is a journal.
    journal: Option<Vec<Found>>,
    /// There may have been more in it than is found, and no file says so.
    pub(super) is_unread: bool,
    pub(super) fault: Option<String>,
}

impl Survey {
    pub(super) fn new(number: u64, path: PathBuf) -> Self {
        let (configs, heard) = (HashMap::new(), HashMap::new());
        Self { number, path, states: None, configs, heard, journal: None, is_unread: true, fault: None }
    }

    pub(super) fn hear(&mut self, records: &[Found]) {
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
    /// Under its key.
    Table,
    /// In its place in a segment.
    Read(u64),
    /// In the bare bytes.
    At(u64),
}

impl Place {
    /// It was not sought.
    pub(super) const fn is_regular(self) -> bool {
        matches!(self, Self::Table | Self::Read(_))
    }
}

/// The records of a file.
#[derive(Debug)]
pub(super) struct Runs {
    pub(super) name: String,
    pub(super) is_journal: bool,
    pub(super) fault: Option<String>,
    pub(super) whole: Vec<Found>,
    /// Keys whose records are not, and why.
    pub(super) bad: Vec<(GroupId, LogId, Seq, &'static str)>,
}

impl Runs {
    pub(super) fn report(&self) -> SalvagedFile {
        let read = self.whole.iter().filter(|found| self.is_journal || found.place.is_regular()).count();
        let found = self.whole.len() - read;
        let fault = self.fault.clone().or_else(|| {
            let (.., why) = self.bad.first()?;
            Some(format!("{} of its records cannot be used: {why}", self.bad.len()))
        });
        SalvagedFile { name: self.name.clone(), fault, read: read as u64, found: found as u64 }
    }
}

impl Found {
    pub(super) fn of(record: &Record, place: Place) -> Self {
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

/// Reads what every file says of its groups, in order of their numbers, and what the journals have besides.
pub(super) fn survey(source: &Source) -> Result<Vec<Survey>, SalvageError> {
    let mut round = None;
    let mut surveys = Vec::new();
    for (number, path) in &source.files {
        surveys.push(survey_one(source, *number, path.clone(), &mut round)?);
    }
    for (number, path) in &source.journals {
        surveys.extend(survey_journal(*number, path.clone(), round)?);
    }
    Ok(surveys)
}

/// `round`: that the newest file names. If it cannot be read, or the journal was set aside, the journal's last one counts:
/// what the file has too is found there first.
fn survey_journal(number: u64, path: PathBuf, round: Option<Round>) -> Result<Option<Survey>, SalvageError> {
    let set_aside = !path.ends_with(JOURNAL);
    let round = round.filter(|_| !set_aside);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let missed = round.is_some_and(|round| round.journal_bytes > 0);
            let gone = || Survey {
                journal: Some(Vec::new()),
                fault: Some("it is gone".to_owned()),
                ..Survey::new(number, path)
            };
            return Ok(missed.then(gone));
        }
        Err(source) => return Err(SalvageError::Io { path, source }),
    };
    let content = Content::new(bytes.into());
    let Round { number: round, journal_bytes } =
        round.unwrap_or_else(|| Round { number: content.highest_round().unwrap_or(0), journal_bytes: 0 });
    let Entries { items, mut fault } = content.entries(round, journal_bytes as usize);
    let mut records = Vec::new();
    for Kept { at, record, .. } in items {
        match Record::parse(record) {
            Ok(record) => records.push(Found::of(&record, Place::At(at as u64))),
            Err(why) => drop(fault.get_or_insert_with(|| why.to_owned())),
        }
    }
    let mut survey = Survey::new(number, path);
    survey.hear(&records);
    let is_unread = fault.is_some() && !set_aside;
    Ok(Some(Survey { journal: Some(records), is_unread, fault, ..survey }))
}

fn survey_one(source: &Source, number: u64, path: PathBuf, round: &mut Option<Round>) -> Result<Survey, SalvageError> {
    let file = LogFile::closed(number);
    let mut survey = Survey::new(number, path);
    *round = None;
    match file.read(&source.env, |txn| load(txn, number)) {
        Ok(contents) => {
            *round = Some(contents.meta.round);
            survey.states = Some(contents.groups);
            survey.is_unread = false;
        }
        Err(fault) => survey.fault = Some(damage(fault, &survey.path)?),
    }
    match file.read(&source.env, load_configs) {
        Ok(configs) => survey.configs = configs,
        Err(fault) => survey.fault = Some(survey.fault.take().unwrap_or(damage(fault, &survey.path)?)),
    }
    file.close();
    if survey.states.is_none() {
        survey.hear(&runs(source, &survey)?.whole);
    }
    Ok(survey)
}

/// Finds the whole records of a file: through the store, and in its bare bytes if the store could not read all.
pub(super) fn runs(source: &Source, survey: &Survey) -> Result<Runs, SalvageError> {
    let name = survey.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_journal = survey.journal.is_some();
    let whole = survey.journal.clone().unwrap_or_default();
    let mut runs = Runs { name, is_journal, fault: survey.fault.clone(), whole, bad: Vec::new() };
    if is_journal {
        return Ok(runs);
    }
    let file = LogFile::closed(survey.number);
    let read = file.read(&source.env, |txn| {
        let mut last = None;
        for entry in txn.open_table(RUNS)?.iter()? {
            let (key, value) = entry?;
            let key = *key.value();
            // Damaged pages may lead in a circle.
            if last.replace(key).is_some_and(|last| last >= key) {
                return Err(crate::fault::Fault::damaged("its records are out of order"));
            }
            let (group, log, first) = place_of(&key);
            match Record::check(Bytes::copy_from_slice(value.value()), group, log, first) {
                Ok(record) => runs.whole.push(Found::of(&record, Place::Table)),
                Err(why) => runs.bad.push((group, log, first, why)),
            }
        }
        Ok(())
    });
    file.close();
    if let Err(fault) = read {
        let why = damage(fault, &survey.path)?;
        runs.fault.get_or_insert(why);
    }
    if runs.fault.is_some() || !runs.bad.is_empty() {
        runs.seek(survey)?;
    }
    Ok(runs)
}

impl Runs {
    fn seek(&mut self, survey: &Survey) -> Result<(), SalvageError> {
        let mut known: HashSet<Hash> = self.whole.iter().map(|found| found.hash).collect();
        let sought = scan::records(&survey.path, |offset, record| {
            if known.insert(record.hash) {
                self.whole.push(Found::of(&record, Place::At(offset)));
            }
        });
        sought.map_err(|source| SalvageError::Io { path: survey.path.clone(), source })
    }
}

fn place_of(key: &[u8; 32]) -> (GroupId, LogId, Seq) {
    let (group, rest) = key.split_first_chunk::<16>().expect("a key has 32 bytes");
    let (log, seq) = rest.split_first_chunk::<8>().expect("a key has 32 bytes");
    let seq = u64::from_be_bytes(*seq.first_chunk().expect("a key has 32 bytes"));
    (GroupId(*group), LogId(u64::from_be_bytes(*log)), Seq(seq))
}

impl Found {
    pub(super) fn key(&self) -> [u8; 32] {
        seq_key(self.group, self.log, self.first)
    }
}
