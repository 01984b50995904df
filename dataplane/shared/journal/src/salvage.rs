//! What is provably good of a damaged journal, written into a folder of its own.
//!
//! That is the newest intact snapshot, and every record behind it in order up to the first one that is
//! damaged or missing. Records behind the damage are counted and left out: a state made with a hole in
//! its history is wrong in ways that nobody can see. The damaged folder is only read.

mod source;
mod target;

use std::sync::Arc;

use crate::walk::Step;
use crate::{Damage, Disk, Epoch, JournalError, Position, scrub};
use source::{Segment, Source};
use target::Target;

/// What was salvaged, and what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvage {
    /// The snapshot that the new journal begins with, 0 for none. Its records begin behind it.
    pub snapshot: Position,
    /// The last record of the new journal.
    pub last: Position,
    /// The epoch of the new journal.
    pub epoch: Epoch,
    /// Where the history ends, if it does not end as that of an undamaged journal.
    pub ends: Option<Damage>,
    /// Damaged files that were not needed, or could be done without.
    pub passed_over: Vec<Damage>,
    /// Intact records behind the end, which were left out.
    pub left_out: u64,
    /// The highest position that what is left proves to have been acknowledged.
    pub proven: Position,
}

impl Salvage {
    /// Records written behind the snapshot.
    pub fn records(&self) -> u64 {
        self.last.0 - self.snapshot.0
    }

    /// Acknowledged records that are lost for certain. More may be: what was damaged beyond
    /// recognition proves nothing.
    pub fn lost_at_least(&self) -> u64 {
        self.proven.0.saturating_sub(self.last.0)
    }
}

/// Why nothing was salvaged. What was written into the new folder by then is not to be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SalvageError {
    /// The new folder is not empty.
    #[error("the folder to salvage into is not empty")]
    NotEmpty,
    /// There is neither an intact snapshot nor a first record.
    #[error("nothing can be salvaged: {reason}")]
    NothingLeft {
        /// What is in the way.
        reason: String,
    },
    /// The damaged folder cannot be listed, or is of a version that this program does not know: what
    /// would be left out then is not damaged.
    #[error("failed to read the damaged journal")]
    Source(#[source] JournalError),
    /// The new folder cannot be written.
    #[error("failed to write the salvaged journal")]
    Target(#[source] JournalError),
}

/// Writes what is provably good of the journal in `from`, which nobody has open, into the empty folder
/// `to`, where it can be opened as a journal. `progress` hears how many bytes are done, of how many.
pub fn salvage(
    from: &dyn Disk,
    to: &Arc<dyn Disk>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Salvage, SalvageError> {
    if !to.list().map_err(|e| target_error("list", e))?.is_empty() {
        return Err(SalvageError::NotEmpty);
    }
    let mut source = Source::look(from, progress)?;
    let snapshot = source.newest_snapshot();
    let mut target = Target::new(Arc::clone(to), source.shard()?, snapshot);
    let (mut ends, mut left_out) = (None, 0);
    for (first, next) in source.segments_behind(snapshot) {
        let segment = match source.segment(first) {
            Ok(segment) => segment,
            Err(damage) => {
                ends.get_or_insert(damage);
                continue;
            }
        };
        let expected = target.last() + 1;
        if ends.is_none() && first > expected {
            ends = Some(Damage::missing(expected));
        }
        if ends.is_none() {
            ends = copy(&source, &segment, next, &mut target)?;
        }
        left_out += segment.count_behind(target.last(), &mut source);
    }
    let last = target.last();
    if ends.is_none() && (source.proven() > last || !source.has_segments()) {
        ends = Some(Damage::missing(last + 1));
    }
    if let (0, Some(damage)) = (last, &ends) {
        let reason = format!("{}: {}", damage.file, damage.reason);
        return Err(SalvageError::NothingLeft { reason });
    }
    let epoch = target.finish(&mut source)?;
    match scrub(&**to).map_err(SalvageError::Target)?.as_slice() {
        [] => {}
        [damage, ..] => {
            let Damage { position, file, reason } = damage;
            let error = JournalError::corrupt(position.0, file, reason.clone());
            return Err(SalvageError::Target(error));
        }
    }
    Ok(Salvage {
        snapshot: Position(snapshot),
        last: Position(last),
        epoch: Epoch(epoch),
        ends,
        passed_over: source.take_passed_over(),
        left_out,
        proven: Position(source.proven().max(last)),
    })
}

/// Copies the records of a segment that follow the last one written. `next` is the first position of
/// the segment behind it, if there is one: then it must be reached. Gives what was in the way.
fn copy(
    source: &Source<'_>,
    segment: &Segment,
    next: Option<u64>,
    target: &mut Target,
) -> Result<Option<Damage>, SalvageError> {
    let Some(mut cursor) = segment.cursor_behind(target.last()) else {
        // The last segment may hold nothing behind the snapshot; any other one must.
        return Ok(next.map(|_| segment.damage(target.last() + 1, "no intact frame header")));
    };
    target.begin(source, segment.epoch())?;
    loop {
        if next.is_some_and(|next| cursor.last + 1 >= next) {
            return Ok(None);
        }
        let bad = cursor.last + 1;
        match cursor.step(segment.bytes()) {
            Step::Record(header, body) => target.write(&header.entry(body))?,
            // What a crash leaves behind is no damage; whether it is more is seen by what is proven.
            Step::End(_) if next.is_none() && !segment.proves(bad, cursor.offset) => {
                return Ok(None);
            }
            Step::End(reason) => return Ok(Some(segment.damage(bad, reason))),
            Step::Disorder(reason) => return Ok(Some(segment.damage(bad, &reason))),
        }
    }
}

fn target_error(action: &'static str, error: std::io::Error) -> SalvageError {
    SalvageError::Target(JournalError::io(action, "the new folder", error))
}
