//! What the keys must hold, kept in plain collections beside the machine, and compared with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orrery_resp::{Proto, Reply};

use crate::keyspace::object::ValueRef;
use crate::machine::{Machine, SnapshotSink};
use crate::namespaces::Class;

/// A value as anyone would write it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(Vec<u8>),
    List(VecDeque<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

/// A key's value, and until when it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) value: Value,
    pub(super) deadline_ms: Option<i64>,
}

/// All keys, of all classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Books(pub(super) BTreeMap<String, Book>);

fn bytes_of(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn number_of(bytes: &[u8]) -> i64 {
    std::str::from_utf8(bytes).expect("digits").parse().expect("a number")
}

impl Books {
    /// Keys whose time is up are gone.
    pub(super) fn expire(&mut self, now_ms: i64) {
        self.0.retain(|_, book| book.deadline_ms.is_none_or(|at| at > now_ms));
    }

    /// What survives: all but the caches.
    pub(super) fn durable(&self) -> Self {
        let keys = self.0.iter().filter(|(name, _)| !name.starts_with("c:"));
        Self(keys.map(|(name, book)| (name.clone(), book.clone())).collect())
    }

    fn value(&mut self, key: &str, empty: Value) -> &mut Value {
        let fresh = Book { value: empty, deadline_ms: None };
        &mut self.0.entry(key.to_owned()).or_insert(fresh).value
    }

    /// Carries a command out by the book; gives the reply a server must give.
    pub(super) fn run(&mut self, args: &[String]) -> Vec<u8> {
        let mut reply = Reply::new(Proto::Resp2);
        let key = args.get(1).map_or("", String::as_str);
        match args[0].as_str() {
            "incr" => {
                let Value::Text(text) = self.value(key, Value::Text(b"0".to_vec())) else {
                    unreachable!("keys named n hold numbers")
                };
                let next = number_of(text) + 1;
                *text = bytes_of(next);
                reply.integer(next);
            }
            "append" => {
                let Value::Text(text) = self.value(key, Value::Text(vec![])) else {
                    unreachable!("keys named t hold text")
                };
                text.extend_from_slice(args[2].as_bytes());
                reply.integer(text.len() as i64);
            }
            "set" => {
                let value = Value::Text(args[2].clone().into_bytes());
                self.0.insert(key.to_owned(), Book { value, deadline_ms: None });
                reply.ok();
            }
            "rpush" => {
                let Value::List(list) = self.value(key, Value::List(VecDeque::new())) else {
                    unreachable!("keys named l hold lists")
                };
                list.push_back(args[2].clone().into_bytes());
                reply.integer(list.len() as i64);
            }
            "hincrby" => {
                let Value::Hash(hash) = self.value(key, Value::Hash(BTreeMap::new())) else {
                    unreachable!("keys named h hold hashes")
                };
                let field = hash.entry(args[2].clone().into_bytes()).or_insert(b"0".to_vec());
                let next = number_of(field) + args[3].parse::<i64>().expect("a number");
                *field = bytes_of(next);
                reply.integer(next);
            }
            "sadd" => {
                let Value::Set(set) = self.value(key, Value::Set(BTreeSet::new())) else {
                    unreachable!("keys named e hold sets")
                };
                reply.integer(i64::from(set.insert(args[2].clone().into_bytes())));
            }
            "del" => reply.integer(i64::from(self.0.remove(key).is_some())),
            // The deadline is read back from the machine.
            "pexpire" => reply.integer(i64::from(self.0.contains_key(key))),
            "flushdb" => {
                self.0.clear();
                reply.ok();
            }
            _ => self.read_or_take(args, &mut reply),
        }
        reply.take()
    }

    fn read_or_take(&mut self, args: &[String], reply: &mut Reply) {
        let key = args[1].as_str();
        let value = self.0.get_mut(key).map(|book| &mut book.value);
        match (args[0].as_str(), value) {
            ("lpop", Some(Value::List(list))) => {
                let first = list.pop_front().expect("an empty list is no key");
                reply.bulk(&first);
                if list.is_empty() {
                    self.0.remove(key);
                }
            }
            ("lrange", Some(Value::List(list))) => {
                reply.array(list.len());
                for element in list.iter() {
                    reply.bulk(element);
                }
            }
            ("srem", Some(Value::Set(set))) => {
                let removed = set.remove(args[2].as_bytes());
                let is_empty = set.is_empty();
                reply.integer(i64::from(removed));
                if is_empty {
                    self.0.remove(key);
                }
            }
            ("scard", Some(Value::Set(set))) => reply.integer(set.len() as i64),
            ("hlen", Some(Value::Hash(hash))) => reply.integer(hash.len() as i64),
            ("get", Some(Value::Text(text))) => reply.bulk(text),
            ("lpop" | "get", None) => reply.null(),
            ("lrange", None) => reply.array(0),
            ("srem" | "scard" | "hlen", None) => reply.integer(0),
            (name, value) => unreachable!("{name} on {value:?}"),
        }
    }
}

impl SnapshotSink for Books {
    fn entry(
        &mut self,
        db: u16,
        key: &[u8],
        expire_ms: Option<i64>,
        value: ValueRef<'_>,
        _class: Class,
    ) {
        assert_eq!(db, 0, "nothing was written elsewhere");
        let value = match value {
            ValueRef::Str(text) => Value::Text(text.to_vec()),
            ValueRef::List(list) => Value::List(list.iter().map(<[u8]>::to_vec).collect()),
            ValueRef::Set(set) => Value::Set(set.to_vec().into_iter().collect()),
            ValueRef::Hash(hash) => {
                Value::Hash(hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect())
            }
        };
        let name = String::from_utf8(key.to_vec()).expect("names are text");
        let doubled = self.0.insert(name, Book { value, deadline_ms: expire_ms });
        assert!(doubled.is_none(), "a key is there twice");
    }
}

/// Everything a machine holds, caches and keys whose time is up included.
pub(super) fn read_all(machine: &mut Machine) -> Books {
    let mut books = Books::default();
    machine.snapshot_begin();
    while !machine.snapshot_step(usize::MAX, &mut books) {}
    books
}
