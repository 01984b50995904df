//! The key-value service beside redis-server: the same commands give the same replies.

use orrery_e2e_tests::differential;
use orrery_e2e_tests::servers::{KvOptions, RedisMode, orrery_kv, redis, redis_server};

use crate::not_run::or_not_run;

/// Commands of one run; a nightly run compares a million.
const COMMANDS: u64 = 40_000;

#[test]
fn random_commands_are_answered_as_redis_answers_them() {
    or_not_run!(redis_server());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let peer = folder.path().join("redis");
    std::fs::create_dir_all(&peer).expect("the folder is writable");
    let ours = orrery_kv(folder.path(), &KvOptions::default()).expect("orrery serve kv starts");
    let theirs = redis(&peer, RedisMode::Memory, None).expect("redis-server starts");
    let seed = std::env::var("ORRERY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let outcome = differential::run(&ours, &theirs, seed, COMMANDS, 5, |_| ())
        .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    let differences = outcome.differences.join("\n");
    assert!(differences.is_empty(), "seed {seed}:\n{differences}");
    assert!(outcome.commands >= COMMANDS);
}
