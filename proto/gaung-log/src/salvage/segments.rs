//! Salvaging a log in segments: every frame that is whole, in its place or sought behind a damage, and a new log of them.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq};
use redb::StorageBackend;

use super::{
    SalvageError, Salvaged,
    collect::{Found, Place, Runs, Survey},
    damage,
    plan::{Batch, Plan},
    refuse_full,
    source::{ReadOnly, lock},
};
use crate::{
    disk::DiskOptions,
    fault::Fault,
    file::Env,
    layout::{GroupState, seq_word, word},
    record::{RECORD_HEADER, Record},
    segment::{
        encode_group,
        file::{PREAMBLE, Preamble, SEGMENT_FORMAT, Sealed, SegmentName, file_name},
        frame::{ALIGNMENT, FRAME_HEADER, Kind, Place as SegmentPlace},
        push_sealed,
        recover::{scan, skip_damage},
        scan::Scanner,
        writer::Writer,
    },
    volume::Folder,
};

/// Bytes of records in memory at a time.
const PIECE: usize = 4 << 20;

/// The segments in `path`, a folder or one file; none if there is no segment.
pub(super) fn files_in(path: &Path) -> BTreeMap<u64, PathBuf> {
    let mut files = BTreeMap::new();
    let mut note = |path: PathBuf| {
        let name = path.file_name().and_then(|name| SegmentName::parse(&name.to_string_lossy()));
        match name {
            Some(SegmentName::Segment(number)) => drop(files.insert(number, path)),
            // Numbers are not given twice; should somebody have copied a file, the one in use counts.
            Some(SegmentName::Damaged(number)) => drop(files.entry(number).or_insert(path)),
            Some(SegmentName::Unfinished) | None => {}
        }
    };
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| note(entry.path())),
        Err(_) => note(path.to_owned()),
    }
    files
}

/// [`salvage`](super::salvage) of segments.
pub(super) fn salvage(from: &Path, to: &Path, files: &BTreeMap<u64, PathBuf>) -> Result<Salvaged, SalvageError> {
    let folder = if from.is_dir() { from } else { from.parent().unwrap_or(Path::new(".")) };
    // A file that was set aside is nobody's.
    let is_aside = !from.is_dir() && from.to_string_lossy().ends_with(".damaged");
    let _lock = if is_aside { None } else { lock(folder)? };
    refuse_full(to)?;
    let mut surveys = Vec::new();
    for (number, path) in files {
        surveys.push(survey(*number, path)?.0);
    }
    let mut plan = Plan::new(&surveys);
    let mut copy = NewLog { to: to.to_owned(), existed: to.exists(), env: None, made: 0, states: BTreeMap::new() };
    let mut reports = Vec::new();
    let copied = (|| {
        for known in &surveys {
            let path = &files[&known.number];
            let (_, found) = survey(known.number, path)?;
            reports.push(found.report());
            for batch in plan.take(known, &found) {
                copy.batch(path, &batch)?;
            }
        }
        plan.end();
        if plan.is_empty() {
            return Err(SalvageError::Nothing(from.to_owned()));
        }
        copy.finish(&plan)
    })();
    match copied {
        Ok(()) => Ok(Salvaged { groups: plan.into_report(), files: reports }),
        Err(error) => {
            copy.give_up();
            Err(error)
        }
    }
}

fn read_failed(path: &Path) -> impl Fn(io::Error) -> SalvageError + use<> {
    let path = path.to_owned();
    move |source| SalvageError::Io { path: path.clone(), source }
}

