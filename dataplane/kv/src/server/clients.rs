//! All connections of a shard, by slot (what the poll loop says) and by id (what clients say).

use mio::Token;

use super::connection::Connection;

/// Tokens below this belong to listeners and the waker.
const FIRST_TOKEN: usize = 16;

/// A slab of connections. A connection is taken out while it runs, so that commands can look at
/// all others.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    next_id: u64,
    len: usize,
}

impl Clients {
    /// Connected clients.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// An id that was never used before in this process.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The slot that the next [`Clients::insert`] fills.
    pub(crate) fn vacant(&mut self) -> usize {
        if let Some(slot) = self.free.last() {
            return *slot;
        }
        self.slots.push(None);
        self.free.push(self.slots.len() - 1);
        self.slots.len() - 1
    }

    pub(crate) fn insert(&mut self, connection: Box<Connection>) -> usize {
        let slot = self.vacant();
        self.free.pop();
        self.slots[slot] = Some(connection);
        self.len += 1;
        slot
    }

    /// Takes a connection out to run it; [`Clients::put_back`] or [`Clients::forget`] follows.
    #[inline]
    pub(crate) fn take(&mut self, slot: usize) -> Option<Box<Connection>> {
        self.slots.get_mut(slot)?.take()
    }

    #[inline]
    pub(crate) fn put_back(&mut self, slot: usize, connection: Box<Connection>) {
        debug_assert!(self.slots[slot].is_none());
        self.slots[slot] = Some(connection);
    }

    /// The connection that was taken out of `slot` is gone for good.
    pub(crate) fn forget(&mut self, slot: usize) {
        debug_assert!(self.slots[slot].is_none());
        self.free.push(slot);
        self.len -= 1;
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// Slots and connections, oldest id last to first in no promised order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Connection)> {
        self.slots.iter().enumerate().filter_map(|(slot, c)| Some((slot, c.as_deref()?)))
    }

    /// All slots there are, occupied or not.
    pub(crate) fn slots(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }

    pub(crate) fn token(slot: usize) -> Token {
        Token(slot + FIRST_TOKEN)
    }

    pub(crate) fn slot(token: Token) -> Option<usize> {
        token.0.checked_sub(FIRST_TOKEN)
    }
}
