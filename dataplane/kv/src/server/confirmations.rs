//! `WAIT`: how many followers confirmed what a client wrote last, and clients that wait for more.
//!
//! A member of the group counts once the write is on its disk; a replica of Redis once it has executed
//! it, which is all it says. What is counted is no promise of this primary: that is made by the followers
//! that must have a write before its reply leaves.

use super::Shard;
use super::connection::Connection;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// Position of its last write.
    pub(crate) position: u64,
    /// Followers that must have it.
    pub(crate) followers: i64,
}

/// How far each follower is.
#[derive(Debug)]
pub(crate) struct Confirmations(Vec<u64>);

impl Confirmations {
    /// Followers that have everything up to `position`.
    pub(crate) fn of(&self, position: u64) -> i64 {
        self.0.iter().filter(|confirmed| **confirmed >= position).count() as i64
    }
}

impl Shard {
    pub(crate) fn confirmations(&self) -> Confirmations {
        let mut all = self.group.as_ref().map_or_else(Vec::new, |group| group.peers().confirmed());
        all.extend(self.replicas.list().iter().filter_map(|replica| replica.executed()));
        Confirmations(all)
    }

    /// Lets the connection wait if its command asked for that.
    pub(crate) fn begin_wait_for_followers(&mut self, connection: &mut Connection) -> bool {
        let Some((awaited, timeout_ms)) = self.waiting.asked.take() else { return false };
        self.begin_wait(connection, timeout_ms);
        self.waiting.for_followers.insert(connection.id, awaited);
        self.ask_followers(true);
        true
    }

    /// Answers those whose followers have it now.
    pub(crate) fn serve_confirmed(&mut self) {
        if self.waiting.for_followers.is_empty() {
            return;
        }
        let confirmations = self.confirmations();
        let waiting = self.waiting.for_followers.iter();
        let done = waiting.filter(|(_, on)| confirmations.of(on.position) >= on.followers);
        let done: Vec<u64> = done.map(|(id, _)| *id).collect();
        for id in done {
            self.end_wait(id, super::waiting::WaitEnd::Timeout);
        }
        self.ask_followers(!self.waiting.for_followers.is_empty());
    }

    /// Whether this loop is to be woken by confirmations, and replicas are to be asked for them.
    fn ask_followers(&self, on: bool) {
        if let Some(group) = &self.group {
            group.peers().set_awaited(on);
        }
        self.replicas.set_awaited(on);
    }
}
