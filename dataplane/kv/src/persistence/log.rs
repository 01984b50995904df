//! The journal as the event loop sees it: positions are known before records are accepted, and a
//! record that the journal cannot take now waits here without losing its place.

use std::collections::VecDeque;
use std::sync::Arc;

use orrery_journal::{Carrier, Epoch, Journal, JournalError, Owner, Position, Record};

use orrery_archiving::History;

/// A record that the journal had no room for yet.
#[derive(Debug)]
struct Waiting {
    epoch: u64,
    kind: u8,
    time_us: i64,
    body: Vec<u8>,
}

/// What stands in the way of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    DiskFull,
    /// What carries the journal does not answer.
    Away,
    /// Final: the process must restart and recover.
    Failed,
    /// A higher epoch was granted to another owner.
    Fenced,
}

/// Appends records in order.
#[derive(Debug)]
pub(crate) struct Log {
    journal: Journal,
    waiting: VecDeque<Waiting>,
    /// Position of the last record handed to [`Log::append`], accepted by the journal or not.
    last: u64,
    trouble: Option<Trouble>,
    refusal: String,
    /// Writes under epochs below this one are refused.
    fenced_below: u64,
    history: History,
}

impl Log {
    /// `fenced_below` and `history`: what recovery found.
    pub(crate) fn new(journal: Journal, fenced_below: u64, history: History) -> Self {
        let last = journal.last().0;
        let mut log = Self {
            journal,
            waiting: VecDeque::new(),
            last,
            trouble: None,
            refusal: String::new(),
            fenced_below,
            history,
        };
        log.refresh();
        log
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// One step of a journal without threads.
    #[cfg(test)]
    pub(crate) fn step_journal(&mut self) -> bool {
        self.journal.step()
    }

    /// The position the next record will have.
    pub(crate) fn next_position(&self) -> u64 {
        self.last + 1
    }

    /// The position of the last record appended.
    pub(crate) fn appended(&self) -> u64 {
        self.last
    }

    /// The last position, counting effects that are about to be appended.
    #[inline]
    pub(crate) fn last_position_with(&self, effects: &[u8]) -> u64 {
        self.last + u64::from(!effects.is_empty())
    }

    pub(crate) fn durable(&self) -> u64 {
        self.journal.durable().0
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.journal.epoch().0
    }

    pub(crate) fn fenced_below(&self) -> u64 {
        self.fenced_below
    }

    /// Which positions have which epoch.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Appends a record; it keeps its place even when the journal has no room now.
    pub(crate) fn append(&mut self, kind: u8, time_us: i64, body: &[u8]) -> u64 {
        self.append_under(self.epoch(), kind, time_us, body)
    }

    /// As [`Self::append`], with the epoch of the primary that wrote it.
    pub(crate) fn append_under(&mut self, epoch: u64, kind: u8, time_us: i64, body: &[u8]) -> u64 {
        self.last += 1;
        self.history.note(self.last, epoch);
        if self.waiting.is_empty() {
            match self.offer(epoch, kind, time_us, body) {
                Ok(position) => {
                    debug_assert_eq!(position, Position(self.last));
                    return self.last;
                }
                Err(error) => self.note(&error),
            }
        }
        self.waiting.push_back(Waiting { epoch, kind, time_us, body: body.to_vec() });
        self.last
    }

    fn offer(
        &mut self,
        epoch: u64,
        kind: u8,
        time_us: i64,
        body: &[u8],
    ) -> Result<Position, JournalError> {
        self.journal.append_under(Epoch(epoch), Record { stream: 0, kind, time_us, body })
    }

    /// Whether a record would be taken now rather than wait here.
    pub(crate) fn takes_more(&self) -> bool {
        self.waiting.is_empty() && !self.journal.is_full() && !self.is_failed()
    }

    /// Takes records of `epoch` from now on; durable when this returns.
    pub(crate) fn raise_epoch(&mut self, epoch: u64) -> Result<(), JournalError> {
        if epoch > self.epoch() { self.journal.raise_epoch(Epoch(epoch)) } else { Ok(()) }
    }

    /// Hands everything appended to the disk.
    pub(crate) fn flush(&mut self) {
        self.journal.flush();
    }

    /// Looks at the journal again after it made progress: offers what waits, finds out whether
    /// writes are possible.
    pub(crate) fn refresh(&mut self) {
        self.trouble = None;
        while let Some(record) = self.waiting.pop_front() {
            match self.offer(record.epoch, record.kind, record.time_us, &record.body) {
                Ok(_) => {}
                Err(error) => {
                    self.note(&error);
                    self.waiting.push_front(record);
                    break;
                }
            }
        }
        self.journal.flush();
        if let Some(error) = self.journal.failed() {
            self.note(&error);
        } else if self.journal.is_full() {
            self.set(Trouble::DiskFull, "the disk of the journal is full");
        } else if self.journal.is_away() {
            self.set(Trouble::Away, "what carries the journal does not answer");
        } else if self.trouble.is_none() && self.epoch() < self.fenced_below {
            let text = format!("a later owner holds epoch {}", self.fenced_below);
            self.set(Trouble::Fenced, &text);
        }
    }

    fn note(&mut self, error: &JournalError) {
        match error {
            JournalError::QueueFull { .. } => {}
            JournalError::DiskFull { .. } => self.set(Trouble::DiskFull, &error.to_string()),
            other => self.set(Trouble::Failed, &other.to_string()),
        }
    }

    fn set(&mut self, trouble: Trouble, why: &str) {
        self.trouble = Some(trouble);
        self.refusal = match trouble {
            Trouble::DiskFull | Trouble::Away => {
                format!("MISCONF writes are refused for now: {why}")
            }
            Trouble::Failed => format!("MISCONF writes are refused until a restart: {why}"),
            Trouble::Fenced => format!("READONLY this pod was fenced: {why}"),
        };
    }

    /// The trouble in one word, as `Report` gives it; empty when there is none.
    pub(crate) fn reason(&self) -> &'static str {
        match self.trouble {
            None => "",
            Some(Trouble::DiskFull) => "JournalFull",
            Some(Trouble::Away) => "JournalAway",
            Some(Trouble::Failed) => "JournalFailed",
            Some(Trouble::Fenced) => "Fenced",
        }
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.trouble == Some(Trouble::Fenced)
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.trouble == Some(Trouble::Failed)
    }

