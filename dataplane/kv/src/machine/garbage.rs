//! Large values and whole indexes that are no longer reachable, freed piecemeal.

use std::collections::VecDeque;

use super::Machine;
use crate::keyspace::hash::HashObject;
use crate::keyspace::list::ListObject;
use crate::keyspace::object::Object;
use crate::keyspace::raw::{Entry, Remains};
use crate::keyspace::set::SetObject;

/// Values with fewer parts are freed at once.
const PARTS_FREED_AT_ONCE: usize = 64;

#[derive(Debug)]
enum Waste {
    Index(Remains),
    List(ListObject),
}

/// What waits to be freed.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    queue: VecDeque<Waste>,
}

impl Garbage {
    pub(super) fn take_entry(&mut self, mut entry: Entry) {
        if entry.object().is_some_and(|object| object.parts() > PARTS_FREED_AT_ONCE)
            && let Some(object) = entry.take_object()
        {
            self.take_object(object);
        }
    }

    pub(super) fn take_object(&mut self, object: Object) {
        if object.parts() <= PARTS_FREED_AT_ONCE {
            return;
        }
        match object {
            Object::Hash(HashObject::Table(members)) | Object::Set(SetObject::Table(members)) => {
                self.take_index(members.into_remains());
            }
            Object::List(list) => self.queue.push_back(Waste::List(list)),
            Object::Big(_) | Object::Hash(_) | Object::Set(_) => {}
        }
    }

    pub(super) fn take_index(&mut self, remains: Remains) {
        self.queue.push_back(Waste::Index(remains));
    }
}

impl Machine {
    /// Frees up to `budget` pieces (index groups, list nodes) of dropped values. True when none
    /// are left.
    pub fn drop_garbage(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(mut waste) = self.garbage.queue.pop_front() else { return true };
            let done = match &mut waste {
                Waste::Index(remains) => {
                    let garbage = &mut self.garbage;
                    remains.step(1, &mut |entry| garbage.take_entry(entry))
                }
                Waste::List(list) => list.drop_nodes(1),
            };
            if !done {
                self.garbage.queue.push_front(waste);
            }
        }
        self.garbage.queue.is_empty()
    }
}
