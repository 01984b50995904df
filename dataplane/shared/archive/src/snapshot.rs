//! An image in parts, and the manifest that makes it a snapshot.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Archive, ArchiveError, FIRST_LINE, SnapshotName};

/// Size of a part, in bytes: what an upload keeps in memory.
const PART_BYTES: usize = 8 << 20;
/// Parts of one snapshot, 1 TiB in all: a manifest of that many still fits one object.
const PARTS_MAX: usize = 1 << 17;

/// One piece of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub bytes: u64,
    pub crc32c: u32,
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub position: u64,
    /// When it was begun, microseconds since the Unix epoch.
    pub time_us: i64,
    pub epoch: u64,
    /// The line whose writer put it; left out: the first.
    #[serde(default, skip_serializing_if = "is_first")]
    pub line: u64,
    pub parts: Vec<Part>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_first(line: &u64) -> bool {
    *line == FIRST_LINE
}

impl Manifest {
    pub fn name(&self) -> SnapshotName {
        SnapshotName { position: self.position, time_us: self.time_us, line: self.line }
    }

    /// Bytes of the whole image.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    pub(crate) fn decode(name: SnapshotName, object: &[u8]) -> Result<Self, ArchiveError> {
        let damaged = |reason| ArchiveError::damaged(&name.to_string(), reason);
        let manifest: Self =
            serde_json::from_slice(object).map_err(|_| damaged("it is no manifest"))?;
        if manifest.name() != name || manifest.parts.len() > PARTS_MAX {
            return Err(damaged("it is not what its name says"));
        }
        Ok(manifest)
    }
}

/// Takes an image piece by piece, and puts it in parts.
#[derive(Debug)]
pub struct PartWriter {
    archive: Archive,
    manifest: Manifest,
    pending: Vec<u8>,
}

impl PartWriter {
    pub(crate) fn new(archive: Archive, name: SnapshotName, epoch: u64) -> Self {
        let SnapshotName { position, time_us, line } = name;
        let manifest = Manifest { position, time_us, epoch, line, parts: vec![] };
        Self { archive, manifest, pending: vec![] }
    }

    /// Adds bytes to the image.
    pub async fn write(&mut self, mut piece: &[u8]) -> Result<(), ArchiveError> {
        while !piece.is_empty() {
            let room = (PART_BYTES - self.pending.len()).min(piece.len());
            let (now, later) = piece.split_at(room);
            self.pending.extend_from_slice(now);
            piece = later;
            if self.pending.len() == PART_BYTES {
                self.put_part().await?;
            }
        }
        Ok(())
    }

    /// Puts what is left, then the manifest: from then on there is a snapshot.
    pub async fn finish(mut self) -> Result<Manifest, ArchiveError> {
        if !self.pending.is_empty() {
            self.put_part().await?;
        }
        let name = self.manifest.name().to_string();
        let json = serde_json::to_vec(&self.manifest)
            .expect("a manifest has string keys and plain numbers only");
        self.archive.put_once(&name, json.into()).await?;
        Ok(self.manifest)
    }

    async fn put_part(&mut self) -> Result<(), ArchiveError> {
        let number = self.manifest.parts.len();
        let name = self.manifest.name().part(number);
        if number == PARTS_MAX {
            return Err(ArchiveError::damaged(&name, "the image has too many parts"));
        }
        let content = Bytes::from(std::mem::take(&mut self.pending));
        let part = Part { bytes: content.len() as u64, crc32c: crc32c::crc32c(&content) };
        // A part without a manifest is the rest of an attempt that died: it is replaced.
        self.archive.store().put(&name, content).await?;
        self.manifest.parts.push(part);
        Ok(())
    }
}
