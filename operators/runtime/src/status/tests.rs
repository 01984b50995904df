use super::*;
use crate::observation::{GroupView, PodView, Report, WorkloadView};
use orrery_api::ConditionStatus::{self, False, True};
use orrery_api::condition::find;

fn at(second: i64) -> Time {
    Time::new(jiff::Timestamp::from_second(second).expect("in range"))
}

fn pod(name: &str, ready: bool) -> PodView {
    let report = Report { ready, version: "0.1.0".into(), ..Report::default() };
    PodView { name: name.into(), ready, report: Some(report), ..PodView::default() }
}

fn seen(wanted: i32, ready: i32) -> Observation {
    let workload = WorkloadView {
        name: "a-kv".into(),
        replicas: wanted,
        ready_replicas: ready,
        updated_replicas: wanted,
        observed: true,
        revision: None,
        beside: false,
        selector: "app=a".into(),
    };
    let pods = (0..wanted).map(|n| pod(&format!("a-kv-{n}"), n < ready)).collect();
    Observation { workloads: vec![workload], pods, ..Observation::default() }
}

fn applied(wanted: i32) -> Progress {
    Progress::Applied { desired_hash: "h".into(), replicas_wanted: wanted }
}

fn status(
    stored: &CommonStatus,
    generation: i64,
    progress: &Progress,
    seen: &Observation,
) -> CommonStatus {
    summarise(&Facts { generation, stored, progress, seen, release: "1.0.0", now: at(100) })
}

fn shape(status: &CommonStatus) -> [(ConditionStatus, &str); 5] {
    // Succeeded is for objects that are done once.
    let [five @ .., ConditionType::Succeeded] = ConditionType::ALL else { panic!("the last one") };
    five.map(|type_| {
        let condition = find(&status.conditions, type_).expect("all five are always there");
        (condition.status, condition.reason.as_str())
    })
}

#[test]
fn an_object_at_rest_is_ready_and_settled() {
    let status = status(&CommonStatus::default(), 1, &applied(1), &seen(1, 1));
    let [ready, reconciling, stalled, available, degraded] = shape(&status);
    assert_eq!(ready, (True, "Serving"));
    assert_eq!(reconciling, (False, "Settled"));
    assert_eq!((stalled.0, available.0, degraded.0), (False, True, False));
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!((status.replicas, status.ready_replicas), (1, 1));
    assert_eq!(status.version.as_deref(), Some("0.1.0"));
    assert_eq!(status.selector.as_deref(), Some("app=a"));
    assert!(is_settled(&status.conditions));
}

#[test]
fn pods_beside_the_engine_are_waited_for_and_make_nothing_available() {
    let beside = |ready: i32| WorkloadView {
        name: "a-pool".into(),
        replicas: 3,
        ready_replicas: ready,
        updated_replicas: 3,
        observed: true,
        beside: true,
        selector: "app=pool".into(),
        ..WorkloadView::default()
    };
    let with = |engine: i32, ready: i32| {
        let mut seen = seen(1, engine);
        seen.workloads.insert(0, beside(ready));
        status(&CommonStatus::default(), 1, &applied(1), &seen)
    };
    assert_eq!(shape(&with(1, 3))[0], (True, "Serving"));
    let short = with(1, 2);
    let [ready, _, _, available, degraded] = shape(&short);
    assert_eq!((ready, available.0, degraded.0), ((False, "PodsNotReady"), True, False));
    let message = &find(&short.conditions, ConditionType::Ready).expect("it is there").message;
    assert!(message.contains("a-pool: 2 of 3"), "{message}");
    assert_eq!((short.ready_replicas, short.selector.as_deref()), (1, Some("app=a")));
    assert_eq!(shape(&with(0, 3))[3].0, False, "the engine is what serves");
}

#[test]
fn ready_is_there_from_the_first_visit() {
    let status = status(&CommonStatus::default(), 1, &applied(1), &Observation::default());
    assert_eq!(shape(&status)[0], (False, "Starting"));
    assert_eq!(shape(&status)[1].0, True);
}

#[test]
fn a_rollout_keeps_available_and_is_not_degraded() {
    let mut seen = seen(3, 2);
    seen.workloads[0].updated_replicas = 1;
    let status = status(&CommonStatus::default(), 2, &applied(3), &seen);
    let [ready, reconciling, _, available, degraded] = shape(&status);
    assert_eq!(ready, (False, "RollingOut"));
    assert_eq!((reconciling.0, available.0, degraded.0), (True, True, False));
}

