//! Schedules on a real API server: one file is enough, runs arrive, statuses tell, and the proof holds.

#[path = "schedules/api.rs"]
mod api;
#[path = "schedules/archive.rs"]
mod archive;
#[path = "schedules/lifecycle.rs"]
mod lifecycle;
#[path = "schedules/rows.rs"]
mod rows;
#[path = "schedules/standby.rs"]
mod standby;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orrery_e2e_cluster::poll_for;

use crate::kubernetes::{LIMIT, Stage};

/// How often each second of each job was asked for, by its key.
type Calls = BTreeMap<(String, String), BTreeMap<String, u32>>;

/// A target that takes what comes and keeps books.
struct Target {
    url: String,
    calls: Arc<Mutex<Calls>>,
    /// When each call came.
    arrivals: Arc<Mutex<Vec<Instant>>>,
}

/// An address of this machine that is not loopback: pods may not call loopback in a cluster. Says where
/// there is none.
pub(crate) fn own_address() -> Option<IpAddr> {
    let routed = || {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        // Nothing is sent: this only asks which way it would go.
        socket.connect("192.0.2.1:9").ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_loopback()).then_some(address)
    };
    let found = routed();
    if found.is_none() {
        println!("not run: this machine has no address but loopback");
    }
    found
}

impl Target {
    fn start(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let url = format!("http://{}/run", listener.local_addr().expect("bound"));
        let calls = Arc::<Mutex<Calls>>::default();
        let arrivals = Arc::<Mutex<Vec<Instant>>>::default();
        let (shared, seen) = (Arc::clone(&calls), Arc::clone(&arrivals));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (calls, seen) = (Arc::clone(&shared), Arc::clone(&seen));
                // Whoever called may go at any moment.
                std::thread::spawn(move || _ = serve(&stream, &calls, &seen));
            }
        });
        Self { url, calls, arrivals }
    }

    /// No second of a job was asked for under two keys, and no key was used for two seconds.
    fn check(&self) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut used = BTreeMap::new();
        for (second, keys) in &calls {
            assert_eq!(keys.len(), 1, "{second:?} was launched twice: {keys:?}");
            for key in keys.keys() {
                let other = used.insert(key, second);
                assert_eq!(other, None, "{key} was used again for {second:?}");
            }
        }
    }

    /// The longest time without a call since then.
    fn silence_since(&self, since: Instant) -> Duration {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Instant> = arrivals.iter().copied().filter(|at| *at > since).collect();
        all.sort_unstable();
        let gaps = all.windows(2).map(|pair| pair[1] - pair[0]);
        let first = all.first().map_or(Duration::ZERO, |first| *first - since);
        gaps.chain([first]).max().unwrap_or_default()
    }

    fn of(&self, job: &str) -> usize {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.keys().filter(|(name, _)| name == job).count()
    }
}

fn serve(
    stream: &TcpStream,
    calls: &Mutex<Calls>,
    arrivals: &Mutex<Vec<Instant>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim().split_once(": ") {
                Some((name, value)) => _ = headers.insert(name.to_lowercase(), value.to_owned()),
                None if line.trim().is_empty() => break,
                None => {}
            }
        }
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        reader.read_exact(&mut vec![0; length])?;
        let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
        arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        let second = (header("x-orrery-schedule"), header("x-orrery-nominal"));
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(second).or_default().entry(header("idempotency-key")).or_default() += 1;
        drop(calls);
        let mut answer = stream;
        answer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")?;
    }
}

