//! Goal: every object has a certificate of the installation's authority that is good now, whatever
//! the operator dies of, whoever edits what, and however long it runs.
//!
//! Method: a real API server and a clock that is shifted. The toys' pods show no certificates, so that
//! a rotation waits for Secrets alone; what it waits for in pods is tried in `certificates::tests`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use orrery_e2e_cluster::poll;
use orrery_runtime::Options;
use orrery_runtime::certificates::keeper::ROTATE;
use orrery_runtime::certificates::mark::{Mark, content, hash};
use orrery_runtime::certificates::{AuthorityOptions, Clock};
use orrery_runtime::faults::Faults;
use serde_json::json;

use crate::crash::{at_every_write, dies_with, first, reaches};
use crate::stage::{LIMIT, Stage, options, stage};

const AUTHORITY: &str = "test-authority";
const DAY_S: i64 = 86_400;

/// A clock that is ahead by days.
#[derive(Clone, Default)]
struct Days(Arc<AtomicI64>);

impl Days {
    fn pass(&self, days: i64) {
        self.0.fetch_add(days, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let days = Arc::clone(&self.0);
        Clock::new(move || {
            let ahead = days.load(Ordering::SeqCst) * DAY_S;
            Timestamp::from_second(Timestamp::now().as_second() + ahead).expect("a time")
        })
    }
}

fn secured(stage: &Stage, days: &Days) -> Options {
    let authority = AuthorityOptions {
        look: Duration::from_millis(200),
        overlap: Duration::ZERO,
        clock: days.clock(),
        ..AuthorityOptions::new(stage.name(), AUTHORITY)
    };
    Options { authority: Some(authority), ..options(stage.name()) }
}

async fn secret(stage: &Stage, name: &str) -> Option<Secret> {
    let api: Api<Secret> = stage.namespace.api();
    api.get_opt(name).await.expect("the server answers")
}

fn part<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[], |bytes| &bytes.0)
}

/// The certificate of toy `a`, if it is one of the authority as that is now.
async fn good(stage: &Stage) -> Option<(Secret, Mark)> {
    let (authority, own) =
        (secret(stage, AUTHORITY).await?, secret(stage, "a-toy-identity").await?);
    let mark = Mark::of(&own.metadata)?;
    let (chain, key) = (part(&own, "tls.crt"), part(&own, "tls.key"));
    let trusted = part(&own, "ca.crt");
    let is_whole = mark.hash == hash(chain, trusted)
        && mark.content == content(chain, key, trusted)
        && trusted == part(&authority, "ca.crt");
    is_whole.then_some((own, mark))
}

async fn until(stage: &Stage, what: &str, wanted: impl Fn(&Secret, &Mark) -> bool) -> Mark {
    // A moment later it may be on its way to the next one.
    let found = Mutex::new(None);
    let check = || async {
        let mark = good(stage).await.filter(|(own, mark)| wanted(own, mark)).map(|(_, mark)| mark);
        *found.lock().expect("no holder panics") = mark;
        found.lock().expect("no holder panics").is_some()
    };
    if let Err(error) = poll(what, LIMIT, check).await {
        let own = secret(stage, "a-toy-identity").await.map(|own| own.metadata);
        panic!("{error}: {own:#?}");
    }
    found.into_inner().expect("no holder panics").expect("it was waited for")
}

/// How many authorities are trusted, and whether a rotation is under way.
async fn authorities(stage: &Stage) -> (usize, bool) {
    let authority = secret(stage, AUTHORITY).await.expect("it is there");
    let trusted = String::from_utf8_lossy(part(&authority, "ca.crt")).matches("BEGIN").count();
    let data = authority.data.unwrap_or_default();
    (trusted, data.contains_key("next.crt") || data.contains_key("retiring.crt"))
}

