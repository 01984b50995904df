//! A session of an owner: where it knows the log to end, and what it knows to count there.
//!
//! A record counts only at the very offset that its writer says, which is where the writer's knowledge
//! of the log ended. So a write is a comparison as well: whatever was written meanwhile, by whomever,
//! moves the record, and a record that was moved is void for all readers. Of a session one write is
//! under way at most; and whatever goes wrong ends the session.

use orrery_journal::{Group, Owner};

use crate::failure::{Deadline, Failure};
use crate::log::Log;
use crate::state::{Piece, State, head};

/// Bytes of a group in one record: what every broker takes with its defaults.
pub(crate) const PIECE_BYTES: usize = 768 << 10;

/// What nobody has overtaken yet, as far as it knows.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) owner: Owner,
    pub(crate) state: State,
    /// Where the log ends.
    pub(crate) end: i64,
}

impl Session {
    /// With what the log says. A broker that does not know yet that it leads no more may say something
    /// old: a write shows that.
    pub(crate) fn begin(log: Log<'_>, owner: Owner, deadline: Deadline) -> Result<Self, Failure> {
        let tail = log.look(deadline)?;
        // Who does not own it must not disturb who does. Owners only grow, so this is final however old
        // the state is.
        tail.state.admit(owner)?;
        Ok(Self { owner, state: tail.state, end: tail.end })
    }

    /// Makes sure that what the session knows is all there is.
    pub(crate) fn confirm(&mut self, log: Log<'_>, deadline: Deadline) -> Result<(), Failure> {
        self.write(log, self.state.clone(), None, deadline)
    }

    /// Makes `state` count, together with a group. After a failure the session must not be used.
    pub(crate) fn write(
        &mut self,
        log: Log<'_>,
        state: State,
        group: Option<&Group>,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let begin = self.end;
        let (mut piece, pieces) = match group {
            Some(group) => {
                let pieces: Vec<&[u8]> = group.bytes().chunks(PIECE_BYTES).collect();
                let (first, last) = (group.first().0, group.last().0);
                (Piece { first, last, number: 0, count: pieces.len() as u32 }, pieces)
            }
            None => (Piece::NONE, vec![[].as_slice()]),
        };
        for bytes in pieces {
            // The last piece makes the group count.
            let is_last = piece.number + 1 >= piece.count;
            let said = if is_last { &state } else { &self.state };
            let head = head(log.shard, self.end, said, piece);
            let offset = log.topic.produce(&[&head, bytes], deadline)?;
            if offset != self.end {
                let reason = "the log does not end where it did: another session wrote";
                return Err(Failure::Again(reason.to_owned()));
            }
            piece.number += 1;
            self.end += 1;
        }
        if group.is_some() {
            log.seen.note(piece.first, begin);
        }
        self.state = state;
        Ok(())
    }
}