#[test]
fn a_lost_replica_degrades() {
    let status = status(&CommonStatus::default(), 1, &applied(3), &seen(3, 2));
    assert_eq!(shape(&status)[4], (True, "ReplicasMissing"));
    assert_eq!(shape(&status)[3].0, True);
}

#[test]
fn a_refusal_stalls_with_its_reason_and_names_the_field() {
    let refusal = Refusal::field(Reason::NotYetSupported, "spec.journal.backend", "Kafka: not yet");
    let status = status(&CommonStatus::default(), 4, &Progress::Refused(refusal), &seen(1, 1));
    let [ready, reconciling, stalled, available, _] = shape(&status);
    assert_eq!((ready.0, reconciling.0, available.0), (False, False, True));
    assert_eq!(stalled, (True, "NotYetSupported"));
    let stalled = find(&status.conditions, ConditionType::Stalled).expect("there");
    assert!(stalled.message.starts_with("spec.journal.backend: "));
    assert_eq!(status.observed_generation, Some(4), "it was looked at, and refused");
}

#[test]
fn correcting_a_refused_spec_recovers() {
    let refusal = Refusal::object(Reason::InvalidSpec, "no");
    let bad = status(&CommonStatus::default(), 1, &Progress::Refused(refusal), &seen(1, 1));
    let good = status(&bad, 2, &applied(1), &seen(1, 1));
    assert_eq!(shape(&good)[0], (True, "Serving"));
    assert_eq!(shape(&good)[2].0, False);
}

#[test]
fn while_paused_the_observed_generation_stays_behind_an_edit() {
    let before = status(&CommonStatus::default(), 1, &applied(1), &seen(1, 1));
    let paused = status(&before, 2, &Progress::Paused, &seen(1, 1));
    assert_eq!(paused.observed_generation, Some(1));
    assert_eq!(shape(&paused)[0], (False, "Paused"), "the edit is not carried out");
    let same = status(&before, 1, &Progress::Paused, &seen(1, 1));
    assert_eq!(shape(&same)[0], (True, "Paused"));
}

#[test]
fn an_object_is_fenced_when_every_pod_refuses_writes() {
    let progress = Progress::Fenced { desired_hash: "h".into(), replicas_wanted: 2 };
    let mut seen = seen(2, 2);
    let before = status(&CommonStatus::default(), 1, &progress, &seen);
    assert_eq!((shape(&before)[0], shape(&before)[1].0), ((False, "FencedBySpec"), True));
    for pod in &mut seen.pods {
        let reason = "FencedBySpec".into();
        pod.report = Some(Report { ready: true, degraded: true, reason, ..Report::default() });
    }
    let done = status(&CommonStatus::default(), 1, &progress, &seen);
    assert_eq!((shape(&done)[0], shape(&done)[1].0), ((True, "FencedBySpec"), False));
    assert_eq!(shape(&done)[3], (False, "FencedBySpec"), "no write is taken");
    assert_eq!(done.observed_generation, Some(1));
    let trouble = (Reason::FailoverBlocked, "the primary does not answer".to_owned());
    seen.groups = vec![GroupView { trouble: Some(trouble), ..GroupView::default() }];
    let told = status(&done, 1, &progress, &seen);
    let message = &find(&told.conditions, ConditionType::Ready).unwrap().message;
    assert!(message.ends_with("reads go on; the primary does not answer"), "{message}");

    // Its pods have yet to hear that they may go on.
    seen.groups.clear();
    let back = status(&done, 2, &applied(2), &seen);
    assert_eq!((shape(&back)[0], shape(&back)[1].0), ((False, "FencedBySpec"), True));
}

#[test]
fn hibernation_is_done_when_no_pod_is_left() {
    let progress = Progress::Hibernated { desired_hash: "h".into() };
    let stopping = status(&CommonStatus::default(), 1, &progress, &seen(1, 1));
    assert_eq!((shape(&stopping)[0].0, shape(&stopping)[1].0), (False, True));
    let asleep = status(&CommonStatus::default(), 1, &progress, &seen(0, 0));
    assert_eq!(shape(&asleep)[0], (True, "Hibernated"));
    assert_eq!(shape(&asleep)[3], (False, "Hibernated"));
}

