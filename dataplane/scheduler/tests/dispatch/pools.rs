//! Runs in pods of a pool: runners that are processes of their own, and are killed for real.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use orrery_scheduler::dispatch::{Action, Auth, PoolMembers, PooledAction, Target, TargetName};
use orrery_scheduler::run::{Call, Outcome};

use super::rig::{DEADLINE, Rig, call, note, now_ms, run, succeeded, wait_until};
use crate::harness::runner::Runner;

/// Pods with one place each, and a folder that their commands share.
struct World {
    folder: tempfile::TempDir,
    runners: Vec<Runner>,
}

impl World {
    fn new(pods: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("secret")).expect("room");
        fs::write(folder.path().join("secret/token"), "right").expect("room");
        let secret = folder.path().join("secret");
        let runners = (0..pods).map(|_| Runner::start(&secret, 1)).collect();
        Self { folder, runners }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn target(&self) -> Target {
        let addresses = self.runners.iter().map(Runner::address).collect();
        Target {
            max_in_flight: self.runners.len(),
            auth: Some(Auth { folder: self.path("secret") }),
            pool: Some(PoolMembers { addresses, runs_per_pod: 1 }),
            ..Target::new("pool")
        }
    }

    fn rig(&self) -> Rig {
        Rig::new(vec![self.target()])
    }

    /// A run that says which pod it is in, waits for the gate to open, and then goes on.
    fn waits(&self, number: u64, then: &str) -> Call {
        let folder = self.folder.path().display();
        let wait = format!("while ! test -e {folder}/gate; do sleep 0.02; done");
        let script = format!("echo $PPID >> {folder}/began; {wait}; {then}");
        call(number, script_action(&script, DEADLINE))
    }

    /// Pods in which runs began, in their order.
    fn began(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.path("began")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn wait_for_began(&self, count: usize) {
        wait_until(|| self.began().len() >= count);
    }

    /// Lets all runs through that wait.
    fn open(&self) {
        fs::write(self.path("gate"), "").expect("room");
    }
}

fn script_action(script: &str, timeout: Duration) -> Action {
    Action::Pooled(PooledAction {
        target: TargetName::named("pool"),
        command: vec!["sh".to_owned(), "-c".to_owned()],
        args: vec![script.to_owned()],
        env: vec![],
        timeout,
    })
}

#[test]
fn a_command_gets_what_it_is_run_for_and_its_end_is_the_outcome() {
    let world = World::new(1);
    let rig = world.rig();
    let said = "echo $ORRERY_RUN_KEY $ORRERY_RUN_ATTEMPT $ORRERY_SCHEDULE $ORRERY_NOMINAL";
    let outcome = rig.outcome(call(1, script_action(said, DEADLINE)));
    assert_eq!(outcome, succeeded("job-1 1 job 2026-01-01T00:00:00Z"));
    let outcome = rig.outcome(call(2, script_action("echo no disk; exit 3", DEADLINE)));
    assert_eq!(outcome, Outcome::Failed { note: "exit code 3: no disk".to_owned() });
    let again = Call { attempt: 2, ..call(2, script_action("echo better", DEADLINE)) };
    rig.dispatcher.hand_over(vec![again]);
    let (_, attempt, outcome) = rig.wait_for_count(3).pop().expect("there are three");
    assert_eq!((attempt, outcome), (2, succeeded("better")), "another attempt is run again");
    let late = rig.outcome(call(3, script_action("sleep 600", Duration::from_secs(1))));
    assert!(matches!(late, Outcome::TimedOut { .. }), "{late:?}");
    let missing = PooledAction {
        target: TargetName::named("pool"),
        command: vec!["/no/such".to_owned()],
        args: vec![],
        env: vec![],
        timeout: DEADLINE,
    };
    let refused = rig.outcome(call(4, Action::Pooled(missing)));
    assert!(matches!(refused, Outcome::Refused { .. }), "{refused:?}");
}

#[test]
fn runs_are_spread_over_free_pods_and_the_others_wait() {
    let world = World::new(2);
    let rig = world.rig();
    rig.dispatcher.hand_over((1..=3).map(|number| world.waits(number, "echo ok")).collect());
    world.wait_for_began(2);
    let mut pods = world.began();
    pods.sort_unstable();
    let mut all: Vec<u32> = world.runners.iter().map(Runner::pid).collect();
    all.sort_unstable();
    assert_eq!(pods, all);
    assert_eq!(rig.figures("pool").queued, 1);
    world.open();
    for number in 1..=3 {
        assert_eq!(rig.wait_for(run(number)), succeeded("ok"));
    }
}

#[test]
fn a_pod_that_others_keep_busy_or_that_is_away_is_passed_over() {
    let world = World::new(3);
    let busy = r#"{"key": "x", "command": ["sleep", "600"], "timeoutMilliseconds": 600000}"#;
    assert_eq!(world.runners[0].ask("POST", "/runs", "right", busy), 202);
    world.runners[1].signal(Signal::SIGKILL);
    let rig = world.rig();
    for number in 1..=3 {
        let outcome = rig.outcome(call(number, script_action("echo $PPID", DEADLINE)));
        assert_eq!(outcome, succeeded(&world.runners[2].pid().to_string()));
    }
}

#[test]
fn a_run_whose_pod_dies_has_failed_and_was_begun_once() {
    let world = World::new(2);
    let rig = world.rig();
    rig.dispatcher.hand_over(vec![world.waits(1, "echo ok")]);
    world.wait_for_began(1);
    let pod = world.began()[0];
    let runner = world.runners.iter().find(|runner| runner.pid() == pod).expect("it is one");
    runner.signal(Signal::SIGKILL);
    let outcome = rig.wait_for(run(1));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("is gone"), "{outcome:?}");
    assert_eq!(world.began().len(), 1);
}

