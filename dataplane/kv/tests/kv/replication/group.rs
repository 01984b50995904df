//! The members of a group, and the operator's part, played by the test.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;
use orrery_operand::v1::{RenewRequest, ReportResponse, Role};

use crate::process::{Client, Engine, Value};

pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// Waits until `check` gives something.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn operator(engine: &Engine) -> OperandClient {
    OperandClient::new(&format!("127.0.0.1:{}", engine.management), None).expect("an address")
}

pub(crate) fn report(engine: &Engine) -> ReportResponse {
    block_on(async {
        let operator = operator(engine);
        let started = Instant::now();
        loop {
            match operator.report().await {
                Ok(report) => return report,
                Err(error) => assert!(started.elapsed() < PATIENCE, "no report: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

/// A process that waits to be told its role.
pub(crate) fn standby(config: &str) -> Engine {
    again(Engine::prepare(&format!("group: true\n{config}")))
}

/// The same on what an earlier one left.
pub(crate) fn again(folder: tempfile::TempDir) -> Engine {
    let engine = Engine::begin_in(folder);
    eventually("it waits for its role", || {
        let report = report(&engine);
        (report.role() == Role::Standby && report.reason == "Standby").then_some(())
    });
    engine
}

pub(crate) fn promote(engine: &Engine, epoch: u64) -> Result<u64, OperandError> {
    block_on(async { operator(engine).promote(0, epoch).await }).map(|answer| answer.epoch)
}

pub(crate) fn fence(engine: &Engine, epoch: u64) -> u64 {
    let answer = block_on(async { operator(engine).fence(0, epoch).await });
    answer.expect("it obeys").durable_position
}

pub(crate) fn follow(engine: &Engine, epoch: u64, primary: &Engine) -> Result<(), OperandError> {
    let address = primary.address();
    block_on(async { operator(engine).follow(0, epoch, address, false).await }).map(|_| ())
}

/// How a group is made up: followers, those that must have a write, lease in milliseconds.
pub(crate) type Shape = (u32, u32, u32);

pub(crate) fn renew(engine: &Engine, epoch: u64, shape: Shape) -> Result<u64, OperandError> {
    let (followers, synchronous, lease_milliseconds) = shape;
    let said_at = report(engine).said_at;
    let request =
        RenewRequest { shard: 0, epoch, followers, synchronous, lease_milliseconds, said_at };
    block_on(async { operator(engine).renew(request).await }).map(|answer| answer.epoch)
}

/// Makes the first one primary and the others its followers.
pub(crate) fn lead(members: &[&Engine], epoch: u64, shape: Shape) {
    let (primary, followers) = members.split_first().expect("somebody");
    promote(primary, epoch).expect("it obeys");
    renew(primary, epoch, shape).expect("it listens");
    for follower in followers {
        follow(follower, epoch, primary).expect("it obeys");
    }
    for follower in followers {
        wait_in_sync(primary, follower);
    }
    eventually("writes are taken", || report(primary).writable.then_some(()));
}

/// Waits until a follower has all its primary has.
pub(crate) fn wait_in_sync(primary: &Engine, follower: &Engine) {
    eventually("the follower is in sync", || {
        let (wanted, found) = (report(primary), report(follower));
        let link = found.link.clone()?;
        let is_there = link.up
            && found.ready
            && found.durable_position == wanted.durable_position
            && found.durable_epoch == wanted.durable_epoch;
        is_there.then_some(())
    });
}

/// Everything a client can see, with deadlines.
pub(crate) fn content(engine: &Engine) -> BTreeMap<String, String> {
    content_of(&mut engine.client())
}

/// The same through a client.
pub(crate) fn content_of(client: &mut Client) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for db in 0..16 {
        client.run(&format!("SELECT {db}"));
        let Value::Array(Some(keys)) = client.run("KEYS *") else { panic!("no keys") };
        for key in keys.iter().map(Value::text) {
            let deadline = client.run(&format!("PEXPIRETIME {key}")).text();
            let value = value_of(client, &key);
            all.insert(format!("{db} {key}"), format!("{deadline} {value}"));
        }
    }
    all
}

fn value_of(client: &mut Client, key: &str) -> String {
    let sorted = |value: Value| {
        let Value::Array(Some(all)) = value else { panic!("no collection at {key}") };
        let mut all: Vec<String> = all.iter().map(Value::text).collect();
        all.sort();
        format!("{all:?}")
    };
    match client.run(&format!("TYPE {key}")).text().as_str() {
        "string" => client.run(&format!("GET {key}")).text(),
        "list" => format!("{:?}", client.run(&format!("LRANGE {key} 0 -1"))),
        "set" => sorted(client.run(&format!("SMEMBERS {key}"))),
        "hash" => {
            let Value::Array(Some(flat)) = client.run(&format!("HGETALL {key}")) else {
                panic!("no hash at {key}")
            };
            let mut pairs: Vec<String> = flat
                .chunks(2)
                .map(|pair| format!("{}={}", pair[0].text(), pair[1].text()))
                .collect();
            pairs.sort();
            format!("{pairs:?}")
        }
        other => other.to_owned(),
    }
}
