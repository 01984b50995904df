//! Clients that do random things and write down what they were told.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use orrery_history::lists::{Step, Transaction};
use orrery_history::register::{Input, KeyOperation, Output};
use orrery_history::{Operation, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::connection::{Answer, Connection};
use super::service::Service;
use crate::process::Value;

pub(crate) const REGISTERS: u32 = 4;
pub(crate) const LISTS: u32 = 3;

/// What one of them, or all together, saw.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) registers: Vec<KeyOperation>,
    pub(crate) lists: Vec<Transaction>,
}

impl History {
    pub(crate) fn extend(&mut self, other: Self) {
        self.registers.extend(other.registers);
        self.lists.extend(other.lists);
    }
}

pub(crate) struct Client<'a> {
    service: &'a Service,
    /// Of the keys of this run.
    prefix: &'a str,
    number: u32,
    random: StdRng,
    connection: Option<Connection>,
    history: History,
}

impl<'a> Client<'a> {
    pub(crate) fn new(service: &'a Service, prefix: &'a str, number: u32, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed ^ (u64::from(number) << 32));
        Self { service, prefix, number, random, connection: None, history: History::default() }
    }

    /// Works until it is over.
    pub(crate) fn work(mut self) -> History {
        while !self.service.is_over.load(Ordering::Acquire) {
            if self.is_connected() {
                if self.random.random_bool(0.6) { self.use_register() } else { self.use_lists() }
            }
            thread::sleep(Duration::from_micros(self.random.random_range(0..6000)));
        }
        self.history
    }

    /// Reads everything, from the one the Service leads to, until it is told.
    pub(crate) fn read_all(mut self) -> History {
        for key in 0..REGISTERS {
            while !self.is_read(|client| client.change(key, Input::Read)) {}
        }
        let steps: Vec<Step> = (0..LISTS).map(|key| Step::Read { key }).collect();
        while !self.is_read(|client| client.transact(steps.clone())) {}
        self.history
    }

    fn is_read(&mut self, read: impl Fn(&mut Self)) -> bool {
        let count = |history: &History| history.registers.len() + history.lists.len();
        let before = count(&self.history);
        self.connection = Connection::open(self.service.primaries()[0]);
        if self.connection.is_some() {
            read(self);
        }
        if count(&self.history) > before {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
        false
    }

    /// Goes on with what it has; now and then that is the primary of before.
    fn is_connected(&mut self) -> bool {
        let [now, before] = self.service.primaries();
        let is_stale = |connection: &Connection| connection.to != now;
        let leaves = match &self.connection {
            None => true,
            Some(connection) if connection.is_broken => true,
            Some(connection) => is_stale(connection) && self.random.random_ratio(1, 12),
        };
        if leaves {
            let to = if self.random.random_ratio(1, 8) { before } else { now };
            self.connection = Connection::open(to);
        }
        self.connection.is_some()
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is connected")
    }

    fn register_key(&self, key: u32) -> String {
        format!("{}:r{key}", self.prefix)
    }

    fn use_register(&mut self) {
        let key = self.random.random_range(0..REGISTERS);
        let new = Some(self.service.number());
        match self.random.random_range(0..10) {
            0..4 => self.change(key, Input::Read),
            4..6 => self.change(key, Input::Write(new)),
            6 => self.change(key, Input::Swap(new)),
            7 => self.change(key, Input::Write(None)),
            8 => self.change(key, Input::Change { expected: None, new }),
            _ => self.change_what_was_read(key, new),
        }
    }

    /// Asks for one thing and writes down what came.
    fn change(&mut self, key: u32, input: Input) {
        let name = self.register_key(key);
        let command = match input {
            Input::Read => format!("GET {name}"),
            Input::Write(Some(value)) => format!("SET {name} {value}"),
            Input::Write(None) => format!("DEL {name}"),
            Input::Swap(value) => format!("GETSET {name} {}", value.expect("it swaps for a value")),
            Input::Change { new, .. } => format!("SET {name} {} NX", new.expect("a value")),
        };
        let invoked_us = self.service.now_us();
        let answer = self.connection().ask(&command);
        self.note_register(key, input, invoked_us, answer);
    }

    /// Compare and set, as clients of Redis do it.
    fn change_what_was_read(&mut self, key: u32, new: Option<u64>) {
        let name = self.register_key(key);
        if !matches!(self.connection().ask(&format!("WATCH {name}")), Answer::Given(_)) {
            self.connection().is_broken = true;
            return;
        }
        let asked_us = self.service.now_us();
        let answer = self.connection().ask(&format!("GET {name}"));
        let Answer::Given(Value::Bulk(bulk)) = answer else {
            self.connection().is_broken = true;
            return;
        };
        let expected = number(bulk.as_deref());
        let read = Answer::Given(Value::Bulk(bulk));
        self.note_register(key, Input::Read, asked_us, read);
        let invoked_us = self.service.now_us();
        let command = format!("SET {name} {}", new.expect("a value"));
        let answer = match self.connection().transact(&[command]) {
            // Somebody changed it since `WATCH`, maybe before `GET`: it only says that nothing was done.
            Answer::Given(Value::Array(None)) => Answer::Refused,
            answer => answer,
        };
        self.note_register(key, Input::Change { expected, new }, invoked_us, answer);
    }

    fn note_register(&mut self, key: u32, input: Input, invoked_us: u64, answer: Answer) {
        let returned_us = self.service.now_us();
        let outcome = match answer {
            Answer::Given(value) => Outcome::Done { returned_us, output: output(input, &value) },
            Answer::Refused => Outcome::Failed,
            Answer::Lost => Outcome::Unknown,
        };
        let is_read = input == Input::Read;
        if is_read && !self.counts(matches!(outcome, Outcome::Done { .. })) {
            return;
        }
        let may_be_old = is_read && self.may_be_old();
        let input = (key, input);
        let client = self.number;
        self.history.registers.push(Operation { client, invoked_us, input, outcome, may_be_old });
    }

    /// A read that was answered by somebody who is not told to follow yet: of followers nothing is
    /// promised.
    fn counts(&mut self, is_answered: bool) -> bool {
        let to = self.connection().to;
        if self.service.follows(to) {
            self.connection().is_broken = true;
        }
        is_answered && !self.service.follows(to)
    }

    /// Of a primary that was replaced reads may be old, as docs/replication.md says.
    fn may_be_old(&mut self) -> bool {
        let to = self.connection().to;
        self.service.is_replaced(to)
    }

    fn use_lists(&mut self) {
        let steps = (0..self.random.random_range(1..4))
            .map(|_| {
                let key = self.random.random_range(0..LISTS);
                let element = self.service.number();
                let is_read = self.random.random_bool(0.5);
                if is_read { Step::Read { key } } else { Step::Append { key, element } }
            })
            .collect();
        self.transact(steps);
    }

    fn transact(&mut self, steps: Vec<Step>) {
        let prefix = self.prefix;
        let commands: Vec<String> = steps
            .iter()
            .map(|step| match step {
                Step::Append { key, element } => format!("RPUSH {prefix}:l{key} {element}"),
                Step::Read { key } => format!("LRANGE {prefix}:l{key} 0 -1"),
            })
            .collect();
        let is_read_only = steps.iter().all(|step| matches!(step, Step::Read { .. }));
        let invoked_us = self.service.now_us();
        let answer = self.connection().transact(&commands);
        let returned_us = self.service.now_us();
        let outcome = match answer {
            Answer::Given(value) => Outcome::Done { returned_us, output: reads(&steps, value) },
            Answer::Refused => Outcome::Failed,
            Answer::Lost => Outcome::Unknown,
        };
        if is_read_only && !self.counts(matches!(outcome, Outcome::Done { .. })) {
            return;
        }
        let may_be_old = is_read_only && self.may_be_old();
        let (client, input) = (self.number, steps);
        self.history.lists.push(Operation { client, invoked_us, input, outcome, may_be_old });
    }
}

