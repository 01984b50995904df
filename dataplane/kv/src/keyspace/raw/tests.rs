//! The index against a model, and entries against what was put into them.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::keyspace::hasher::{KeyHasher, Random};
use crate::keyspace::list::{End, ListObject};
use crate::keyspace::object::Object;
use crate::keyspace::thresholds::Thresholds;

fn list(elements: &[&[u8]]) -> Object {
    let mut list = ListObject::default();
    for element in elements {
        list.push(End::Right, element, &Thresholds::default());
    }
    Object::List(list)
}

#[test]
fn a_short_key_with_64_bytes_takes_80_bytes() {
    let entry = Entry::inline(Kind::Raw, b"key:0000001", &[b'x'; 64], None);
    assert_eq!(entry.heap_bytes(), 80);
}

#[test]
fn an_entry_keeps_key_marks_and_value_through_every_change() {
    let key = vec![b'k'; 200];
    let mut entry = Entry::inline(Kind::Int, &key, b"12", None);
    entry.set_clock(777);
    entry.set_uses(2);
    entry.set_parity(true);
    entry.set_expire_ms(Some(5));
    entry.set_inline(Kind::Raw, &[b'v'; 1000], Some(-6));
    assert_eq!(
        (entry.kind(), entry.string(), entry.expire_ms()),
        (Kind::Raw, [b'v'; 1000].as_slice(), Some(-6))
    );
    entry.set_object(list(&[b"a", b"b"]), None);
    entry.set_expire_ms(Some(9));
    entry.set_expire_ms(None);
    assert_eq!((entry.kind(), entry.expire_ms()), (Kind::List, None));
    let copy = entry.duplicate();
    let renamed = entry.renamed(b"other");
    for (entry, name) in [(&copy, key.as_slice()), (&renamed, b"other")] {
        assert_eq!(entry.key(), name);
        assert_eq!((entry.clock(), entry.uses(), entry.parity()), (777, 2, true));
        let Some(Object::List(list)) = entry.object() else { panic!("is a list") };
        assert!(list.iter().eq([b"a", b"b"]));
    }
    let mut renamed = renamed;
    assert!(renamed.take_object().is_some());
    assert_eq!((renamed.kind(), renamed.object().is_none()), (Kind::Int, true));
}

#[test]
fn a_boxed_value_is_dropped_with_its_entry_and_with_its_table() {
    let mut table = Table::new(KeyHasher::new(3));
    for number in 0..100_u32 {
        let key = number.to_le_bytes();
        let hash = table.hasher().hash(&key);
        table.insert(hash, Entry::boxed(&key, list(&[b"x"]), Some(1)));
    }
    let mut remains = table.into_remains();
    let mut seen = 0;
    while !remains.step(2, &mut |_| seen += 1) {}
    assert_eq!(seen, 100);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u16),
    Remove(u16),
    RemoveMany(u16),
    InsertMany(u16),
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..600_u16).prop_map(Step::Insert),
        3 => (0..600_u16).prop_map(Step::Remove),
        1 => (0..600_u16).prop_map(Step::RemoveMany),
        1 => (0..600_u16).prop_map(Step::InsertMany),
        1 => Just(Step::Move),
    ]
}

struct Model {
    table: Table,
    model: HashMap<u16, u16>,
}

impl Model {
    fn new(seed: u64) -> Self {
        Self { table: Table::new(KeyHasher::new(seed)), model: HashMap::new() }
    }

    fn insert(&mut self, key: u16, value: u16) {
        let name = key.to_le_bytes();
        let hash = self.table.hasher().hash(&name);
        match self.table.find_mut(hash, &name) {
            Some(entry) => entry.set_inline(Kind::Raw, &value.to_le_bytes(), None),
            None => {
                self.table
                    .insert(hash, Entry::inline(Kind::Raw, &name, &value.to_le_bytes(), None));
            }
        }
        self.model.insert(key, value);
    }

    fn remove(&mut self, key: u16) {
        let name = key.to_le_bytes();
        let removed = self.table.remove(self.table.hasher().hash(&name), &name);
        assert_eq!(removed.is_some(), self.model.remove(&key).is_some());
    }

    fn apply(&mut self, step: &Step, value: u16) {
        match step {
            Step::Insert(key) => self.insert(*key, value),
            Step::Remove(key) => self.remove(*key),
            Step::RemoveMany(from) => (*from..from + 100).for_each(|key| self.remove(key)),
            Step::InsertMany(from) => (*from..from + 100).for_each(|key| self.insert(key, value)),
            Step::Move => self.table.move_groups(3),
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len());
        for (key, value) in &self.model {
            let name = key.to_le_bytes();
            let hash = self.table.hasher().hash(&name);
            let found = self.table.find(hash, &name).map(|e| e.string().to_vec());
            assert_eq!(found, Some(value.to_le_bytes().to_vec()));
            assert!(self.table.find_by_hash(hash, &|_| true).is_some());
        }
        assert_eq!(self.table.iter().count(), self.model.len());
    }
}

/// Few steps under Miri, which is a thousand times slower.
const STEPS: usize = if cfg!(miri) { 8 } else { 120 };

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 64 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_behaves_like_a_map(seed: u64, steps in prop::collection::vec(step(), 1..STEPS)) {
        let mut model = Model::new(seed);
        for (value, step) in steps.iter().enumerate() {
            model.apply(step, value as u16);
            prop_assert_eq!(model.table.len(), model.model.len());
        }
        let seen: HashSet<Vec<u8>> = model.table.iter().map(|e| e.key().to_vec()).collect();
        prop_assert_eq!(seen.len(), model.model.len());
        model.check_all();
    }

    #[test]
    fn a_scan_sees_every_key_that_stays_while_the_index_grows_and_shrinks(
        seed: u64,
        steps in prop::collection::vec(step(), 1..STEPS),
    ) {
        let mut model = Model::new(seed);
        (1000..1040_u16).for_each(|key| model.insert(key, 0));
        let mut seen = HashSet::new();
        let mut cursor = 0;
        let mut rounds = 0;
        let mut changes = steps.iter();
        loop {
            cursor = model.table.scan(cursor, &mut |entry| {
                seen.insert(entry.key().to_vec());
            });
            rounds += 1;
            if cursor == 0 {
                break;
            }
            prop_assert!(rounds < 10_000, "the scan does not end");
            if let Some(step) = changes.next() {
                model.apply(step, 1);
            }
        }
        for key in 1000..1040_u16 {
            prop_assert!(seen.contains(key.to_le_bytes().as_slice()), "{key} was missed");
        }
    }
}

impl Model {
    fn check_all(&self) {
        if !cfg!(miri) {
            self.check();
        }
    }
}

#[test]
fn a_table_shrinks_after_a_storm_of_deletions() {
    let mut model = Model::new(5);
    let count = if cfg!(miri) { 200 } else { 60_000 };
    (0..count).for_each(|key| model.insert(key, 0));
    let large = model.table.index_bytes();
    (10..count).for_each(|key| model.remove(key));
    model.table.move_groups(usize::MAX);
    assert!(model.table.index_bytes() < large / 2, "{} of {large}", model.table.index_bytes());
    assert_eq!(model.table.len(), 10);
}

#[test]
fn random_draws_reach_every_entry() {
    let mut model = Model::new(9);
    (0..40).for_each(|key| model.insert(key, 0));
    let mut random = Random::new(4);
    let mut seen = HashSet::new();
    for _ in 0..4000 {
        let entry = model.table.random(&mut || random.bits()).expect("there are entries");
        seen.insert(entry.key().to_vec());
    }
    assert_eq!(seen.len(), 40);
}
