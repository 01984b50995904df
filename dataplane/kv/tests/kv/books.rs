//! Clients that keep books of what was acknowledged to them, and what they are compared with later.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::process::{Client, Value};

/// What a worker knows: steps acknowledged, steps sent.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ledger {
    pub(crate) acknowledged: i64,
    pub(crate) sent: i64,
}

/// One step is one transaction over a counter and a list, and a string in another database.
fn step(client: &mut Client, worker: usize, ledger: &mut Ledger) -> std::io::Result<bool> {
    let number = ledger.sent + 1;
    let before = ledger.sent;
    client.try_run("MULTI")?;
    client.try_run(&format!("INCR counter:{worker}"))?;
    client.try_run(&format!("RPUSH list:{worker} {number}"))?;
    client.try_run(&format!("SET other:{worker} {number}"))?;
    ledger.sent = number;
    match client.try_run("EXEC")? {
        Value::Array(Some(replies)) => {
            assert_eq!(replies[0], Value::Integer(number), "a step was lost or done twice");
            ledger.acknowledged = number;
            Ok(true)
        }
        // A refusal is certain: nothing was done.
        Value::Error(_) => {
            ledger.sent = before;
            Ok(false)
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn work(socket: &Path, worker: usize, mut ledger: Ledger, stop: &AtomicBool) -> Ledger {
    while !stop.load(Ordering::Relaxed) {
        let mut client = Client::connect(socket);
        while !stop.load(Ordering::Relaxed) {
            match step(&mut client, worker, &mut ledger) {
                Ok(true) => {}
                Ok(false) => thread::sleep(Duration::from_millis(2)),
                // Its outcome is unknown, and so is what may follow it.
                Err(_) => return ledger,
            }
        }
    }
    ledger
}

/// Compares a worker's books with what is there, and goes on from that.
pub(crate) fn check(client: &mut Client, worker: usize, ledger: &mut Ledger) {
    let number = |value: Value| match value {
        Value::Bulk(None) => 0,
        other => other.text().parse::<i64>().expect("a number"),
    };
    let found = number(client.run(&format!("GET counter:{worker}")));
    assert_eq!(number(client.run(&format!("GET other:{worker}"))), found);
    let Value::Array(Some(list)) = client.run(&format!("LRANGE list:{worker} 0 -1")) else {
        panic!("no list")
    };
    let expected: Vec<String> = (1..=found).map(|number| number.to_string()).collect();
    assert_eq!(list.iter().map(Value::text).collect::<Vec<_>>(), expected);
    let Ledger { acknowledged, sent } = *ledger;
    assert!(
        (acknowledged..=sent).contains(&found),
        "worker {worker}: {found} found, {acknowledged} acknowledged, {sent} sent"
    );
    *ledger = Ledger { acknowledged: found, sent: found };
}