#[test]
fn an_engine_that_comes_back_asks_for_its_run_and_does_not_repeat_it() {
    let world = World::new(2);
    let before = world.rig();
    before.dispatcher.hand_over(vec![world.waits(1, "echo ok")]);
    world.wait_for_began(1);
    before.dispatcher.stop(Duration::ZERO);
    drop(before);
    let after = world.rig();
    let resumed = Call { is_resumed: true, ..world.waits(1, "echo ok") };
    after.dispatcher.hand_over(vec![resumed]);
    world.open();
    assert_eq!(after.wait_for(run(1)), succeeded("ok"));
    assert_eq!(world.began().len(), 1);
    // Once it is over, it is known as well.
    let third = world.rig();
    let resumed = Call { is_resumed: true, ..world.waits(1, "echo ok") };
    assert_eq!(third.outcome(resumed), succeeded("ok"));
    assert_eq!(world.began().len(), 1);
}

#[test]
fn what_no_pod_knows_is_sent_unless_it_is_too_late() {
    let world = World::new(2);
    world.runners[1].signal(Signal::SIGKILL);
    let rig = world.rig();
    let resumed =
        |number| Call { is_resumed: true, ..call(number, script_action("echo first", DEADLINE)) };
    assert_eq!(rig.outcome(resumed(1)), succeeded("first"));
    let late = Call { expires_ms: Some(now_ms() - 1), ..resumed(2) };
    assert_eq!(rig.outcome(late), Outcome::Expired);
}

#[test]
fn a_pod_that_cannot_be_asked_may_have_the_run_so_that_it_is_not_repeated() {
    let world = World::new(2);
    world.runners[1].signal(Signal::SIGSTOP);
    let rig = world.rig();
    let resumed = Call { is_resumed: true, ..world.waits(1, "echo ok") };
    let outcome = rig.outcome(resumed);
    assert!(note(&outcome).contains("not every pod could be asked"), "{outcome:?}");
    assert_eq!(world.began(), Vec::<u32>::new());
    world.runners[1].signal(Signal::SIGCONT);
}

#[test]
fn a_run_that_is_cancelled_ends_in_its_pod() {
    let world = World::new(1);
    let rig = world.rig();
    rig.dispatcher.hand_over(vec![world.waits(1, "echo ok")]);
    world.wait_for_began(1);
    rig.dispatcher.cancel(run(1));
    assert_eq!(rig.wait_for(run(1)), Outcome::Cancelled);
    // The pod has one place, and the next run needs it.
    assert_eq!(rig.outcome(call(2, script_action("echo next", DEADLINE))), succeeded("next"));
}

#[test]
fn without_the_right_token_nothing_begins() {
    let world = World::new(1);
    fs::create_dir(world.path("other")).expect("room");
    fs::write(world.path("other/token"), "wrong").expect("room");
    let auth = Some(Auth { folder: world.path("other") });
    let rig = Rig::new(vec![Target { auth, ..world.target() }]);
    let script = format!("touch {}", world.path("mark").display());
    let outcome = rig.outcome(call(1, script_action(&script, Duration::from_secs(1))));
    assert!(note(&outcome).contains("401"), "{outcome:?}");
    assert!(!world.path("mark").exists());
}

#[test]
fn pods_that_cannot_be_found_take_no_run() {
    let members = PoolMembers { addresses: vec!["pods.invalid:9410".to_owned()], runs_per_pod: 1 };
    let rig = Rig::new(vec![Target { pool: Some(members), ..Target::new("pool") }]);
    let outcome = rig.outcome(call(1, script_action("true", Duration::from_secs(1))));
    assert!(note(&outcome).contains("pods.invalid"), "{outcome:?}");
    let late =
        Call { expires_ms: Some(now_ms() + 500), ..call(2, script_action("true", DEADLINE)) };
    assert_eq!(rig.outcome(late), Outcome::Expired);
}