fn schedule(name: &str, when: &str, url: &str, more: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: Schedule\nmetadata: {{name: {name}}}\n\
         spec:\n  when: {when}\n  action: {{http: {{url: \"{url}\", body: \"{{}}\"}}}}\n{more}"
    )
}

/// The engine's API, with the token of the generated Secret.
async fn ask(stage: &Stage, method: &str, path: &str, body: &str) -> String {
    ask_pod(stage, "default-scheduler-0", method, path, body).await
}

/// That of one pod.
async fn ask_pod(stage: &Stage, pod: &str, method: &str, path: &str, body: &str) -> String {
    let secret = "-o=go-template={{index .data \"api-token\"|base64decode}}";
    let engine = pod.rsplit_once('-').map_or(pod, |(engine, _)| engine);
    let token = stage.kubectl(&["get", &format!("secret/{engine}"), secret]).await;
    let token = token.expect("the Secret is there");
    let pod = format!("pod/{pod}");
    let ip = ["get", &pod, "-o=jsonpath={.status.podIP}"];
    let ip: IpAddr = stage.until(&ip, |ip| !ip.is_empty()).await.parse().expect("an address");
    let mut stream = TcpStream::connect(SocketAddr::new(ip, 8080)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

async fn until_called(target: &Target, job: &str, times: usize) {
    let what = format!("{job} runs {times} times");
    let held = poll_for(&what, LIMIT, || async { (target.of(job) >= times).then_some(()) });
    held.await.unwrap_or_else(|error| panic!("{error}: {} times", target.of(job)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_alone_makes_its_engine_and_runs_and_tells() {
    let Some(stage) = Stage::new("schedules").await else { return };
    let Some(address) = own_address() else { return };
    let target = Target::start(address);
    let when = "{cron: \"*/2 * * * * *\", timeZone: Europe/Paris}";
    stage.apply(&schedule("often", when, &target.url, "")).await;
    stage.ready("schedule/often").await;
    stage.ready("scheduler/default").await;
    until_called(&target, "often", 3).await;
    let last = "-o=jsonpath={.status.lastRun.result} {.status.nextTimes[0]} {.status.boundTo}";
    let told = |text: &str| text.starts_with("Succeeded 20") && text.ends_with(" default");
    stage.until(&["get", "schedule/often", last], told).await;
    let table = stage.kubectl(&["get", "schedules"]).await.expect("it lists");
    for column in ["READY", "WHEN", "ZONE", "NEXT", "LAST", "SUSPEND", "AGE"] {
        assert!(table.contains(column), "{table}");
    }

    // What cannot be says why, and where.
    let wrong = [
        ("never", "{cron: \"0 0 31 2 *\"}", "NeverFires", "no day"),
        ("typo", "{cron: \"0 25 * * *\"}", "InvalidExpression", "25"),
        (
            "zone",
            "{cron: \"0 0 * * *\", timeZone: Europe/Pariss}",
            "UnknownTimeZone",
            "Europe/Paris",
        ),
    ];
    for (name, when, reason, says) in wrong {
        stage.apply(&schedule(name, when, &target.url, "")).await;
        let path = "-o=jsonpath={range .status.conditions[?(@.type==\"Stalled\")]}\
                    {.status} {.reason} {.message}{end}";
        let object = format!("schedule/{name}");
        let told = |text: &str| text.starts_with(&format!("True {reason} ")) && text.contains(says);
        stage.until(&["get", &object, path], told).await;
    }

    // A run that does not end in time is told of.
    let silent = TcpListener::bind((address, 0)).expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("bound"));
    let more = "  finishWithinSeconds: 1\n  timeoutSeconds: 60\n";
    stage.apply(&schedule("hangs", "{every: 5s}", &url, more)).await;
    let of = "--field-selector=involvedObject.name=hangs,reason=Overdue,type=Warning";
    let events = ["get", "events", of, "-o=jsonpath={range .items[*]}{.message}{end}"];
    stage.until(&events, |text| text.contains("spec.finishWithinSeconds")).await;
    stage.kubectl(&["delete", "schedule/hangs"]).await.expect("it is deleted");

    // Suspended it does not run; the edit takes effect without another pod.
    stage.apply(&schedule("often", when, &target.url, "  suspend: true\n")).await;
    let path = "-o=jsonpath={.status.observedGeneration} {.status.nextTimes}";
    stage
        .until(&["get", "schedule/often", path], |text| {
            text.starts_with('2') && !text.contains("20")
        })
        .await;
    // What the edit does to the runs is an event.
    let of = "--field-selector=involvedObject.name=often,reason=RunsChanged";
    let events = ["get", "events", of, "-o=jsonpath={range .items[*]}{.message}{end}"];
    let told = |text: &str| text.contains("next at ") && text.contains("leaves out 100 runs: ");
    stage.until(&events, told).await;
    let before = target.of("often");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(target.of("often") <= before + 1, "it goes on");
    stage.apply(&schedule("often", when, &target.url, "")).await;
    until_called(&target, "often", before + 2).await;

    // The pod is killed; what it was to launch meanwhile is decided by the next one.
    let begun = target.of("often");
    stage
        .kubectl(&["delete", "pod/default-scheduler-0", "--grace-period=0", "--force"])
        .await
        .expect("it goes");
    until_called(&target, "often", begun + 3).await;
    stage.ready("scheduler/default").await;
    let range = r#"{"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}"#;
    let verdict = ask(&stage, "POST", "/v1/verify", range).await;
    assert!(verdict.contains("\"isClean\":true") && verdict.contains("\"missed\":0"), "{verdict}");
    let seen = "-o=jsonpath={.status.verify.missed} {.status.verify.duplicated}";
    stage.until(&["get", "scheduler/default", seen], |text| text == "0 0").await;
    target.check();

    // A schedule that is deleted is gone from the engine; the engine stays.
    stage.kubectl(&["delete", "schedule/often", "--wait"]).await.expect("it is deleted");
    let jobs = poll_for("the job is gone", LIMIT, || async {
        let jobs = ask(&stage, "GET", "/v1/jobs", "").await;
        (!jobs.contains("often")).then_some(())
    });
    jobs.await.expect("the engine forgets it");
}
