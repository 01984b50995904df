//! Archived partition by partition, an engine is recovered as of its end or of a moment: launches that were
//! on their way go on under the keys they had, and nothing is launched under two.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use orrery_e2e_tests::minio::{self, Minio, PASSWORD, USER};
use orrery_operand::OperandError;
use orrery_scheduler::engine::partition_of;
use serde_json::json;

use super::crash::{check_books, drain, herd};
use super::engine::{Engine, now, until};
use super::sink::{Books, Sink};

/// Jobs that are due in every second.
const JOBS: usize = 60;
/// Partitions of all engines here.
const PARTITIONS: u16 = 4;
const LIMIT: Duration = Duration::from_mins(1);

fn archived(folder: &Path) -> String {
    format!(
        "object: {{namespace: test, name: jobs}}\nsnapshotAfterBytes: 40000\narchive: {{to: \
         'file://{}', intervalSeconds: 1, owner: one}}\n",
        folder.display()
    )
}

/// An engine that is recovered from there; `more` says up to which moment.
fn recovered(folder: &Path, more: &str) -> Engine {
    let config = format!(
        "object: {{namespace: test, name: other}}\nrecovery: {{from: 'file://{}'{more}}}\n",
        folder.display()
    );
    Engine::new(PARTITIONS, &config)
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Jobs that are due once in a long while, by their names.
fn rare(names: &[&str]) -> String {
    let line = |name: &&str| {
        let action = json!({"http": {"url": "http://127.0.0.1:9/"}});
        let when = json!({"cron": "0 0 1 1 *"});
        json!({"name": name, "spec": {"when": when, "action": action}}).to_string()
    };
    names.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn add(engine: &Engine, name: &str) {
    let (status, body) = engine.bulk(&rare(&[name]));
    assert!(status == 200 && body.contains("created"), "{status} {body}");
}

fn names(engine: &Engine) -> BTreeSet<String> {
    let (status, body) = engine.get("/v1/jobs?limit=1000");
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let jobs = body["jobs"].as_array().unwrap_or_else(|| panic!("{body}"));
    jobs.iter().map(|job| job["name"].as_str().unwrap().to_owned()).collect()
}

/// Ends in order with runs in flight; what is recovered resumes those under their keys, launches what was
/// due meanwhile, and the proof covers both lives.
#[test]
fn an_engine_that_is_recovered_goes_on_where_the_archive_ends_under_the_same_keys() {
    let (sink, store) = (Sink::start(), tempfile::tempdir().unwrap());
    let mut engine = Engine::new(PARTITIONS, &archived(store.path()));
    engine.start();
    let mut jobs = herd(&sink.url, JOBS);
    let held = sink.url.replace("/run", "/held");
    for index in 0..8 {
        let spec = json!({
            "when": {"cron": "* * * * * *"},
            "concurrency": "Forbid",
            "action": {"http": {"url": held}},
        });
        jobs.push((format!("held-{index}"), spec));
    }
    sink.hold(true);
    let answer = engine.declare(&jobs);
    assert!(answer.results.iter().all(|result| result.accepted), "{answer:?}");
    let begin = now() + 1;
    std::thread::sleep(Duration::from_millis(3500));
    engine.stop();
    let before = sink.books();
    assert_eq!(before.keys().filter(|(job, _)| job.starts_with("held")).count(), 8);

    let mut other = recovered(store.path(), "");
    other.start();
    // Nobody answered them, so they are sent again.
    let is_again = |((job, _), keys): (&(String, i64), &BTreeMap<String, u32>)| {
        job.starts_with("held") && keys.values().sum::<u32>() > 1
    };
    let until = Instant::now() + LIMIT;
    while sink.books().iter().filter(|entry| is_again(*entry)).count() < 8 {
        assert!(Instant::now() < until, "runs in flight are not resumed: {:?}", sink.books());
        std::thread::sleep(Duration::from_millis(20));
    }
    sink.hold(false);
    std::thread::sleep(Duration::from_millis(2500));
    let end = now() - 1;
    drain(&other);
    other.stop();
    let verdict = other.verify(begin, end);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert!(verdict.expected >= (end - begin) as u64 * JOBS as u64, "{verdict:?}");
    check_books(&sink, &other);
    // Numbers go on, so the names tell the two lives apart.
    let sent: BTreeSet<String> = sink.books().into_values().flat_map(BTreeMap::into_keys).collect();
    let old = sent.iter().filter(|key| key.starts_with("test_jobs_")).count();
    let new = sent.iter().filter(|key| key.starts_with("test_other_")).count();
    assert!(old > 0 && new > 0 && old + new == sent.len(), "{old} and {new}");

    // Its own archive says so as well: a third one has the keys of both.
    let second = tempfile::tempdir().unwrap();
    other.configure(&archived(second.path()));
    other.start();
    let until = Instant::now() + LIMIT;
    let card = second.path().join("partitions/000/engine.json");
    while !card.exists() {
        assert!(Instant::now() < until, "it is not archived");
        std::thread::sleep(Duration::from_millis(20));
    }
    let card = std::fs::read_to_string(card).unwrap();
    assert!(card.contains("\"before\":[{\"name\":\"test_jobs_"), "{card}");
}

/// Changes one by one, over a kill; at moments between two of them what is recovered is what was there.
#[test]
fn the_state_of_a_moment_is_what_had_been_acknowledged_by_then() {
    let store = tempfile::tempdir().unwrap();
    let mut engine = Engine::new(PARTITIONS, &archived(store.path()));
    engine.start();
    let before_all_us = now_us();
    std::thread::sleep(Duration::from_millis(5));
    let mut moments = vec![];
    for number in 0..40 {
        add(&engine, &format!("job-{number}"));
        std::thread::sleep(Duration::from_millis(3));
        moments.push((now_us(), number + 1));
        std::thread::sleep(Duration::from_millis(3));
        if number == 20 {
            engine.kill();
            engine.start();
        }
    }
    engine.stop();
    let expected = |count: usize| -> BTreeSet<String> {
        (0..count).map(|number| format!("job-{number}")).collect()
    };
    let picked = [0, 1, 6, 13, 19, 20, 21, 28, 33, 39];
    for (moment_us, count) in picked.map(|index: usize| moments[index]) {
        let mut other = recovered(store.path(), &format!(", targetTimeUs: {moment_us}"));
        other.start();
        assert_eq!(names(&other), expected(count), "at {moment_us}");
        // What comes next does not change what it was.
        add(&other, "another");
        other.kill();
        other.start();
        assert_eq!(names(&other).len(), count + 1);
    }
    let mut early = recovered(store.path(), &format!(", targetTimeUs: {before_all_us}"));
    early.start_unready();
    says(&early, "RecoveryFailed", "there is nothing at or before");
}

fn says(engine: &Engine, reason: &str, text: &str) {
    let until = Instant::now() + LIMIT;
    loop {
        let report = engine.report();
        if report.as_ref().is_some_and(|said| said.reason == reason && said.message.contains(text))
        {
            return;
        }
        assert!(Instant::now() < until, "it does not say so: {report:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// While jobs are added all the time: everything that was there when the Backup was asked for is in it,
/// and what is recovered from it is of one moment.
#[test]
fn a_backup_is_one_moment_of_all_partitions() {
    let store = tempfile::tempdir().unwrap();
    let mut engine = Engine::new(PARTITIONS, &archived(store.path()));
    engine.start();
    assert!(engine.back_up().is_ok(), "of nothing");
    let mut taken = vec![];
    for round in 0..3 {
        for number in 0..10 {
            add(&engine, &format!("job-{round}-{number}"));
        }
        taken.push((engine.back_up().expect("it is taken"), names(&engine)));
    }
    add(&engine, "afterwards");
    engine.kill();
    for (moment_us, there) in taken {
        let mut other = recovered(store.path(), &format!(", targetTimeUs: {moment_us}"));
        other.start();
        assert_eq!(names(&other), there);
        let used = store.path().join("partitions/000/snapshots");
        assert!(std::fs::read_dir(used).unwrap().next().is_some(), "it has snapshots");
    }
}

#[test]
fn what_cannot_be_archived_or_recovered_says_why() {
    let store = tempfile::tempdir().unwrap();
    let mut engine = Engine::new(PARTITIONS, "");
    engine.start();
    let none = engine.back_up();
    assert!(matches!(&none, Err(OperandError::Precondition(why)) if why.contains("no archive")));
    engine.stop();
    engine.configure(&archived(store.path()));
    engine.start();
    add(&engine, "one");
    engine.stop();
    let mut fewer = recovered(store.path(), "");
    fewer.configure(&format!("recovery: {{from: 'file://{}'}}\n", store.path().display()));
    let config = fewer.folder.path().join("scheduler.yaml");
    let text = std::fs::read_to_string(&config).unwrap().replace("partitions: 4", "partitions: 2");
    std::fs::write(config, text).unwrap();
    fewer.start_unready();
    says(&fewer, "RecoveryFailed", "of 4, and here are 2");
    let mut nowhere = recovered(&store.path().join("nothing"), "");
    nowhere.start_unready();
    says(&nowhere, "RecoveryFailed", "it is tried again");
    // A folder that holds data is left alone.
    engine.configure(&format!("recovery: {{from: 'file://{}'}}\n", store.path().display()));
    engine.start_unready();
    says(&engine, "RecoveryFailed", "holds data already");
    engine.kill();
    engine.configure("");
    engine.start();
    assert_eq!(names(&engine), BTreeSet::from(["one".to_owned()]));
    // Damage is noticed, and what a journal has no room for is not made up.
    let partition = partition_of("one", PARTITIONS);
    let journal = store.path().join(format!("partitions/{partition:03}/journal"));
    for found in std::fs::read_dir(journal).unwrap() {
        let path = found.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let mut damaged = recovered(store.path(), "");
    damaged.start_unready();
    says(&damaged, "RecoveryFailed", "is damaged");
}

/// An archive that cannot be written degrades the engine, which launches on, and catches up by itself.
#[test]
fn an_archive_that_cannot_be_written_stops_no_launch() {
    let (sink, store) = (Sink::start(), tempfile::tempdir().unwrap());
    let folder = store.path().join("archive");
    // A file is in the way of the folder.
    std::fs::write(&folder, "").unwrap();
    let mut engine = Engine::new(PARTITIONS, &archived(&folder));
    engine.start();
    engine.declare(&herd(&sink.url, JOBS));
    says(&engine, "ArchiveFailing", "file://");
    let launched = sink.books().len();
    let until = Instant::now() + LIMIT;
    while sink.books().len() <= launched + JOBS {
        assert!(Instant::now() < until, "it does not launch");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(engine.back_up().is_err());
    std::fs::remove_file(&folder).unwrap();
    says(&engine, "", "");
    engine.back_up().expect("it is taken");
    engine.stop();
    let mut other = recovered(&folder, "");
    other.start();
    assert_eq!(names(&other).len(), JOBS);
}

/// A leader in one partition and a follower in another; the archive of one of them loses its last seconds.
/// Gives the books, from which second on the recovered engine is looked at, and its verdict.
fn with_a_lost_end(of_leader: bool) -> (Books, i64, serde_json::Value, String) {
    let (sink, store) = (Sink::start(), tempfile::tempdir().unwrap());
    let mut engine = Engine::new(PARTITIONS, &archived(store.path()));
    engine.start();
    let follower = partition_of("follower", PARTITIONS);
    let mut leaders = (0..64).map(|index| format!("leader-{index}"));
    let leader = leaders.find(|name| partition_of(name, PARTITIONS) != follower).unwrap();
    let action = json!({"http": {"url": sink.url}});
    let leads = json!({"when": {"cron": "* * * * * *"}, "action": action});
    let follows = json!({"when": {"after": {"schedule": leader}}, "action": action});
    let answer = engine.declare(&[(leader.clone(), leads), ("follower".to_owned(), follows)]);
    assert!(answer.results.iter().all(|result| result.accepted), "{answer:?}");
    let begin = now() + 1;
    let partition = if of_leader { partition_of(&leader, PARTITIONS) } else { follower };
    let journal = store.path().join(format!("partitions/{partition:03}/journal"));
    // How many seconds share a group depends on how the writer's second lies to the clock's.
    let count = || std::fs::read_dir(&journal).map_or(0, Iterator::count);
    until(LIMIT, "six groups are archived", || count() >= 6);
    engine.stop();
    let found = std::fs::read_dir(&journal).unwrap();
    let mut groups: Vec<_> = found.map(|found| found.unwrap().path()).collect();
    groups.sort();
    for group in &groups[groups.len() - 4..] {
        std::fs::remove_file(group).unwrap();
    }
    let mut other = recovered(store.path(), "");
    other.start();
    let from = now() + 1;
    std::thread::sleep(Duration::from_millis(4500));
    let shown = |second| jiff::Timestamp::from_second(second).unwrap().to_string();
    let range = json!({"from": shown(begin), "to": shown(now() - 1)});
    let (status, verdict) = other.post("/v1/verify", &range.to_string());
    assert_eq!(status, 200, "{verdict}");
    other.kill();
    (sink.books(), from, serde_json::from_str(&verdict).unwrap(), leader)
}

fn seconds(books: &Books, of: &str, from: i64) -> BTreeSet<i64> {
    let of_it = books.keys().filter(|(job, second)| job.ends_with(of) && *second >= from);
    of_it.map(|(_, second)| *second).filter(|second| *second < from + 3).collect()
}

/// The follower took what its leader does not know of: what it is told from then on is not passed by.
#[test]
fn a_leader_that_lost_its_end_is_heard_again() {
    let (books, from, verdict, leader) = with_a_lost_end(true);
    assert_eq!(seconds(&books, "follower", from), seconds(&books, &leader, from));
    assert_eq!(seconds(&books, &leader, from).len(), 3, "{books:?}");
    assert_eq!(verdict["missed"], 0, "{verdict}");
}

/// The leader knows that the follower was told, and the follower does not: it is told again, and the
/// proof finds no end that nobody took.
#[test]
fn a_follower_that_lost_its_end_is_told_again() {
    let (books, from, verdict, leader) = with_a_lost_end(false);
    assert_eq!(seconds(&books, "follower", from), seconds(&books, &leader, from));
    assert_eq!(verdict["isClean"], true, "{verdict}");
}

fn with_keys(engine: &Engine) {
    let secret = engine.folder.path().join("bucket-secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("AWS_ACCESS_KEY_ID"), USER).unwrap();
    std::fs::write(secret.join("AWS_SECRET_ACCESS_KEY"), PASSWORD).unwrap();
}

/// The same in a bucket, whose server is away for a while.
#[test]
fn a_bucket_has_everything_of_all_partitions() {
    let program = match minio::built() {
        Ok(program) => program,
        Err(why) => return println!("not run: {why}"),
    };
    let (sink, files) = (Sink::start(), tempfile::tempdir().unwrap());
    let mut server = Minio::start(&program, files.path(), "backups").expect("it starts");
    let endpoint = server.endpoint();
    let place = |of: &str, word: &str| {
        format!(
            "object: {{namespace: test, name: {of}}}\nsnapshotAfterBytes: 40000\n{word}: \
             's3://backups/team/jobs', region: us-east-1, endpoint: \
             '{endpoint}'"
        )
    };
    let archive = place("jobs", "archive: {to") + ", intervalSeconds: 1, owner: one}\n";
    let recovery = place("other", "recovery: {from") + "}\n";
    let mut engine = Engine::new(PARTITIONS, &archive);
    with_keys(&engine);
    engine.start();
    engine.declare(&herd(&sink.url, JOBS));
    let begin = now() + 1;
    std::thread::sleep(Duration::from_millis(1500));
    let moment_us = engine.back_up().expect("it is taken");
    add(&engine, "later");
    server.kill();
    says(&engine, "ArchiveFailing", "s3://backups/team/jobs");
    let said = engine.report().unwrap();
    assert!(said.writable && !said.message.contains(PASSWORD), "{said:?}");
    server.again().expect("it starts again");
    says(&engine, "", "");
    engine.stop();
    let mut other = Engine::new(PARTITIONS, &recovery);
    with_keys(&other);
    other.start();
    assert!(names(&other).contains("later"));
    std::thread::sleep(Duration::from_millis(1500));
    let end = now() - 1;
    drain(&other);
    other.stop();
    let verdict = other.verify(begin, end);
    assert!(verdict.is_clean(), "{verdict:?}");
    check_books(&sink, &other);
    let as_of = place("other", "recovery: {from") + &format!(", targetTimeUs: {moment_us}}}\n");
    let mut copy = Engine::new(PARTITIONS, &as_of);
    with_keys(&copy);
    copy.say_fenced(true);
    copy.start();
    assert!(!names(&copy).contains("later") && names(&copy).len() == JOBS);
}

/// What an archive that works and one that does not show at `/metrics`.
#[test]
fn an_archive_that_cannot_be_written_shows_how_far_it_is_behind() {
    let store = tempfile::tempdir().unwrap();
    let (there, away) = (store.path().join("archive"), store.path().join("away"));
    let mut engine = Engine::new(PARTITIONS, &archived(&there));
    engine.start();
    let metric =
        |engine: &Engine, name: &str| engine.metric(&format!("orrery_scheduler_archive_{name}"));
    add(&engine, "first");
    let is_whole = || metric(&engine, "bytes_total") > 0 && metric(&engine, "lag_records") == 0;
    until(LIMIT, "it is archived", is_whole);
    assert!(metric(&engine, "last_success_timestamp_seconds") > 1_000_000_000);
    assert_eq!(metric(&engine, "failures_total"), 0);
    assert_eq!(metric(&engine, "lag_seconds"), 0);
    // Where the folder was is a file.
    std::fs::rename(&there, &away).unwrap();
    std::fs::write(&there, "").unwrap();
    add(&engine, "second");
    until(LIMIT, "it fails, and is behind", || {
        let is_behind = metric(&engine, "lag_records") > 0 && metric(&engine, "lag_seconds") > 0;
        is_behind && metric(&engine, "failures_total") > 0
    });
    std::fs::remove_file(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    until(LIMIT, "it goes on", || metric(&engine, "lag_records") == 0);
    assert_eq!(metric(&engine, "lag_seconds"), 0);
    engine.stop();
}