/// What a segment says of its groups, and its records.
fn survey(number: u64, path: &Path) -> Result<(Survey, Runs), SalvageError> {
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
    let mut runs = Runs { name, is_journal: false, fault: survey.fault.clone(), whole: Vec::new(), bad: Vec::new() };
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

/// The new log: a segment for each batch, and one more to go on from.
struct NewLog {
    to: PathBuf,
    existed: bool,
    env: Option<Env>,
    made: u64,
    /// Every group as it stands in the segments made so far.
    states: BTreeMap<GroupId, GroupState>,
}

impl NewLog {
    /// Copies a batch of records of the old file `path` into a new segment, as they are.
    fn batch(&mut self, path: &Path, batch: &Batch) -> Result<(), SalvageError> {
        let old = ReadOnly(File::open(path).map_err(read_failed(path))?);
        let mut scanner = Scanner::new(&old).map_err(read_failed(path))?;
        let mut writer = self.begin()?;
        let failed = self.write_failed();
        self.states.values_mut().for_each(|state| *state = state.carried());
        let mut commit = writer.begin();
        let (mut index, mut places) = (Vec::new(), HashMap::new());
        for stretch in batch {
            let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
            let before = Seq(first.first.0 - 1);
            let begin = GroupState {
                head: before,
                base: before,
                last_hash: first.previous,
                ..GroupState::new(last.log, last.epoch)
            };
            commit.push_parts(Kind::Group, &[&encode_group(first.group, Seq::FIRST, &begin)]);
            places.insert(first.group, (index.len() as u64, stretch.len() as u64));
            for found in stretch {
                let record = read_again(&mut scanner, found).map_err(read_failed(path))?;
                let spot = commit.push_parts(Kind::Run, &[&record]);
                index.extend_from_slice(&SegmentPlace { first: found.first, spot }.encode());
                if commit.len() > PIECE {
                    writer.append_unsynced(commit).map_err(&failed)?;
                    commit = writer.begin();
                }
            }
            let state = GroupState { head: last.last, last_hash: last.hash, ..begin };
            self.states.insert(first.group, state);
        }
        let sealed = |(group, state): (&GroupId, &GroupState)| {
            let (index_at, runs) = places.get(group).copied().unwrap_or_default();
            Sealed { group: *group, state: state.clone(), first_kept: Seq::FIRST, index_at, runs }
        };
        let mut ended: Vec<Sealed> = self.states.iter().map(sealed).collect();
        push_sealed(&mut commit, &index, 0, &mut ended);
        writer.append_unsynced(commit).map_err(&failed)?;
        self.end(writer)
    }

    /// Makes the segment that the new log goes on from.
    fn finish(&mut self, plan: &Plan) -> Result<(), SalvageError> {
        let mut writer = self.begin()?;
        let mut commit = writer.begin();
        for (group, state) in plan.states() {
            commit.push_parts(Kind::Group, &[&encode_group(group, Seq::FIRST, &state)]);
        }
        for (group, config) in plan.configs() {
            commit.push_parts(Kind::Config, &[group.as_bytes(), config]);
        }
        writer.append_unsynced(commit).map_err(self.write_failed())?;
        self.end(writer)
    }

    fn begin(&mut self) -> Result<Writer, SalvageError> {
        let failed = self.write_failed();
        if self.env.is_none() {
            let (syncs, uses, opened) = (Arc::default(), AtomicU64::new(0), AtomicBool::new(false));
            let volume = Arc::new(Folder::hold(&self.to)?);
            self.env = Some(Env { volume, options: DiskOptions::default(), syncs, uses, opened });
        }
        let env = self.env.as_ref().expect("it was just made");
        self.made += 1;
        Writer::create(env, self.made, (env.options.clock)()).map_err(failed)
    }

    fn end(&self, mut writer: Writer) -> Result<(), SalvageError> {
        let env = self.env.as_ref().expect("a segment was begun in it");
        writer.name(env).map_err(self.write_failed())
    }

    fn write_failed(&self) -> impl Fn(io::Error) -> SalvageError + use<> {
        read_failed(&self.to)
    }

    /// Removes what was made, for it is not the whole.
    fn give_up(self) {
        let Self { to, existed, env, made, states: _ } = self;
        if env.is_none() {
            return;
        }
        drop(env);
        let names = (1..=made).map(file_name).chain(["lock".to_owned()]);
        for name in names {
            fs::remove_file(to.join(&name)).ok();
            fs::remove_file(to.join(format!("{name}.new"))).ok();
        }
        if !existed {
            fs::remove_dir(to).ok();
        }
    }
}

fn read_again(scanner: &mut Scanner<'_>, found: &Found) -> io::Result<Bytes> {
    let (Place::Read(offset) | Place::At(offset)) = found.place else {
        return Err(io::Error::other("a segment has no table"));
    };
    let frame = scanner.frame(offset)?.filter(|frame| Record::hash_of(&frame.body) == found.hash);
    let changed = "a record that was whole is not any more: the disk, or somebody, changes the file while it is read";
    frame.map(|frame| frame.body).ok_or_else(|| Fault::damaged(changed).into_io())
}
