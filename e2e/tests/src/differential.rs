//! The same random commands to our server and to redis-server, every reply compared, then
//! everything both hold compared. What may differ is said in [`compare`], with the reason.

pub mod compare;
pub mod grammar;

use crate::client::{Client, Reply};
use crate::random::Random;
use crate::servers::Server;
use grammar::{Command, Grammar};

/// Commands sent before replies are read, so that a million take minutes.
const BATCH: usize = 200;
/// Databases the streams use.
const DATABASES: usize = 4;

/// What a run did.
#[derive(Debug, Default)]
pub struct Outcome {
    pub commands: u64,
    pub keys_compared: u64,
    /// Each unexplained difference, with the command that made it.
    pub differences: Vec<String>,
}

/// Sends `commands` random commands of `seed` to both servers; stops after `differences_max`.
pub fn run(
    ours: &Server,
    theirs: &Server,
    seed: u64,
    commands: u64,
    differences_max: usize,
    mut on_progress: impl FnMut(u64),
) -> Result<Outcome, String> {
    let mut grammar = Grammar::new(Random::new(seed));
    let mut pair = Pair { ours: ours.client()?, theirs: theirs.client()? };
    let mut outcome = Outcome::default();
    let mut resp3 = false;
    pair.both(&["FLUSHALL"])?;
    while outcome.commands < commands && outcome.differences.len() < differences_max {
        let batch: Vec<Command> = (0..BATCH).map(|_| grammar.command()).collect();
        for command in &batch {
            pair.ours.queue(&command.args);
            pair.theirs.queue(&command.args);
        }
        pair.flush()?;
        for command in &batch {
            let (ours, theirs) = pair.read()?;
            if !compare::same(&command.args, &ours, &theirs) {
                let text = format!("{command} (RESP{})", if resp3 { 3 } else { 2 });
                outcome.differences.push(format!("{text}\n  ours:  {ours:?}\n  redis: {theirs:?}"));
            }
        }
        outcome.commands += batch.len() as u64;
        if outcome.commands.is_multiple_of(20_000) {
            pair.end_transaction()?;
            compare_contents(&mut pair, &mut outcome)?;
            resp3 = !resp3;
            pair.both(&["HELLO", if resp3 { "3" } else { "2" }])?;
            on_progress(outcome.commands);
        }
    }
    pair.end_transaction()?;
    compare_contents(&mut pair, &mut outcome)?;
    Ok(outcome)
}

/// One connection to each server, always in step.
#[derive(Debug)]
struct Pair {
    ours: Client,
    theirs: Client,
}

impl Pair {
    fn both<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(Reply, Reply), String> {
        self.ours.queue(args);
        self.theirs.queue(args);
        self.flush()?;
        self.read()
    }

    fn flush(&mut self) -> Result<(), String> {
        self.ours.flush().map_err(|error| format!("ours: {error}"))?;
        self.theirs.flush().map_err(|error| format!("redis: {error}"))
    }

    fn read(&mut self) -> Result<(Reply, Reply), String> {
        let ours = self.ours.read().map_err(|error| format!("ours: {error}"))?;
        let theirs = self.theirs.read().map_err(|error| format!("redis: {error}"))?;
        Ok((ours, theirs))
    }

    /// A stream may stop within MULTI; the comparison must not become part of it.
    fn end_transaction(&mut self) -> Result<(), String> {
        self.both(&["DISCARD"]).map(|_| ())
    }
}

fn compare_contents(pair: &mut Pair, outcome: &mut Outcome) -> Result<(), String> {
    for database in 0..DATABASES {
        pair.both(&["SELECT", &database.to_string()])?;
        let (ours, theirs) = pair.both(&["KEYS", "*"])?;
        let (ours, theirs) = (sorted(&ours), sorted(&theirs));
        if ours != theirs {
            let only = |a: &[Vec<u8>], b: &[Vec<u8>]| {
                let missing = a.iter().filter(|key| !b.contains(key));
                missing.map(|key| key.escape_ascii().to_string()).collect::<Vec<_>>()
            };
            let (extra, missing) = (only(&ours, &theirs), only(&theirs, &ours));
            let text =
                format!("keys of db {database}: only ours {extra:?}, only redis {missing:?}");
            outcome.differences.push(text);
            continue;
        }
        for key in &theirs {
            compare_key(pair, key, outcome)?;
        }
    }
    pair.both(&["SELECT", "0"])?;
    Ok(())
}

fn sorted(reply: &Reply) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> =
        reply.items().iter().filter_map(|key| key.bytes().map(<[u8]>::to_vec)).collect();
    keys.sort();
    keys
}

fn compare_key(pair: &mut Pair, key: &[u8], outcome: &mut Outcome) -> Result<(), String> {
    let (_, kind) = pair.both(&[b"TYPE", key])?;
    let read: &[&[u8]] = match kind.text().as_str() {
        "string" => &[b"GET", key],
        "hash" => &[b"HGETALL", key],
        "list" => &[b"LRANGE", key, b"0", b"-1"],
        "set" => &[b"SMEMBERS", key],
        _ => &[b"TYPE", key],
    };
    let checks: [&[&[u8]]; 4] =
        [&[b"TYPE", key], &[b"PEXPIRETIME", key], &[b"OBJECT", b"ENCODING", key], read];
    for check in checks {
        let (ours, theirs) = pair.both(check)?;
        let args: Vec<Vec<u8>> = check.iter().map(|arg| arg.to_vec()).collect();
        if !compare::same(&args, &ours, &theirs) {
            let text = Command { args };
            let difference = format!("held: {text}\n  ours:  {ours:?}\n  redis: {theirs:?}");
            outcome.differences.push(difference);
        }
    }
    outcome.keys_compared += 1;
    Ok(())
}