fn number(bulk: Option<&[u8]>) -> Option<u64> {
    bulk.map(|bytes| String::from_utf8_lossy(bytes).parse().expect("a number"))
}

fn output(input: Input, value: &Value) -> Output {
    match (input, value) {
        (Input::Read | Input::Swap(_), Value::Bulk(bulk)) => Output::Value(number(bulk.as_deref())),
        (Input::Write(Some(_)), Value::Status(_)) | (Input::Write(None), Value::Integer(_)) => {
            Output::Written
        }
        (Input::Change { .. }, Value::Bulk(None)) => Output::Changed(false),
        (Input::Change { .. }, Value::Status(_) | Value::Array(Some(_))) => Output::Changed(true),
        other => panic!("no such answer: {other:?}"),
    }
}

fn reads(steps: &[Step], value: Value) -> Vec<Vec<u64>> {
    let Value::Array(Some(replies)) = value else { panic!("no such answer: {value:?}") };
    assert_eq!(replies.len(), steps.len(), "an answer for each");
    let mut reads = vec![];
    for (step, reply) in steps.iter().zip(replies) {
        match (step, reply) {
            (Step::Append { .. }, Value::Integer(_)) => {}
            (Step::Read { .. }, Value::Array(Some(list))) => {
                let element = |value: &Value| value.text().parse().expect("a number");
                reads.push(list.iter().map(element).collect());
            }
            other => panic!("no such answer: {other:?}"),
        }
    }
    reads
}
