//! The archive of one journal: what is put, listed and fetched.

use bytes::Bytes;
use orrery_blob::{Entry, Put, Store};

use crate::group::Group;
use crate::name::{IMAGES, JOURNAL, SNAPSHOTS};
use crate::{ArchiveError, GroupName, Manifest, PartWriter, SnapshotName};

/// The object that says whose archive it is.
const OWNER: &str = "owner";

/// An archive. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Store,
}

impl Archive {
    /// An archive to read from.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// An archive to write to: takes the address for `owner`, or finds that it is theirs already.
    /// Two journals in one place would destroy each other, so anything else is `Foreign`.
    pub async fn claim(store: Store, owner: &str) -> Result<Self, ArchiveError> {
        if store.put_new(OWNER, Bytes::from(owner.to_owned())).await? == Put::Exists {
            let found = store.get(OWNER).await?;
            if found != owner.as_bytes() {
                let found = String::from_utf8_lossy(&found[..found.len().min(200)]).into_owned();
                return Err(ArchiveError::Foreign { found, asked: owner.to_owned() });
            }
        }
        Ok(Self { store })
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
