//! Two processes on one carried journal: whoever owns it launches, the other stands by; killed, paused
//! or handed over, nothing is missed and nothing is launched under two keys.
//!
//! `ORRERY_SCHEDULER_TAKEOVERS` sets the number of rounds, `ORRERY_SCHEDULER_POSTGRES=1` has the
//! journals carried by PostgreSQL as well.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use orrery_e2e_tests::postgres::{DATABASE, PASSWORD, Postgres, USER};
use orrery_journal_kafka::suite::Broker;
use orrery_operand::OperandError;
use orrery_operand::v1::Role;

use super::crash::{check_books, drain, herd};
use super::engine::{Engine, now};
use super::sink::Sink;

/// Jobs that are due in every second.
const JOBS: usize = 100;
const CONFIG: &str = "journal: ObjectStore\nsnapshotAfterBytes: 60000\n";

fn rounds() -> u64 {
    let text = std::env::var("ORRERY_SCHEDULER_TAKEOVERS").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(4)
}

fn pair(secret: &Path, config: &str) -> [Engine; 2] {
    [0, 1].map(|_| {
        let mut engine = Engine::carried(4, secret, config);
        engine.start();
        engine
    })
}

fn role(engine: &Engine) -> Role {
    engine.report().expect("it answers").role()
}

#[test]
fn who_stands_by_says_so_and_serves_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = pair(&Engine::secret_of(folder.path()), CONFIG);
    assert_eq!(role(&first), Role::Standby);
    let (status, body) = first.get("/v1/jobs");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("urn:orrery:problem:NotTheOwner"), "{body}");
    assert_eq!(first.get("/healthz").0, 200, "it is well");
    first.lead(1);
    second.follow(1);
    assert_eq!((role(&first), role(&second)), (Role::Primary, Role::Follower));
    assert_eq!((first.get("/v1/jobs").0, second.get("/v1/jobs").0), (200, 503));
    let said = first.report().unwrap();
    assert!(said.shards.len() == 4 && said.shards.iter().all(|shard| shard.epoch == 1), "{said:?}");
    assert!(said.writable && !second.report().unwrap().writable);
    // An epoch that is used up is no good to anybody else; and it takes no lower one.
    let refused = second.promote(1);
    assert!(matches!(refused, Err(OperandError::Fenced { .. })), "{refused:?}");
    first.lead(1);
}

/// The owner is killed, again and again, and its place is taken by the other one, which has its volume
/// or none.
fn killed(secret: &Path, config: &str) {
    let sink = Sink::start();
    let [mut owner, mut other] = pair(secret, config);
    owner.lead(1);
    let answer = owner.declare(&herd(&sink.url, JOBS));
    assert!(answer.results.iter().all(|result| result.accepted), "{answer:?}");
    let begin = now() + 1;
    let mut worst = Duration::ZERO;
    for round in 0..rounds() {
        std::thread::sleep(Duration::from_millis(700 + (round * 7919) % 900));
        owner.kill();
        worst = worst.max(other.lead(round + 2));
        std::mem::swap(&mut owner, &mut other);
        if round % 2 == 1 {
            other.lose_volume();
        }
        other.start();
    }
    println!("the longest of {} take-overs: {} ms", rounds(), worst.as_millis());
    std::thread::sleep(Duration::from_millis(2500));
    owner.stop();
    let end = now() - 1;
    let verdict = owner.verify(begin, end);
    assert!(verdict.is_clean(), "{verdict:?}");
    let least = (end - begin) as u64 * JOBS as u64;
    assert!(verdict.expected >= least, "{verdict:?}, at least {least}");
    other.lead(rounds() + 2);
    drain(&other);
    other.stop();
    let (launches, calls) = check_books(&sink, &other);
    println!("{launches} launches, {calls} calls");
}

#[test]
fn killed_owners_are_replaced_without_a_launch_missed_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    killed(&Engine::secret_of(folder.path()), CONFIG);
}

