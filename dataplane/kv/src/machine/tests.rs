//! The machine as its server uses it.

mod classes;
mod fuzz;
mod sessions;
mod snapshots;

use orrery_resp::{Proto, Reply};

use super::*;
use crate::commands::lookup;
use crate::namespaces::NamespaceRules;

/// A machine with a clock and a journal of its own.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) session: Session,
    pub(super) now_ms: i64,
    pub(super) position: u64,
    pub(super) gate: u64,
    /// Records with the time they were written at.
    pub(super) journal: Vec<(i64, Vec<u8>)>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Class::Store, Vec::new())
    }

    pub(super) fn with(default_class: Class, declared: Vec<NamespaceRules>) -> Self {
        let options = MachineOptions { default_class, ..MachineOptions::default() };
        let mut machine = Machine::new(&options);
        machine.set_namespaces(default_class, declared);
        let session = Session::default();
        Self { machine, session, now_ms: 1_000_000, position: 0, gate: 0, journal: Vec::new() }
    }

    /// Runs one command as a batch of its own.
    pub(super) fn run_args(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut out = Reply::new(Proto::Resp2);
        let spec = lookup(args[0]).expect("the command is known");
        self.position += 1;
        self.machine.begin(self.now_ms, self.position);
        let outcome = self.machine.execute(&mut self.session, spec, args, &mut out);
        self.gate = outcome.gate;
        assert_eq!(outcome.failed, out.as_bytes().starts_with(b"-"));
        self.append();
        out.take()
    }

    /// Takes the effects of the batch as one record.
    pub(super) fn append(&mut self) {
        let effects = std::mem::take(self.machine.effects());
        if !effects.is_empty() {
            self.journal.push((self.now_ms, effects));
        }
    }

    /// Runs a command without spaces in its arguments; CRLF in the reply becomes `|`.
    pub(super) fn run(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let reply = self.run_args(&args);
        String::from_utf8_lossy(&reply).trim_end().replace("\r\n", "|")
    }

    pub(super) fn expire(&mut self) {
        self.position += 1;
        self.machine.begin(self.now_ms, self.position);
        self.machine.expire(10_000);
        self.append();
    }

    /// A machine that has replayed the journal.
    pub(super) fn replayed(&self) -> Machine {
        let options = MachineOptions { hash_seed: 99, random_seed: 5, ..MachineOptions::default() };
        let mut machine = Machine::new(&options);
        for (time_ms, record) in &self.journal {
            machine.apply(*time_ms, record).expect("the record is whole");
        }
        machine.begin(self.now_ms, 0);
        machine
    }

    pub(super) fn check_replay(&mut self) {
        self.machine.begin(self.now_ms, self.position);
        assert_eq!(self.machine.digest(), self.replayed().digest());
    }

    /// Checks what the machine has booked against what is there.
    pub(super) fn check_books(&mut self) {
        let used = self.machine.used_bytes();
        let spaces: Vec<(u64, u64)> =
            self.machine.namespaces.iter().map(|s| (s.used_bytes, s.keys)).collect();
        self.machine.recount();
        assert_eq!(used, self.machine.used_bytes());
        let counted: Vec<(u64, u64)> =
            self.machine.namespaces.iter().map(|s| (s.used_bytes, s.keys)).collect();
        assert_eq!(spaces, counted);
        for database in &self.machine.databases {
            let expires = database.table.iter().filter(|e| e.expire_ms().is_some()).count();
            assert_eq!(database.expires, expires);
        }
    }
}

#[test]
fn a_corrupt_record_is_a_typed_error() {
    let mut machine = Machine::new(&MachineOptions::default());
    assert!(machine.apply(0, &[99]).is_err());
    let mut bench = Bench::new();
    bench.run("set a 1");
    bench.run("lpush l x");
    let record = bench.journal[0].1.clone();
    assert!(machine.apply(0, &record[..record.len() - 1]).is_err());
    machine.apply(0, &record).expect("the record is whole");
    // A push onto a string does not fit.
    let mut push = bench.journal[1].1.clone();
    let at = push.iter().position(|byte| *byte == b'l').expect("the key is in the record");
    push[at] = b'a';
    assert!(machine.apply(0, &push).is_err());
}

#[test]
fn a_large_value_is_freed_piecemeal() {
    let mut bench = Bench::new();
    for number in 0..2000 {
        bench.run(&format!("sadd s m{number}"));
    }
    assert_eq!(bench.run("unlink s"), ":1");
    assert!(!bench.machine.drop_garbage(1));
    assert!(bench.machine.drop_garbage(10_000));
    bench.check_books();
}

#[test]
fn growing_strings_are_not_copied_as_a_whole_into_the_journal() {
    let mut bench = Bench::new();
    for _ in 0..1000 {
        bench.run("append a xxxxxxxxxx");
    }
    assert_eq!(bench.run("strlen a"), ":10000");
    let bytes: usize = bench.journal.iter().map(|(_, record)| record.len()).sum();
    assert!(bytes < 30_000, "{bytes}");
    bench.check_replay();
    bench.check_books();
}