async fn ask_for_another(stage: &Stage, word: &str) {
    let api: Api<Secret> = stage.namespace.api();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ROTATE: word}}}));
    api.patch(AUTHORITY, &PatchParams::default(), &patch).await.expect("it is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_in_time_and_only_then() {
    let Some(stage) = stage("certificates").await else { return };
    let days = Days::default();
    let _operator = stage.operator(secured(&stage, &days), Faults::default());
    stage.create("a", first()).await;
    stage.ready("a").await;
    let made = until(&stage, "it has a certificate", |_, _| true).await;
    let before = secret(&stage, "a-toy-identity").await.expect("it is there");
    days.pass(59);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let same = secret(&stage, "a-toy-identity").await.expect("it is there");
    assert_eq!(same.resource_version(), before.resource_version(), "a third is not over yet");
    days.pass(2);
    let renewed = until(&stage, "it is renewed", |_, mark| mark.until > made.until).await;
    assert_eq!((&renewed.issuer, &renewed.trust), (&made.issuer, &made.trust));
    // A paused object keeps its pods, so it must keep its certificate.
    stage.change("a", json!({"operation": "Pause"})).await;
    days.pass(61);
    let paused = until(&stage, "paused", |_, mark| mark.until > renewed.until).await;
    stage.change("a", json!({"operation": "Run", "broken": true})).await;
    days.pass(61);
    until(&stage, "refused", |_, mark| mark.until > paused.until).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_do_to_certificates_is_repaired() {
    let Some(stage) = stage("certificates-drift").await else { return };
    let _operator = stage.operator(secured(&stage, &Days::default()), Faults::default());
    stage.create("a", first()).await;
    stage.ready("a").await;
    let made = until(&stage, "it has a certificate", |_, _| true).await;
    let api: Api<Secret> = stage.namespace.api();
    for key in ["tls.crt", "tls.key", "ca.crt"] {
        let before = good(&stage).await.expect("it is good").1;
        let patch = Patch::Merge(json!({"data": {key: "Z2FyYmFnZQ=="}}));
        api.patch("a-toy-identity", &PatchParams::default(), &patch).await.expect("it is there");
        until(&stage, key, |_, mark| mark.hash != before.hash).await;
    }
    api.delete("a-toy-identity", &DeleteParams::default()).await.expect("it is there");
    until(&stage, "it is made anew", |_, _| true).await;
    // The authority is restored as it was: nobody has to be given another certificate.
    let authority = secret(&stage, AUTHORITY).await.expect("it is there");
    api.delete(AUTHORITY, &DeleteParams::default()).await.expect("it is there");
    let restored = || async {
        secret(&stage, AUTHORITY).await.is_some_and(|found| found.data == authority.data)
    };
    poll("the authority is restored", LIMIT, restored).await.expect("the operator knows it");
    let still = until(&stage, "of the same authority", |_, _| true).await;
    assert_eq!((still.issuer, still.trust), (made.issuer, made.trust));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_one_makes_the_authority() {
    let Some(stage) = stage("certificates-race").await else { return };
    let days = Days::default();
    let running: Vec<_> =
        (0..2).map(|_| stage.operator(secured(&stage, &days), Faults::default())).collect();
    stage.create("a", first()).await;
    stage.ready("a").await;
    until(&stage, "it has a certificate", |_, _| true).await;
    assert_eq!(authorities(&stage).await, (1, false));
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_creation_leaves_a_good_certificate() {
    let Some(golden) = stage("certificates-create").await else { return };
    let days = Days::default();
    let operator = golden.operator(secured(&golden, &days), Faults::default());
    golden.create("a", first()).await;
    golden.ready("a").await;
    until(&golden, "it has a certificate", |_, _| true).await;
    let expected = golden.state().await;
    drop(operator);
    let crashes = at_every_write(async |k, side| {
        let run = stage("certificates-create").await.expect("it was there");
        run.create("a", first()).await;
        let done = async || run.ready("a").await;
        let died = dies_with(secured(&run, &days), &run, k, side, done).await;
        let _fresh = run.operator(secured(&run, &days), Faults::default());
        run.ready("a").await;
        let when = format!("crash {side:?} write {k}");
        until(&run, &when, |_, _| true).await;
        reaches(&run, &expected, &when).await;
        assert_eq!(authorities(&run).await, (1, false));
        died
    })
    .await;
    assert!(crashes >= 16, "an authority, six children and a status, on both sides: {crashes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_rotation_ends_in_the_next_authority_alone() {
    if stage("certificates-rotation").await.is_none() {
        return;
    }
    let days = Days::default();
    let crashes = at_every_write(async |k, side| {
        let run = stage("certificates-rotation").await.expect("it was there");
        let operator = run.operator(secured(&run, &days), Faults::default());
        run.create("a", first()).await;
        run.ready("a").await;
        let made = until(&run, "it has a certificate", |_, _| true).await;
        drop(operator);
        ask_for_another(&run, "please").await;
        let is_over =
            |_: &Secret, mark: &Mark| mark.issuer != made.issuer && mark.trust != made.trust;
        let done = async || {
            until(&run, "rotated", is_over).await;
            let settled = || async { authorities(&run).await == (1, false) };
            poll("the old authority is dropped", LIMIT, settled).await.expect("it is");
            until(&run, "rotated", is_over).await;
        };
        let died = dies_with(secured(&run, &days), &run, k, side, &done).await;
        let _fresh = run.operator(secured(&run, &days), Faults::default());
        done().await;
        died
    })
    .await;
    assert!(crashes >= 10, "three steps and as many certificates, on both sides: {crashes}");
}

/// The rotation is asked for by a word; the same word does not ask again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_is_replaced_once_for_each_word_and_when_it_is_old() {
    let Some(stage) = stage("certificates-word").await else { return };
    let days = Days::default();
    let _operator = stage.operator(secured(&stage, &days), Faults::default());
    stage.create("a", first()).await;
    stage.ready("a").await;
    let mut before = until(&stage, "it has a certificate", |_, _| true).await;
    for what in ["one", "two", "old age"] {
        if what == "old age" {
            days.pass(5 * 365 * 2 / 3 + 2);
        } else {
            ask_for_another(&stage, what).await;
        }
        let rotated = || async {
            let own = good(&stage).await.map(|(_, mark)| mark);
            own.is_some_and(|own| own.issuer != before.issuer)
                && authorities(&stage).await == (1, false)
        };
        poll(what, LIMIT, rotated).await.expect("it is replaced");
        before = until(&stage, what, |_, mark| mark.issuer != before.issuer).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let still = until(&stage, what, |_, _| true).await;
        assert_eq!(still.issuer, before.issuer, "{what}: once");
    }
}