#[test]
fn the_same_holds_where_a_database_carries_the_journals() {
    if std::env::var_os("ORRERY_SCHEDULER_POSTGRES").is_none() {
        println!("not run: ORRERY_SCHEDULER_POSTGRES is not set");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Postgres::start(folder.path()).expect("a server");
    let secret = folder.path().join("secret");
    std::fs::create_dir(&secret).unwrap();
    let port = server.port().to_string();
    let values = [
        ("host", "127.0.0.1"),
        ("port", port.as_str()),
        ("dbname", DATABASE),
        ("username", USER),
        ("password", PASSWORD),
        ("sslmode", "disable"),
    ];
    for (key, value) in values {
        std::fs::write(secret.join(key), value).unwrap();
    }
    killed(&secret, "journal: Postgres\nsnapshotAfterBytes: 60000\n");
}

#[test]
fn the_same_holds_where_a_log_of_kafka_carries_the_journals() {
    let Some(broker) = Broker::start(|_| String::new()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("bootstrap.servers"), broker.host().to_string()).unwrap();
    std::fs::write(secret.join("security.protocol"), "PLAINTEXT").unwrap();
    killed(&secret, "journal: Kafka\nsnapshotAfterBytes: 60000\n");
}

/// Paused beyond its lease with runs that wait at a slow target, an owner that wakes up launches and
/// sends nothing more, and ends.
#[test]
fn a_paused_owner_is_fenced_before_its_next_launch() {
    let folder = tempfile::tempdir().unwrap();
    let secret = Engine::secret_of(folder.path());
    let sink = Sink::start();
    let [mut owner, mut other] = pair(&secret, CONFIG);
    owner.lead(1);
    owner.declare(&herd(&sink.url, JOBS));
    let begin = now() + 1;
    for round in 0..rounds().min(3) {
        std::thread::sleep(Duration::from_millis(1300));
        owner.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(2300));
        other.lead(round + 2);
        std::thread::sleep(Duration::from_millis(1200));
        owner.signal(Signal::SIGCONT);
        // It learns from the engine alone that it was replaced.
        owner.ends();
        owner.start();
        assert_eq!(role(&owner), Role::Standby);
        std::mem::swap(&mut owner, &mut other);
    }
    std::thread::sleep(Duration::from_millis(1500));
    owner.stop();
    let end = now() - 1;
    let verdict = owner.verify(begin, end);
    assert!(verdict.is_clean(), "{verdict:?}");
    other.lead(100);
    drain(&other);
    other.stop();
    let (launches, calls) = check_books(&sink, &other);
    println!("{launches} launches, {calls} calls");
}

/// An owner that is told to end, or to hand over, says that it left: the other one knows at once.
#[test]
fn an_owner_that_hands_over_leaves_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let secret = Engine::secret_of(folder.path());
    let sink = Sink::start();
    let [mut owner, mut other] = pair(&secret, CONFIG);
    owner.lead(1);
    owner.declare(&herd(&sink.url, JOBS));
    let begin = now() + 1;
    for round in 0..3 {
        std::thread::sleep(Duration::from_millis(1100));
        let epoch = round + 1;
        if round == 1 {
            owner.fence(epoch + 1);
            owner.ends();
        } else {
            owner.stop();
        }
        let until = Instant::now() + Duration::from_secs(20);
        while other.report().is_none_or(|said| said.shards[0].completed_epoch < epoch) {
            assert!(Instant::now() < until, "it does not hear of the end: {:?}", other.report());
            std::thread::sleep(Duration::from_millis(5));
        }
        other.lead(epoch + 1);
        std::mem::swap(&mut owner, &mut other);
        other.start();
    }
    std::thread::sleep(Duration::from_millis(1500));
    owner.stop();
    let verdict = owner.verify(begin, now() - 1);
    assert!(verdict.is_clean(), "{verdict:?}");
    other.lead(100);
    drain(&other);
    other.stop();
    check_books(&sink, &other);
}

/// With an empty volume behind a snapshot the ledger begins late: the verdict says from when on it
/// judges, and calls nothing missed.
#[test]
fn an_owner_without_its_ledger_judges_from_when_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let secret = Engine::secret_of(folder.path());
    let sink = Sink::start();
    let mut engine = Engine::carried(1, &secret, CONFIG);
    engine.start();
    engine.lead(1);
    engine.declare(&herd(&sink.url, JOBS));
    let begin = now() + 1;
    std::thread::sleep(Duration::from_secs(4));
    engine.kill();
    engine.lose_volume();
    engine.start();
    engine.lead(2);
    std::thread::sleep(Duration::from_millis(1500));
    let shown = |second| jiff::Timestamp::from_second(second).unwrap().to_string();
    let range = serde_json::json!({"from": shown(begin), "to": shown(now() - 1)});
    let (status, body) = engine.post("/v1/verify", &range.to_string());
    assert_eq!(status, 200, "{body}");
    let verdict: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&verdict["missed"], &verdict["duplicated"]), (&0.into(), &0.into()), "{verdict}");
    assert!(verdict["launched"].as_u64().unwrap() > 0, "{verdict}");
    engine.stop();
}

