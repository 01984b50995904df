//! The books of the crash test: what is done step by step, and how to tell from the keys how many
//! steps are there.
//!
//! Every step of a book is numbered, and its number can be read back from the keys. So one rule
//! judges all of them: what is found lies between what was acknowledged and what was sent. A step
//! of several keys is one transaction, and reading asserts that all of them agree.

use crate::process::{Client, Value, bulk, ok};

/// Collections are begun anew beyond this, so that checks stay short.
const ELEMENTS_MAX: i64 = 1000;
/// Transfers go between so many keys.
const ACCOUNTS: usize = 3;
const SESSION_MS: i64 = 3_600_000;

/// What one worker knows for certain about one book.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ledger {
    pub(super) acknowledged: i64,
    pub(super) sent: i64,
}

/// Something that is done over and over.
pub(super) struct Book {
    pub(super) name: &'static str,
    /// The requests of a step; the reply to the last one acknowledges it.
    pub(super) step: fn(worker: usize, number: i64) -> Vec<String>,
    /// Whether this is the reply that acknowledges the step.
    pub(super) confirms: fn(number: i64, reply: &Value) -> bool,
    /// How many steps the keys show.
    pub(super) found: fn(client: &mut Client, worker: usize, ledger: Ledger) -> i64,
    /// The ledger to go on with; may begin the book anew.
    pub(super) go_on: fn(client: &mut Client, worker: usize, found: i64) -> Ledger,
}

pub(super) const BOOKS: [Book; 9] = [
    Book {
        name: "counter",
        step: |w, _| vec![format!("INCR counter:{w}")],
        confirms: |n, reply| *reply == Value::Integer(n),
        found: |client, w, _| number(client, &format!("GET counter:{w}")),
        go_on: as_found,
    },
    Book {
        name: "string",
        step: |w, n| vec![format!("SET string:{w} {n}")],
        confirms: |_, reply| *reply == ok(),
        found: |client, w, _| number(client, &format!("GET string:{w}")),
        go_on: as_found,
    },
    Book {
        name: "session",
        step: |w, n| {
            let gone = format!("SET s:gone:{w} {n} PX 1");
            vec![gone, format!("SET s:{w} {n} PX {SESSION_MS}")]
        },
        confirms: |_, reply| *reply == ok(),
        found: session,
        go_on: as_found,
    },
    Book {
        name: "cache",
        step: |w, n| vec![format!("SET c:{w} {n}")],
        confirms: |_, reply| *reply == ok(),
        found: |client, w, ledger| {
            let kept = number(client, &format!("GET c:{w}"));
            assert!(kept <= ledger.sent, "cache: {kept} was never sent");
            ledger.sent
        },
        go_on: as_found,
    },
    Book {
        name: "list",
        step: |w, n| vec![format!("RPUSH list:{w} {n}")],
        confirms: |n, reply| *reply == Value::Integer(n),
        found: |client, w, _| elements(client, &format!("list:{w}")),
        go_on: |client, w, found| begin_anew_if_long(client, &[format!("list:{w}")], found),
    },
    Book {
        name: "hash and set",
        step: |w, n| vec![format!("SADD set:{w} {n}"), format!("HINCRBY hash:{w} f 1")],
        confirms: |n, reply| *reply == Value::Integer(n),
        found: hash_and_set,
        go_on: |client, w, found| {
            begin_anew_if_long(client, &[format!("set:{w}"), format!("hash:{w}")], found)
        },
    },
    Book {
        // Odd steps write the key, even ones delete it: a deleted key must not come back.
        name: "key that comes and goes",
        step: |w, n| {
            let write = format!("SET flag:{w} {n}");
            vec![if n % 2 == 1 { write } else { format!("DEL flag:{w}") }]
        },
        confirms: |n, reply| *reply == if n % 2 == 1 { ok() } else { Value::Integer(1) },
        found: |client, w, ledger| match client.run(&format!("GET flag:{w}")) {
            Value::Bulk(None) => ledger.sent - ledger.sent % 2,
            value => value.text().parse().expect("a number"),
        },
        go_on: as_found,
    },
    Book {
        name: "transaction over classes and databases",
        step: transaction_step,
        confirms: |n, reply| {
            let Value::Array(Some(replies)) = reply else { return false };
            replies.len() == 8 && replies.last() == Some(&Value::Integer(n))
        },
        found: transaction,
        go_on: |client, w, found| {
            let keys = ["a", "list", "count"].map(|key| format!("tx:{key}:{w}"));
            let ledger = begin_anew_if_long(client, &keys, found);
            if ledger.sent != found {
                client.run(&format!("DEL s:tx:{w}"));
                client.run("SELECT 3");
                client.run(&format!("DEL tx:{w}"));
                client.run("SELECT 0");
            }
            ledger
        },
    },
    Book {
        // Keys of all workers: see `check_shared`.
        name: "transfer",
        step: |w, n| {
            let (from, to) = (w % ACCOUNTS, (w + n as usize) % ACCOUNTS);
            vec![
                "MULTI".into(),
                "INCR shared".into(),
                format!("DECRBY account:{from} 3"),
                format!("INCRBY account:{to} 3"),
                format!("INCR transfers:{w}"),
                "EXEC".into(),
            ]
        },
        confirms: |n, reply| {
            let Value::Array(Some(replies)) = reply else { return false };
            replies.len() == 4 && replies.last() == Some(&Value::Integer(n))
        },
        found: |client, w, _| number(client, &format!("GET transfers:{w}")),
        go_on: as_found,
    },
];

