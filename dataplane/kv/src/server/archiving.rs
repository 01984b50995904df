//! The event loop's word to the archiver: who writes the archive, and what no failover takes back.

use super::Shard;
use orrery_archiving::post::Mandate;

impl Shard {
    /// This process writes the archive from now on, under `epoch`.
    pub(crate) fn begin_archiving(&mut self, epoch: u64) {
        let history = self.log.history();
        let begins = history.start_of(epoch).map_or(self.log.appended(), |first| first - 1);
        let mandate = Mandate::new(epoch, begins, history, self.failsafe());
        self.posts.take(self.log.journal().feed(), Some(mandate));
    }

    /// Somebody else writes it.
    pub(crate) fn stop_archiving(&mut self) {
        self.posts.take(self.log.journal().feed(), None);
    }

    /// Takes up the post of a process that has just read its journal.
    pub(crate) fn take_up_post(&mut self) {
        match &self.group {
            Some(_) => self.stop_archiving(),
            None => self.begin_archiving(self.log.epoch()),
        }
    }
}
