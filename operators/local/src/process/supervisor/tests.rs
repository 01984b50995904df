//! Supervision of real processes: a shell stands for the data plane.

use super::*;
use crate::process::plan::PortPlan;
use tokio::task::LocalSet;

const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    _temporary: tempfile::TempDir,
    shared: Rc<Shared>,
}

fn stage() -> Stage {
    let temporary = tempfile::tempdir().unwrap();
    let folder = Folder::create(temporary.path()).unwrap();
    let ports = RefCell::new(PortBook::open(&folder).unwrap());
    let shared = Rc::new(Shared { folder, ports, program: "/bin/sh".into() });
    Stage { _temporary: temporary, shared }
}

fn plan(script: &str) -> Plan {
    Plan {
        namespace: "ns".into(),
        workload: "a".into(),
        pod: "a-0".into(),
        name: "a-0".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: BTreeMap::new(),
        files: BTreeMap::new(),
        folders: Vec::new(),
        emptied: Vec::new(),
        live: BTreeMap::new(),
        ports: vec![PortPlan { name: "resp".into(), declared: 0 }],
        annotations: BTreeMap::new(),
        grace_seconds: 10,
    }
}

async fn until(supervisor: &Supervisor, what: impl Fn(&Life) -> bool) -> Life {
    let mut life = supervisor.watch();
    let waited = tokio::time::timeout(PATIENCE, life.wait_for(|life| what(life))).await;
    waited.expect("it happens in time").expect("the task lives").clone()
}

fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test));
}

#[test]
fn a_process_that_is_killed_comes_back_on_the_same_port() {
    let stage = stage();
    on_one_thread(async {
        let supervisor = Supervisor::start(stage.shared.clone(), plan("exec sleep 600"));
        let first = until(&supervisor, |life| life.phase == Phase::Running).await;
        let pid = Pid::from_raw(first.pid.unwrap().cast_signed());
        kill(pid, Signal::SIGKILL).unwrap();
        let second = until(&supervisor, |life| life.run == 2).await;
        assert_ne!(first.pid, second.pid);
        assert_eq!(first.ports, second.ports);
        assert_eq!(second.restarts, 1);
        supervisor.stop();
        until(&supervisor, |life| life.phase == Phase::Stopped).await;
    });
}

#[test]
fn the_grace_period_lets_a_process_finish_what_it_does() {
    let stage = stage();
    let script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done";
    on_one_thread(async {
        let supervisor = Supervisor::start(stage.shared.clone(), plan(script));
        let log = stage.shared.folder.log("ns", "a-0");
        let said = |word: &'static str| {
            let log = log.clone();
            async move {
                let deadline = Instant::now() + PATIENCE;
                while !std::fs::read_to_string(&log).unwrap_or_default().contains(word) {
                    assert!(Instant::now() < deadline, "{word} is not in the log");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        said("hello").await;
        supervisor.stop();
        until(&supervisor, |life| life.phase == Phase::Stopped).await;
        said("bye").await;
    });
}

#[test]
fn a_process_that_does_not_listen_is_ended_by_force() {
    let stage = stage();
    let mut deaf = plan("trap '' TERM; while :; do sleep 0.05; done");
    deaf.grace_seconds = 1;
    on_one_thread(async {
        let supervisor = Supervisor::start(stage.shared.clone(), deaf);
        until(&supervisor, |life| life.phase == Phase::Running).await;
        supervisor.stop();
        until(&supervisor, |life| life.phase == Phase::Stopped).await;
        assert!(std::fs::read_dir(stage.shared.folder.run()).unwrap().next().is_none());
    });
}

#[test]
fn another_plan_restarts_the_process_and_the_same_plan_does_not() {
    let stage = stage();
    on_one_thread(async {
        let supervisor = Supervisor::start(stage.shared.clone(), plan("exec sleep 600"));
        let first = until(&supervisor, |life| life.phase == Phase::Running).await;
        supervisor.run(plan("exec sleep 600"));
        supervisor.run(plan("exec sleep 601"));
        let second = until(&supervisor, |life| life.run == 2).await;
        assert_ne!(first.plan_hash, second.plan_hash);
        assert_eq!(second.restarts, 0, "a wanted restart is none");
        supervisor.kill();
        until(&supervisor, |life| life.phase == Phase::Stopped).await;
    });
}

#[test]
fn what_keeps_ending_is_tried_again_and_says_why() {
    let stage = stage();
    on_one_thread(async {
        let supervisor = Supervisor::start(stage.shared.clone(), plan("exit 3"));
        let life = until(&supervisor, |life| life.restarts >= 2 && life.trouble.is_some()).await;
        let (reason, message) = life.trouble.unwrap();
        assert_eq!((reason.as_str(), message.as_str()), ("Exited", "it ended with exit code 3"));
        supervisor.stop();
        until(&supervisor, |life| life.phase == Phase::Stopped).await;
    });
}

#[test]
fn addresses_are_on_loopback_whatever_the_pod_says() {
    let stage = stage();
    let mut plan =
        plan("echo listen=$ORRERY_LISTEN_RESP parent=$ORRERY_PARENT_PID; exec sleep 600");
    plan.environment.insert("ORRERY_LISTEN_RESP".into(), "0.0.0.0:6379".into());
    on_one_thread(async {
        let supervisor = Supervisor::start(stage.shared.clone(), plan);
        let life = until(&supervisor, |life| life.phase == Phase::Running).await;
        let expected =
            format!("listen=127.0.0.1:{} parent={}\n", life.ports["resp"], std::process::id());
        let log = stage.shared.folder.log("ns", "a-0");
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_to_string(&log).unwrap_or_default() != expected {
            assert!(Instant::now() < deadline, "{:?}", std::fs::read_to_string(&log));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        supervisor.kill();
        until(&supervisor, |life| life.phase == Phase::Stopped).await;
    });
}

#[test]
fn a_file_that_is_read_again_changes_without_another_run() {
    let stage = stage();
    let file = stage.shared.folder.mount("ns", "a-0", "users").join("users.acl");
    let with = |text: &str| {
        let live = [(file.clone(), text.as_bytes().to_vec())].into();
        Plan { live, ..plan("exec sleep 600") }
    };
    on_one_thread(async {
        let supervisor = Supervisor::start(stage.shared.clone(), with("one"));
        until(&supervisor, |life| life.run == 1).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
        supervisor.run(with("two"));
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_to_string(&file).unwrap() != "two" {
            assert!(Instant::now() < deadline, "it is not written");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(supervisor.life().run, 1);
        supervisor.kill();
        until(&supervisor, |life| life.phase == Phase::Stopped).await;
    });
}

#[test]
fn a_secret_that_was_taken_away_is_gone_at_the_next_start() {
    let stage = stage();
    let folder = stage.shared.folder.mount("ns", "a-0", "secrets");
    let with = |files: &[(&str, &str)]| {
        let mut plan = plan("exec sleep 600");
        plan.folders = vec![folder.clone()];
        plan.emptied = vec![folder.clone()];
        let file = |(name, text): &(&str, &str)| (folder.join(name), text.as_bytes().to_vec());
        plan.files = files.iter().map(file).collect();
        plan
    };
    on_one_thread(async {
        let supervisor = Supervisor::start(stage.shared.clone(), with(&[("password", "x")]));
        until(&supervisor, |life| life.run == 1).await;
        assert!(folder.join("password").exists());
        supervisor.run(with(&[]));
        until(&supervisor, |life| life.run == 2).await;
        assert!(folder.exists() && !folder.join("password").exists());
        supervisor.kill();
        until(&supervisor, |life| life.phase == Phase::Stopped).await;
    });
}
