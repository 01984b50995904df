//! Goal: whatever becomes of a Scheduler, no second of a job is lost, launched twice, or left out without
//! a word. Method: four jobs of every second, into a target that keeps books, while their engine is
//! restarted, upgraded, paused, put to sleep, deleted with and without its volume, and declared again;
//! after each step ledger, books and the engine's own proof are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use orrery_e2e_cluster::poll_for;
use serde_json::Value;

use super::{LIMIT, PoisonError, Stage, Target, ask_pod, own_address, schedule, until_called};

const POD: &str = "jobs-scheduler-0";
const VOLUME: &str = "pvc/data-jobs-scheduler-0";
const ALWAYS: &str = r#"{"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}"#;
const READY: &str = "-o=jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.reason}{end}";
const UID: &str = "-o=jsonpath={.metadata.uid}";
/// Declared by a Schedule, and made through the API; late runs of the hasty ones are left out.
const DECLARED: [&str; 2] = ["declared", "declared-hasty"];
const MADE: [&str; 2] = ["made", "made-hasty"];

fn scheduler(spec: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: Scheduler\nmetadata: {{name: jobs}}\n\
         spec: {{partitions: 4, {spec}}}\n"
    )
}

/// What the ledger says of a job.
#[derive(Default)]
struct Account {
    /// Second and key of each launch.
    launched: BTreeMap<Timestamp, String>,
    /// Second and reason of what was left out.
    left_out: BTreeMap<Timestamp, String>,
    /// Seconds that were launched in time and not sent in time, which the ledger says.
    unsent: BTreeSet<Timestamp>,
}

fn moment(line: &Value, field: &str) -> Timestamp {
    let text = line[field].as_str().unwrap_or_else(|| panic!("no {field}: {line}"));
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

impl Account {
    fn read(lines: &str) -> Self {
        let mut account = Self::default();
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let reason = || line["reason"].as_str().unwrap_or_default().to_owned();
            match line["entry"].as_str() {
                Some("Launched") => {
                    let key = line["run"].as_str().expect("a key").to_owned();
                    let twice = account.launched.insert(moment(&line, "nominal"), key);
                    assert!(twice.is_none(), "a second is launched twice: {line} {twice:?}");
                }
                Some("Ended") => {
                    let is_late = match line["result"].as_str() {
                        Some("Expired") => true,
                        Some("TimedOut") => line["note"].as_str().is_some_and(|note| {
                            note.ends_with("may have sent it, and its deadline is over")
                        }),
                        _ => false,
                    };
                    if is_late {
                        account.unsent.insert(moment(&line, "nominal"));
                    }
                }
                Some("Skipped") => {
                    let twice = account.left_out.insert(moment(&line, "nominal"), reason());
                    assert!(twice.is_none(), "a second is left out twice: {line}");
                }
                Some("SkippedRange") => {
                    let (after, until) = (moment(&line, "after"), moment(&line, "until"));
                    for second in after.as_second() + 1..=until.as_second() {
                        let second = Timestamp::from_second(second).expect("a time");
                        let twice = account.left_out.insert(second, reason());
                        assert!(twice.is_none(), "a second is left out twice: {line}");
                    }
                }
                _ => {}
            }
        }
        account
    }

    /// Each second of the past was decided, once; the hasty left out what came late, the others nothing.
    fn check(&self, job: &str) {
        let launched: BTreeSet<i64> = self.launched.keys().map(|at| at.as_second()).collect();
        let left_out: BTreeSet<i64> = self.left_out.keys().map(|at| at.as_second()).collect();
        let both: Vec<_> = launched.intersection(&left_out).collect();
        assert!(both.is_empty(), "{job}: launched and left out: {both:?}");
        let all: Vec<i64> = launched.union(&left_out).copied().collect();
        let first = all.first().copied().expect("something was decided");
        let whole: Vec<i64> = (first..).take(all.len()).collect();
        assert_eq!(all, whole, "{job}: seconds that nobody decided");
        let reasons: BTreeSet<&str> = self.left_out.values().map(String::as_str).collect();
        let explained: &[&str] = if job.ends_with("hasty") { &["Deadline"] } else { &[] };
        assert!(reasons.iter().all(|reason| explained.contains(reason)), "{job}: {reasons:?}");
        assert!(job.ends_with("hasty") || self.unsent.is_empty(), "{job}: {:?}", self.unsent);
    }
}

/// The engine at work, and who is called.
struct Scene {
    stage: Stage,
    target: Target,
}

