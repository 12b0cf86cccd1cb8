//! The copy: a log in segments.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use gaung_proto::{GroupId, Seq};

use super::{
    collect::Found,
    plan::{Batch, Plan},
    report::{SalvageError, read_failed},
    source::ReadOnly,
};
use crate::{
    fault::Fault,
    layout::GroupState,
    options::{DiskOptions, Env},
    record::Record,
    segment::{
        committer::push_sealed,
        contents::encode_group,
        file::{Sealed, file_name},
        frame::{Kind, Place},
        scan::Scanner,
        writer::Writer,
    },
    volume::Folder,
};

/// Bytes of records in memory at a time.
const PIECE: usize = 4 << 20;

/// The new log: a segment for each batch, and one more to go on from.
pub(super) struct NewLog {
    to: PathBuf,
    existed: bool,
    env: Option<Env>,
    made: u64,
    /// Every group as it stands in the segments made so far.
    states: BTreeMap<GroupId, GroupState>,
}

impl NewLog {
    pub(super) fn new(to: &Path) -> Self {
        Self { to: to.to_owned(), existed: to.exists(), env: None, made: 0, states: BTreeMap::new() }
    }

    /// Copies a batch of records of the old file `path` into a new segment, as they are.
    pub(super) fn batch(&mut self, path: &Path, batch: &Batch) -> Result<(), SalvageError> {
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
                index.extend_from_slice(&Place { first: found.first, spot }.encode());
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
    pub(super) fn finish(&mut self, plan: &Plan) -> Result<(), SalvageError> {
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
            self.env = Some(Env::new(Arc::new(Folder::hold(&self.to)?), DiskOptions::default()));
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
    pub(super) fn give_up(self) {
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
    let frame = scanner.frame(found.place.offset())?.filter(|frame| Record::hash_of(&frame.body) == found.hash);
    let changed = "a record that was whole is not any more: the disk, or somebody, changes the file while it is read";
    frame.map(|frame| frame.body).ok_or_else(|| Fault::damaged(changed).into_io())
}