#[test]
fn a_failed_round_does_not_take_ready_from_a_spec_that_stands() {
    let before = status(&CommonStatus::default(), 1, &applied(1), &seen(1, 1));
    let failed = Progress::Failed { reason: Reason::ApplyFailed, message: "503".into() };
    let same = status(&before, 1, &failed, &seen(1, 1));
    assert_eq!(shape(&same)[0].0, True);
    assert_eq!(shape(&same)[1], (True, "ApplyFailed"));
    let edited = status(&before, 2, &failed, &seen(1, 1));
    assert_eq!(shape(&edited)[0], (False, "ApplyFailed"));
    assert_eq!(edited.observed_generation, Some(1));
}

#[test]
fn a_process_that_does_not_answer_is_not_ready() {
    let mut seen = seen(1, 1);
    seen.pods[0].report = None;
    seen.pods[0].report_error = Some("refused".into());
    let status = status(&CommonStatus::default(), 1, &applied(1), &seen);
    assert_eq!(shape(&status)[0], (False, "Unreachable"));
}

#[test]
fn what_a_process_says_of_itself_becomes_the_reason() {
    let mut seen = seen(1, 1);
    let report = seen.pods[0].report.as_mut().expect("there");
    (report.degraded, report.reason) = (true, "JournalFull".into());
    let status = status(&CommonStatus::default(), 1, &applied(1), &seen);
    assert_eq!(shape(&status)[4], (True, "JournalFull"));
}

#[test]
fn a_crashing_pod_is_named_without_its_back_off_time() {
    let mut seen = seen(1, 0);
    seen.pods[0].trouble = Some(("CrashLoopBackOff".into(), "back-off 20s restarting".into()));
    let status = status(&CommonStatus::default(), 1, &applied(1), &seen);
    let ready = find(&status.conditions, ConditionType::Ready).expect("there");
    assert_eq!(
        (ready.reason.as_str(), ready.message.as_str()),
        ("PodFailing", "a-kv-0: CrashLoopBackOff")
    );
}

#[test]
fn the_same_round_gives_the_same_status() {
    let first = status(&CommonStatus::default(), 1, &applied(2), &seen(2, 2));
    let facts = Facts {
        generation: 1,
        stored: &first,
        progress: &applied(2),
        seen: &seen(2, 2),
        release: "1.0.0",
        now: at(999),
    };
    assert_eq!(summarise(&facts), first);
}

#[test]
fn a_take_over_says_how_it_goes_before_any_pod_is_ready() {
    let ready = |reason: &str| {
        let mut seen = seen(1, 0);
        let report = seen.pods[0].report.as_mut().expect("there");
        (report.reason, report.message) = (reason.into(), "its certificate has expired".into());
        status(&CommonStatus::default(), 1, &applied(1), &seen)
    };
    let failing = ready("AdoptionFailing");
    assert_eq!(shape(&failing)[0], (False, "AdoptionFailing"));
    let told = find(&failing.conditions, ConditionType::Ready).expect("it is there");
    assert!(told.message.ends_with("its certificate has expired"), "{}", told.message);
    assert_eq!(shape(&ready("Adopting"))[0], (False, "Adopting"));
    assert_eq!(shape(&ready("Standby"))[0], (False, "PodsNotReady"));
}

#[test]
fn of_several_shards_the_one_in_trouble_is_named() {
    let view = |shard: u32, writable: bool| {
        let state = if writable { FollowerView::InSync } else { FollowerView::Behind };
        let trouble = (Reason::FailoverBlocked, "nobody may".to_owned());
        GroupView {
            shard,
            writable,
            trouble: (!writable).then_some(trouble),
            followers: vec![("a-kv-1".into(), state)],
            ..GroupView::default()
        }
    };
    let mut seen = seen(2, 2);
    let told = |seen: &Observation, type_| {
        let status = status(&CommonStatus::default(), 1, &applied(2), seen);
        let found = find(&status.conditions, type_).unwrap();
        (found.reason.clone(), found.message.clone())
    };
    seen.groups = vec![view(0, true), view(3, false), view(4, false)];
    let (reason, message) = ("FailoverBlocked".to_owned(), "shard 3: nobody may".to_owned());
    assert_eq!(told(&seen, ConditionType::Ready), (reason.clone(), message.clone()));
    assert_eq!(told(&seen, ConditionType::Available), (reason, message));
    let (reason, message) = told(&seen, ConditionType::Degraded);
    assert!(reason == "FollowerLagging" && message.starts_with("2 followers"), "{message}");
    seen.groups = vec![view(3, false)];
    assert_eq!(told(&seen, ConditionType::Ready).1, "nobody may", "one alone needs no name");
}
