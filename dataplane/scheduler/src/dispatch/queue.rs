//! The calls that wait for one target: by priority, then in turn by tenant, then by planned time.
//!
//! Tenants of one priority take turns by deficit round robin (Shreedhar and Varghese, 1995): each
//! turn adds a quantum, and a call with a large body takes several. A tenant with most of the calls
//! gets no more than its share while others wait.
//!
//! Invariants: a tenant is in the ring of its level exactly while it has calls there; nothing of a
//! call stays behind once it is popped or removed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::HashMap;

use crate::run::RunId;

/// Priorities 0 to 9.
const LEVELS: usize = 10;
/// What a tenant may spend in one turn: one call whose body is not large.
const QUANTUM: u32 = 1;
/// Bytes of body that cost as much as a call.
const BYTES_A_QUANTUM: usize = 64 << 10;

/// Where a call stands, enough to find it again.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) priority: u8,
    pub(super) tenant: Arc<str>,
    pub(super) planned_ms: i64,
    /// Order of arrival, unique.
    pub(super) sequence: u64,
}

/// What a call with a body of this size takes of its tenant's turns.
pub(super) fn cost(body_bytes: usize) -> u32 {
    QUANTUM + u32::try_from(body_bytes / BYTES_A_QUANTUM).unwrap_or(u32::MAX - QUANTUM)
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    levels: [Level; LEVELS],
    calls: usize,
}

#[derive(Debug, Default)]
struct Level {
    tenants: HashMap<Arc<str>, Tenant>,
    /// Whose turn it is, first.
    ring: VecDeque<Arc<str>>,
}

#[derive(Debug, Default)]
struct Tenant {
    calls: BTreeMap<(i64, u64), (RunId, u32)>,
    deficit: u32,
    /// Whether this turn's quantum was added.
    has_turn: bool,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.calls
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls == 0
    }

    pub(super) fn push(&mut self, place: &Place, run: RunId, cost: u32) {
        let level = &mut self.levels[level_of(place)];
        if !level.tenants.contains_key(&place.tenant) {
            level.ring.push_back(Arc::clone(&place.tenant));
            level.tenants.insert(Arc::clone(&place.tenant), Tenant::default());
        }
        if let Some(tenant) = level.tenants.get_mut(&place.tenant) {
            tenant.calls.insert((place.planned_ms, place.sequence), (run, cost));
            self.calls += 1;
        }
    }

    /// The call that is sent next.
    pub(super) fn pop(&mut self) -> Option<RunId> {
        let run = self.levels.iter_mut().rev().find_map(Level::pop)?;
        self.calls -= 1;
        Some(run)
    }

    /// Takes out a call that is not sent; false when it is not here.
    pub(super) fn remove(&mut self, place: &Place) -> bool {
        let level = &mut self.levels[level_of(place)];
        let Some(tenant) = level.tenants.get_mut(&place.tenant) else {
            return false;
        };
        if tenant.calls.remove(&(place.planned_ms, place.sequence)).is_none() {
            return false;
        }
        if tenant.calls.is_empty() {
            level.tenants.remove(&place.tenant);
            level.ring.retain(|name| *name != place.tenant);
        }
        self.calls -= 1;
        true
    }
}

fn level_of(place: &Place) -> usize {
    usize::from(place.priority).min(LEVELS - 1)
}

impl Level {
    fn pop(&mut self) -> Option<RunId> {
        loop {
            let name = self.ring.front()?;
            let Some(tenant) = self.tenants.get_mut(name) else {
                debug_assert!(false, "a tenant in the ring has calls");
                self.ring.pop_front();
                continue;
            };
            if !tenant.has_turn {
                tenant.has_turn = true;
                tenant.deficit = tenant.deficit.saturating_add(QUANTUM);
            }
            let Some(next) = tenant.calls.first_entry() else {
                debug_assert!(false, "a tenant in the ring has calls");
                self.leave();
                continue;
            };
            let cost = next.get().1;
            if cost > tenant.deficit {
                // With nobody to wait for there is no share to keep.
                if self.ring.len() == 1 {
                    tenant.deficit = cost;
                } else {
                    self.pass();
                }
                continue;
            }
            let (run, _) = next.remove();
            tenant.deficit -= cost;
            if tenant.calls.is_empty() {
                self.leave();
            } else if tenant.deficit == 0 {
                self.pass();
            }
            return Some(run);
        }
    }

    /// Ends the turn of the first tenant.
    fn pass(&mut self) {
        if let Some(name) = self.ring.pop_front() {
            if let Some(tenant) = self.tenants.get_mut(&name) {
                tenant.has_turn = false;
            }
            self.ring.push_back(name);
        }
    }

    /// The first tenant has no calls: it loses what it saved.
    fn leave(&mut self) {
        if let Some(name) = self.ring.pop_front() {
            self.tenants.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests;