/// An engine that holds less than the folder was emptied or restored from before: it is not believed.
#[test]
fn an_engine_that_lost_records_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let secret = Engine::secret_of(folder.path());
    let sink = Sink::start();
    let mut engine = Engine::carried(1, &secret, "journal: ObjectStore\n");
    engine.start();
    engine.lead(1);
    engine.declare(&herd(&sink.url, 3));
    engine.stop();
    std::fs::remove_dir_all(folder.path().join("journals")).unwrap();
    engine.start_unready();
    engine.ends();
}

/// While the spec says `Fence` nothing is launched and nothing changed; what is there can be seen, and
/// what was due follows.
#[test]
fn fenced_by_its_spec_it_launches_nothing_and_can_be_looked_at() {
    for is_carried in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::start();
        let mut engine = if is_carried {
            Engine::carried(2, &Engine::secret_of(folder.path()), CONFIG)
        } else {
            Engine::new(2, "")
        };
        let mut epoch = 0;
        let mut again = |engine: &mut Engine| {
            engine.start();
            epoch += 1;
            if is_carried {
                engine.lead(epoch);
            }
        };
        engine.say_fenced(false);
        again(&mut engine);
        engine.declare(&herd(&sink.url, 8));
        let begin = now() + 1;
        std::thread::sleep(Duration::from_millis(1500));
        engine.say_fenced(true);
        // It ends in order, and the next one begins fenced.
        engine.ends();
        again(&mut engine);
        let said = engine.report().unwrap();
        assert_eq!(
            (said.reason.as_str(), said.ready, said.writable),
            ("FencedBySpec", true, false)
        );
        let before = sink.books();
        let (status, jobs) = engine.get("/v1/jobs");
        assert!(status == 200 && jobs.contains("job-7"), "{status} {jobs}");
        let (status, refused) = engine.post("/v1/jobs/job-1/pause", "{}");
        assert!(status == 503 && refused.contains("problem:Fenced"), "{status} {refused}");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(sink.books(), before, "nothing is launched");
        engine.say_fenced(false);
        let until = Instant::now() + Duration::from_secs(20);
        while sink.books().len() <= before.len() {
            assert!(Instant::now() < until, "it does not go on");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(1200));
        engine.stop();
        let verdict = engine.verify(begin, now() - 1);
        assert!(verdict.is_clean(), "{verdict:?}");
    }
}

/// How long a take-over of many jobs takes is printed: `ORRERY_SCHEDULER_JOBS` sets their number.
#[test]
fn one_that_is_warm_takes_many_jobs_over() {
    let text = std::env::var("ORRERY_SCHEDULER_JOBS").ok();
    let count: usize = text.and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let folder = tempfile::tempdir().unwrap();
    let secret = Engine::secret_of(folder.path());
    let sink = Sink::start();
    let [mut owner, other] = pair(&secret, "journal: ObjectStore\n");
    owner.lead(1);
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(10_000) {
        let line = |number: &usize| {
            let (minute, hour) = (number % 60, number / 60 % 24);
            let when = format!("{{\"cron\":\"{minute} {hour} 1 1 *\"}}");
            let action = format!("{{\"http\":{{\"url\":\"{}\"}}}}", sink.url);
            format!(
                "{{\"name\":\"bulk-{number}\",\"spec\":{{\"when\":{when},\"action\":{action}}}}}\n"
            )
        };
        let (status, answer) = owner.bulk(&numbers.iter().map(line).collect::<String>());
        assert_eq!(status, 200, "{answer}");
    }
    let answer = owner.declare(&herd(&sink.url, 4));
    assert!(answer.results.iter().all(|result| result.accepted), "{answer:?}");
    let positions = |engine: &Engine| {
        let shards = engine.report().unwrap().shards;
        shards.iter().map(|shard| shard.durable_position).collect::<Vec<_>>()
    };
    let until = Instant::now() + Duration::from_mins(1);
    // The herd goes on: the one that stands by is never quite there.
    while positions(&other).iter().zip(positions(&owner)).any(|(here, there)| here + 100 < there) {
        assert!(Instant::now() < until, "it does not keep up");
        std::thread::sleep(Duration::from_millis(50));
    }
    owner.kill();
    let killed = Instant::now();
    let before = sink.books().len();
    let took = other.lead(2);
    while sink.books().len() <= before {
        assert!(killed.elapsed() < Duration::from_mins(1), "it launches nothing");
        std::thread::sleep(Duration::from_millis(2));
    }
    let launched = killed.elapsed().as_millis();
    println!("{count} jobs: owned after {} ms, launching after {launched} ms", took.as_millis());
    let (status, said) = other.get("/v1/jobs/bulk-7");
    assert_eq!(status, 200, "{said}");
}