/// Transfers move between accounts and are counted by a key of all workers; whatever was done, the
/// accounts add up to nothing and the counts agree.
pub(super) fn check_shared(client: &mut Client, workers: usize) {
    let accounts: i64 = (0..ACCOUNTS).map(|a| number(client, &format!("GET account:{a}"))).sum();
    assert_eq!(accounts, 0, "a transfer was done in part");
    let transfers = (0..workers).map(|w| number(client, &format!("GET transfers:{w}")));
    let transfers: i64 = transfers.collect::<Vec<_>>().iter().sum();
    assert_eq!(number(client, "GET shared"), transfers, "a transfer was counted in part");
}

fn as_found(_: &mut Client, _: usize, found: i64) -> Ledger {
    Ledger { acknowledged: found, sent: found }
}

fn begin_anew_if_long(client: &mut Client, keys: &[String], found: i64) -> Ledger {
    if found <= ELEMENTS_MAX {
        return Ledger { acknowledged: found, sent: found };
    }
    let deleted = client.run(&format!("DEL {}", keys.join(" ")));
    assert_eq!(deleted, Value::Integer(keys.len() as i64));
    Ledger::default()
}

/// A number that is 0 as long as there is no key.
fn number(client: &mut Client, line: &str) -> i64 {
    match client.run(line) {
        Value::Bulk(None) => 0,
        other => other.text().parse().expect("a number"),
    }
}

/// The length of a list that holds 1, 2, 3 and so on.
fn elements(client: &mut Client, key: &str) -> i64 {
    let Value::Array(Some(found)) = client.run(&format!("LRANGE {key} 0 -1")) else {
        panic!("{key} is no list")
    };
    for (number, element) in (1..).zip(&found) {
        assert_eq!(*element, bulk(&i64::to_string(&number)), "{key} has lost its order");
    }
    found.len() as i64
}

/// The deadline of a session survives, and what was over before stays away.
fn session(client: &mut Client, worker: usize, _: Ledger) -> i64 {
    assert_eq!(client.run(&format!("GET s:gone:{worker}")), Value::Bulk(None), "it is over");
    let found = number(client, &format!("GET s:{worker}"));
    let Value::Integer(left_ms) = client.run(&format!("PTTL s:{worker}")) else {
        panic!("no deadline")
    };
    let expected = if found == 0 { -2..=-2 } else { 1..=SESSION_MS };
    assert!(expected.contains(&left_ms), "session: {left_ms} ms left of {found}");
    found
}

/// Two writes of one step that are no transaction: the second implies the first.
fn hash_and_set(client: &mut Client, worker: usize, ledger: Ledger) -> i64 {
    let hash = number(client, &format!("HGET hash:{worker} f"));
    let Value::Integer(members) = client.run(&format!("SCARD set:{worker}")) else {
        panic!("no set")
    };
    assert!((hash..=ledger.sent).contains(&members) && members <= hash + 1, "{hash} {members}");
    for number in 1..=members {
        let present = client.run(&format!("SISMEMBER set:{worker} {number}"));
        assert_eq!(present, Value::Integer(1), "member {number} of {worker}");
    }
    hash
}

fn transaction_step(worker: usize, number: i64) -> Vec<String> {
    vec![
        "MULTI".into(),
        format!("SET tx:a:{worker} {number}"),
        format!("SET s:tx:{worker} {number} PX {SESSION_MS}"),
        format!("SET c:tx:{worker} {number}"),
        "SELECT 3".into(),
        format!("SET tx:{worker} {number}"),
        "SELECT 0".into(),
        format!("RPUSH tx:list:{worker} {number}"),
        format!("INCR tx:count:{worker}"),
        "EXEC".into(),
    ]
}

fn transaction(client: &mut Client, worker: usize, _: Ledger) -> i64 {
    let count = number(client, &format!("GET tx:count:{worker}"));
    assert_eq!(number(client, &format!("GET tx:a:{worker}")), count, "Store");
    assert_eq!(number(client, &format!("GET s:tx:{worker}")), count, "Session");
    assert_eq!(elements(client, &format!("tx:list:{worker}")), count, "a list");
    client.run("SELECT 3");
    assert_eq!(number(client, &format!("GET tx:{worker}")), count, "another database");
    client.run("SELECT 0");
    count
}