impl Scene {
    async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        ask_pod(&self.stage, POD, method, path, body).await
    }

    /// Makes a job through the API, as a program would.
    async fn make(&self, name: &str) {
        let hasty = if name.ends_with("hasty") { "\"startingDeadlineSeconds\": 1, " } else { "" };
        let job = format!(
            "{{\"spec\": {{\"when\": {{\"cron\": \"* * * * * *\"}}, {hasty}\
             \"catchUp\": {{\"policy\": \"FireAll\", \"maxRuns\": 1000}}, \
             \"action\": {{\"http\": {{\"url\": \"{}\"}}}}}}}}",
            self.target.url
        );
        let answer = self.ask("PUT", &format!("/v1/jobs/{name}"), &job).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    async fn declare(&self) {
        for name in DECLARED {
            let hasty = if name.ends_with("hasty") { "  startingDeadlineSeconds: 1\n" } else { "" };
            let more = format!(
                "  schedulerRef: {{name: jobs}}\n  catchUp: {{policy: FireAll, maxRuns: 1000}}\n{hasty}"
            );
            let tick = schedule(name, "{cron: \"* * * * * *\"}", &self.target.url, &more);
            self.stage.apply(&tick).await;
        }
    }

    async fn account(&self, job: &str) -> Account {
        let answer = self.ask("GET", &format!("/v1/ledger?job={job}&limit=10000"), "").await;
        let (head, lines) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        Account::read(lines)
    }

    /// The jobs go on, and nothing of what they were to do since they are there is missing.
    async fn whole(&self, jobs: &[&str], after: &str) -> BTreeMap<String, Account> {
        let wanted: Vec<usize> = jobs.iter().map(|job| self.target.of(job) + 2).collect();
        for (job, times) in jobs.iter().zip(wanted) {
            until_called(&self.target, job, times).await;
        }
        let verdict = self.ask("POST", "/v1/verify", ALWAYS).await;
        for clean in ["\"isClean\":true", "\"missed\":0", "\"duplicated\":0"] {
            assert!(verdict.contains(clean), "{after}: {verdict}");
        }
        let mut accounts = BTreeMap::new();
        for job in jobs {
            let account = self.account(job).await;
            account.check(job);
            // What was decided last may be on its way, or to be left out yet: on a machine that stands
            // still for a second the hasty ones are launched in time and cannot be sent in time.
            let what = format!("{job} arrives {after}");
            let arrived = poll_for(&what, LIMIT, || async {
                let unsent = self.account(job).await.unsent;
                let is_settled = |(at, key): (&Timestamp, &String)| {
                    self.was_called(job, *at, key) || unsent.contains(at)
                };
                account.launched.iter().all(is_settled).then_some(())
            });
            arrived.await.unwrap_or_else(|error| panic!("{error}"));
            accounts.insert((*job).to_owned(), account);
        }
        self.target.check();
        let count: usize = accounts.values().map(|account| account.launched.len()).sum();
        let late: usize = accounts.values().map(|account| account.left_out.len()).sum();
        let unsent: usize = accounts.values().map(|account| account.unsent.len()).sum();
        println!(
            "{after}: {count} launches, {late} seconds left out as too late, {unsent} not sent"
        );
        accounts
    }

    fn was_called(&self, job: &str, at: Timestamp, key: &str) -> bool {
        let calls = self.target.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let of_second = calls.iter().find(|((name, nominal), _)| {
            name == job && nominal.parse::<Timestamp>().is_ok_and(|nominal| nominal == at)
        });
        of_second.is_some_and(|(_, keys)| keys.contains_key(key))
    }

    /// Applies a change that needs another pod, and waits for that.
    async fn rolls(&self, spec: &str) {
        let path = ["get", "pod", POD, UID];
        let before = self.stage.until(&path, |uid| !uid.is_empty() && !uid.contains(' ')).await;
        self.stage.apply(&scheduler(spec)).await;
        self.another_pod(&before).await;
    }

    async fn another_pod(&self, before: &str) {
        let is_new = |uid: &str| !uid.is_empty() && !uid.contains(' ') && uid != before;
        self.stage.until(&["get", "pod", POD, UID], is_new).await;
        self.stage.ready("scheduler/jobs").await;
    }

    async fn delete(&self) {
        self.stage.kubectl(&["delete", "scheduler/jobs", "--wait"]).await.expect("it is deleted");
        self.stage.until(&["get", "pods", "-o=name"], str::is_empty).await;
        for name in DECLARED {
            let object = format!("schedule/{name}");
            self.stage.until(&["get", &object, READY], |reason| reason == "RefNotFound").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_is_lost_or_launched_twice_through_the_whole_life_of_a_scheduler() {
    let Some(stage) = Stage::new("schedules-life").await else { return };
    let Some(address) = own_address() else { return };
    let mut scene = Scene { stage, target: Target::start(address) };
    scene.stage.apply(&scheduler("restart: one")).await;
    scene.stage.ready("scheduler/jobs").await;
    scene.declare().await;
    for name in MADE {
        scene.make(name).await;
    }
    let all = [DECLARED, MADE].concat();
    scene.whole(&all, "at first").await;

    // Other pods: on request, of another configuration, of another release.
    scene.rolls("restart: two").await;
    scene.whole(&all, "after a restart").await;
    let spec = "restart: two, history: {keepSeconds: 86400}";
    scene.rolls(spec).await;
    scene.whole(&all, "after a change of the configuration").await;
    let pod = scene.stage.until(&["get", "pod", POD, UID], |uid| !uid.is_empty()).await;
    scene.stage.upgrade("registry.example/orrery:next");
    scene.another_pod(&pod).await;
    scene.whole(&all, "after an upgrade").await;

    paused(&scene, spec, &all).await;
    slept(&scene, spec, &all).await;
    let before = scene.whole(&all, "before it is deleted").await;
    retained(&scene, spec, &all, &before).await;
    removed(&scene, spec).await;
}

/// The process goes on with what it has; what is changed meanwhile waits.
async fn paused(scene: &Scene, spec: &str, all: &[&str]) {
    let stage = &scene.stage;
    stage.apply(&scheduler(&format!("{spec}, operation: Pause"))).await;
    stage.until(&["get", "scheduler/jobs", READY], |reason| reason == "Paused").await;
    let pod = stage.until(&["get", "pod", POD, UID], |uid| !uid.is_empty()).await;
    let service = ["get", "service/jobs-scheduler", "-o=name"];
    stage.kubectl(&["delete", "service/jobs-scheduler"]).await.expect("it is deleted");
    let late = schedule("late", "{every: 1s}", &scene.target.url, "  schedulerRef: {name: jobs}\n");
    stage.apply(&late).await;
    stage.until(&["get", "schedule/late", READY], |reason| reason == "EngineNotReady").await;
    scene.whole(all, "while it is paused").await;
    assert_eq!(scene.target.of("late"), 0, "it was declared to a paused Scheduler");
    assert!(stage.kubectl(&service).await.is_err(), "a paused Scheduler is left alone");
    stage.apply(&scheduler(spec)).await;
    until_called(&scene.target, "late", 2).await;
    stage.until(&service, |name| name == "service/jobs-scheduler").await;
    stage.ready("scheduler/jobs").await;
    stage.kubectl(&["delete", "schedule/late", "--wait"]).await.expect("it is deleted");
    scene.whole(all, "after a pause").await;
    assert_eq!(stage.until(&["get", "pod", POD, UID], |uid| !uid.is_empty()).await, pod);
}

/// Nothing is launched while no pod is there; what was due follows, or is too late and said to be.
async fn slept(scene: &Scene, spec: &str, all: &[&str]) {
    let stage = &scene.stage;
    stage.apply(&scheduler(&format!("{spec}, operation: Hibernate"))).await;
    stage.until(&["get", "pods", "-o=name"], str::is_empty).await;
    stage.until(&["get", "scheduler/jobs", READY], |reason| reason == "Hibernated").await;
    let calls = scene.target.of("made");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(scene.target.of("made"), calls, "it goes on");
    stage.kubectl(&["get", VOLUME]).await.expect("the volume stays");
    stage.apply(&scheduler(spec)).await;
    stage.ready("scheduler/jobs").await;
    let accounts = scene.whole(all, "after it slept").await;
    for (job, account) in &accounts {
        let is_hasty = job.ends_with("hasty");
        assert_eq!(!account.left_out.is_empty(), is_hasty, "{job}: {:?}", account.left_out);
    }
}

/// Deleted without its volume, and declared again under its name: it is as it was.
async fn retained(scene: &Scene, spec: &str, all: &[&str], before: &BTreeMap<String, Account>) {
    let stage = &scene.stage;
    let volume = stage.kubectl(&["get", VOLUME, UID]).await.expect("it is there");
    scene.delete().await;
    stage.apply(&scheduler(&format!("{spec}, deletionPolicy: Delete"))).await;
    stage.ready("scheduler/jobs").await;
    assert_eq!(stage.kubectl(&["get", VOLUME, UID]).await, Ok(volume), "the volume stays");
    for name in DECLARED {
        stage.ready(&format!("schedule/{name}")).await;
    }
    let accounts = scene.whole(all, "after it was deleted and its volume was not").await;
    for (job, account) in before {
        let now = &accounts[job];
        for (second, key) in &account.launched {
            assert_eq!(now.launched.get(second), Some(key), "{job} lost what it launched");
        }
        let known: BTreeSet<&String> = account.launched.values().collect();
        let keys: BTreeSet<&String> = now.launched.values().collect();
        assert_eq!(keys.len(), now.launched.len(), "{job} used a key again");
        assert!(known.len() < keys.len() && known.is_subset(&keys), "{job}");
    }
}

/// Deleted with its volume, and declared again: what objects declare is there, what was made through the
/// API is not, and no key is used again.
async fn removed(scene: &Scene, spec: &str) {
    let stage = &scene.stage;
    let policy = "-o=jsonpath={.spec.persistentVolumeClaimRetentionPolicy.whenDeleted}";
    stage.until(&["get", "statefulset/jobs-scheduler", policy], |when| when == "Delete").await;
    let before = stage.kubectl(&["get", VOLUME, UID]).await.expect("it is there");
    scene.delete().await;
    stage.until(&["get", VOLUME], |text| text.contains("not found")).await;
    stage.apply(&scheduler(spec)).await;
    stage.ready("scheduler/jobs").await;
    assert_ne!(stage.kubectl(&["get", VOLUME, UID]).await, Ok(before), "another volume");
    for name in DECLARED {
        stage.ready(&format!("schedule/{name}")).await;
    }
    scene.whole(&DECLARED, "after it was deleted with its volume").await;
    let listed = scene.ask("GET", "/v1/jobs", "").await;
    assert!(!listed.contains("\"made"), "{listed}");
}
