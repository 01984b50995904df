//! An engine that is killed while its runs go on in pods.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use orrery_scheduler::ledger::Fact;
use serde_json::json;

use super::crash::drain;
use super::engine::{Engine, now};
use crate::harness::runner::Runner;

const JOBS: usize = 6;
const KILLS: u64 = 5;

/// Every second each job is due and writes down the key it is run under. The engine is killed again and
/// again, in all stages of its runs: each launch is run once.
#[test]
fn killed_while_its_runs_go_on_in_pods_it_runs_each_launch_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let runners = [Runner::start(folder.path(), 8), Runner::start(folder.path(), 8)];
    let pool = json!({
        "name": "tools", "addresses": [runners[0].address(), runners[1].address()],
        "pods": 2, "runsPerPod": 8, "timeoutSeconds": 60,
    });
    let mut engine = Engine::new(2, &format!("pools: [{pool}]\n"));
    let keys = folder.path().join("keys");
    let script = format!("echo $ORRERY_RUN_KEY >> {}; sleep 0.4", keys.display());
    let spec = json!({
        "when": {"cron": "* * * * * *"}, "concurrency": "Allow",
        "catchUp": {"policy": "FireAll", "maxRuns": 1000},
        "action": {"pooledPod": {"pool": "tools", "command": ["sh", "-c", script]}},
    });
    let jobs: Vec<_> = (0..JOBS).map(|number| (format!("job-{number}"), spec.clone())).collect();
    engine.start();
    let answer = engine.declare(&jobs);
    assert!(answer.results.iter().all(|result| result.accepted), "{answer:?}");
    let begin = now() + 1;
    for round in 0..KILLS {
        std::thread::sleep(Duration::from_millis(500 + (round * 7919) % 900));
        engine.kill();
        engine.start();
    }
    std::thread::sleep(Duration::from_millis(1500));
    let end = now() - 1;
    drain(&engine);
    engine.stop();
    let verdict = engine.verify(begin, end);
    assert!(verdict.is_clean() && verdict.expected > 0, "{verdict:?}");

    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    for key in fs::read_to_string(&keys).expect("runs wrote it").lines() {
        *ran.entry(key.to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = ran.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "run more than once: {twice:?}");
    let suffix = |key: &String| {
        let (rest, number) = key.rsplit_once('_')?;
        Some(format!("{}_{number}", rest.rsplit_once('_')?.1))
    };
    let ran: BTreeSet<String> = ran.keys().filter_map(suffix).collect();
    let (mut launched, mut ended, mut cancelled) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (partition, (_, ledger)) in engine.partitions().into_iter().enumerate() {
        let seen = ledger.view().scan(0, |_, entry| {
            match entry.fact {
                Fact::Launched { run, .. } => _ = launched.insert(format!("{partition}_{run}")),
                Fact::Ended { run, ended: how, .. } if how.as_str() == "Succeeded" => {
                    ended.insert(format!("{partition}_{run}"));
                }
                // Its job was removed at the end, perhaps before it was sent.
                Fact::Ended { run, ended: how, .. } if how.as_str() == "Cancelled" => {
                    cancelled.insert(format!("{partition}_{run}"));
                }
                _ => {}
            }
            true
        });
        seen.expect("it can be read");
    }
    assert!(ran.is_subset(&launched), "what was run was launched: {ran:?}, {launched:?}");
    let kept: BTreeSet<String> = launched.difference(&cancelled).cloned().collect();
    assert!(kept.is_subset(&ran), "what was launched was run: {kept:?}, {ran:?}");
    assert_eq!(kept, ended, "and the engine knows how each ended");
}

#[test]
fn a_job_of_the_api_may_use_a_pool_and_one_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let runner = Runner::start(folder.path(), 1);
    let pool = json!({
        "name": "tools", "addresses": [runner.address()], "pods": 1, "runsPerPod": 1,
        "timeoutSeconds": 60,
    });
    let mut engine = Engine::new(1, &format!("pools: [{pool}]\n"));
    engine.start();
    let job = |pool: &str, command: &serde_json::Value| {
        json!({
            "name": "tidy", "spec": {
                "when": {"every": "1h"},
                "action": {"pooledPod": {"pool": pool, "command": command}},
            },
        })
        .to_string()
    };
    let (status, body) = engine.bulk(&job("tolls", &json!(["true"])));
    assert!(body.contains("TargetMissing") && body.contains("tools"), "{status} {body}");
    let (status, body) = engine.bulk(&job("tools", &json!([])));
    assert!(body.contains("InvalidSpec") && body.contains("program"), "{status} {body}");
    let (status, body) = engine.bulk(&job("tools", &json!(["sh", "-c", "echo swept; exit 4"])));
    assert!(status == 200 && !body.contains("Invalid"), "{status} {body}");
    let (status, body) = engine.post("/v1/jobs/tidy/run", "{}");
    assert!(status < 300, "{status} {body}");
    let until = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let (status, body) = engine.get("/v1/jobs/tidy/runs");
        if body.contains("exit code 4: swept") {
            break;
        }
        assert!(std::time::Instant::now() < until, "{status} {body}");
        std::thread::sleep(Duration::from_millis(20));
    }
    engine.stop();
}
