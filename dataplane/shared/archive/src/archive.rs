//! The archive of one journal: what is put, listed and fetched.

use bytes::Bytes;
use orrery_blob::{Entry, Put, Store};

use crate::group::Group;
use crate::name::{IMAGES, JOURNAL, LINES, SNAPSHOTS, line_name, parse_line_name};
use crate::{ArchiveError, FIRST_LINE, GroupName, Line, Manifest, PartWriter, SnapshotName, View};

/// What engines say of themselves.
const ENGINE: &str = "engine.json";

/// An archive. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Store,
}

impl Archive {
    /// The archive in a store. Who writes to it must own it, see [`Owner`](crate::Owner).
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Puts an object that is never changed; the same content again is no error.
    pub(crate) async fn put_once(&self, name: &str, content: Bytes) -> Result<(), ArchiveError> {
        if self.store.put_new(name, content.clone()).await? == Put::Exists
            && self.store.get(name).await? != content
        {
            return Err(ArchiveError::Conflict { name: name.to_owned() });
        }
        Ok(())
    }

    /// Says what engine the journal is of, once and for ever; the same again is no error.
    pub async fn describe(&self, engine: Bytes) -> Result<(), ArchiveError> {
        self.put_once(ENGINE, engine).await
    }

    /// What was said of the engine, if anything was.
    pub async fn engine(&self) -> Result<Option<Bytes>, ArchiveError> {
        match self.store.get(ENGINE).await {
            Ok(said) => Ok(Some(said)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Epochs whose writers put something, or were about to, ascending. The last one is the line
    /// that counts.
    pub async fn lines(&self) -> Result<Vec<u64>, ArchiveError> {
        let pick = |entry: Entry| parse_line_name(&entry.name);
        let mut lines = self.store.pick(LINES, "", pick).await?;
        lines.sort_unstable();
        Ok(lines)
    }

    /// What is said of a line.
    pub async fn line(&self, epoch: u64) -> Result<Line, ArchiveError> {
        match self.store.get(&line_name(epoch)).await {
            Ok(object) => Line::decode(epoch, &object),
            Err(error) if error.is_not_found() => Err(ArchiveError::NoLine { epoch }),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a line; gives what is said of it, which is what its first writer said.
    pub async fn begin_line(&self, line: Line) -> Result<Line, ArchiveError> {
        match self.store.put_new(&line_name(line.epoch), line.encode()).await? {
            Put::Created => Ok(line),
            Put::Exists => self.line(line.epoch).await,
        }
    }

    /// What belongs to the line of `epoch`, or of the newest one.
    pub async fn view(&self, epoch: Option<u64>) -> Result<View, ArchiveError> {
        let newest = match epoch {
            Some(epoch) => Some(epoch),
            None => self.lines().await?.last().copied(),
        };
        match newest {
            None | Some(FIRST_LINE) => Ok(View::first()),
            Some(epoch) => Ok(View::of(&self.line(epoch).await?)),
        }
    }

    /// Puts records; the same ones again are no error.
    pub async fn put_group(&self, name: GroupName, object: Bytes) -> Result<(), ArchiveError> {
        self.put_once(&name.to_string(), object).await
    }

    /// Groups that hold records behind `position`, by position, each with its size in bytes.
    pub async fn groups_behind(
        &self,
        position: u64,
    ) -> Result<Vec<(GroupName, u64)>, ArchiveError> {
        let pick = |entry: Entry| {
            let name = GroupName::parse(&entry.name)?;
            (name.last > position).then_some((name, entry.bytes))
        };
        let after = GroupName::before(position);
        let mut groups = self.store.pick(JOURNAL, &after, pick).await?;
        groups.sort_unstable();
        Ok(groups)
    }

    /// Whole snapshots, by position.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotName>, ArchiveError> {
        let pick = |entry: Entry| SnapshotName::parse(&entry.name);
        let mut snapshots = self.store.pick(SNAPSHOTS, "", pick).await?;
        snapshots.sort_unstable();
        Ok(snapshots)
    }

    /// Names of what nobody needs who begins with the snapshot at `position` or a later one, in the
    /// order in which it may be removed: manifests first, so that no snapshot loses parts or records
    /// that it still promises.
    pub async fn needless_before(&self, position: u64) -> Result<Vec<String>, ArchiveError> {
        let manifest = |entry: Entry| {
            let name = SnapshotName::parse(&entry.name)?;
            (name.position < position).then_some(entry.name)
        };
        let part = |entry: Entry| {
            let at = SnapshotName::position_of_part(&entry.name)?;
            (at < position).then_some(entry.name)
        };
        let group = |entry: Entry| {
            let name = GroupName::parse(&entry.name)?;
            (name.last <= position).then_some(entry.name)
        };
        let mut names = self.store.pick(SNAPSHOTS, "", manifest).await?;
        names.extend(self.store.pick(IMAGES, "", part).await?);
        names.extend(self.store.pick(JOURNAL, "", group).await?);
        Ok(names)
    }

    /// Removes an object of [`needless_before`](Self::needless_before).
    pub async fn remove(&self, name: &str) -> Result<(), ArchiveError> {
        Ok(self.store.delete(name).await?)
    }

    /// Begins a snapshot.
    pub fn begin_snapshot(&self, name: SnapshotName, epoch: u64) -> PartWriter {
        PartWriter::new(self.clone(), name, epoch)
    }

    /// Records of a group, checked.
    pub async fn group(&self, name: GroupName) -> Result<Group, ArchiveError> {
        Group::open(name, self.store.get(&name.to_string()).await?)
    }

    /// The manifest of a snapshot.
    pub async fn manifest(&self, name: SnapshotName) -> Result<Manifest, ArchiveError> {
        Manifest::decode(name, &self.store.get(&name.to_string()).await?)
    }

    /// One part of a snapshot, checked; `None` behind the last.
    pub async fn part(
        &self,
        manifest: &Manifest,
        number: usize,
    ) -> Result<Option<Bytes>, ArchiveError> {
        let Some(part) = manifest.parts.get(number) else { return Ok(None) };
        let name = manifest.name().part(number);
        let content = self.store.get(&name).await?;
        if content.len() as u64 != part.bytes || crc32c::crc32c(&content) != part.crc32c {
            return Err(ArchiveError::damaged(&name, "it does not match its checksum"));
        }
        Ok(Some(content))
    }
}