    /// The epoch of another owner who has taken over what carries the journal while records were on
    /// their way: none of them is carried or in the folder, which is whole.
    pub(crate) fn replaced_by(&self) -> Option<u64> {
        match self.journal.failed() {
            Some(JournalError::Fenced { held, .. }) if self.carrier().is_some() => Some(held.0),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn is_writable(&self) -> bool {
        self.trouble.is_none()
    }

    /// The error reply for writes while they are refused.
    pub(crate) fn refusal(&self) -> &str {
        &self.refusal
    }

    /// Records wait for room: nothing that could write may run until they are in.
    #[inline]
    pub(crate) fn is_stalled(&self) -> bool {
        !self.waiting.is_empty() && self.trouble.is_none()
    }

    /// Accepts writes under `epoch`, which is durable when this returns.
    pub(crate) fn promote(&mut self, epoch: u64) -> Result<(), JournalError> {
        if epoch < self.fenced_below {
            let held = Epoch(self.fenced_below);
            return Err(JournalError::Fenced { held, asked: Epoch(epoch) });
        }
        self.journal.raise_epoch(Epoch(epoch))?;
        self.refresh();
        Ok(())
    }

    /// Accepts writes on behalf of `owner`, who has taken over what carries the journal; durable when
    /// this returns.
    pub(crate) fn own(&mut self, owner: Owner) -> Result<(), JournalError> {
        self.journal.own(owner)?;
        self.refresh();
        Ok(())
    }

    /// Takes records as a follower's from now on. `Unsettled` while own ones are under way.
    pub(crate) fn disown(&mut self) -> Result<(), JournalError> {
        if self.journal.owner().is_some() { self.journal.disown() } else { Ok(()) }
    }

    /// What carries the journal, if anything does.
    pub(crate) fn carrier(&self) -> Option<&Arc<dyn Carrier>> {
        self.journal.carrier()
    }

    /// Everything appended counts.
    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.durable() == self.last
    }

    /// Refuses writes under epochs below `epoch`; the caller has appended the record of it.
    pub(crate) fn fence(&mut self, epoch: u64) {
        self.fenced_below = self.fenced_below.max(epoch);
        self.refresh();
    }

    /// Ends the journal; everything accepted is on disk when this returns without an error.
    pub(crate) fn close(self) -> Result<u64, JournalError> {
        self.journal.close().map(|position| position.0)
    }
}
