//! What every data plane must do with the management protocol. A system's tests start a fresh
//! data plane and call [`run`]; a failure names the rule that was broken.
//!
//! The suite needs a data plane that is ready, was never promoted above [`EPOCH`], and may be
//! left drained: the last rule drains it.

use std::time::Duration;

use crate::client::OperandClient;
use crate::error::OperandError;
use crate::set_hash::sync_request;
use crate::v1::{DeclaredObject, Role, SettleRequest, Standing};

/// Epochs used by the suite start here.
pub const EPOCH: u64 = 1_000;
/// Longest wait for what must come soon.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the suite needs to know about the system under test.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Value of `ReportResponse::system`.
    pub system: String,
    /// A kind of declared objects the system takes, with specs of it.
    pub declared: Option<(String, Specs)>,
    /// Whether it tells how its declared objects fare; then accepted ones have a state.
    pub tells_changes: bool,
    /// Whether it has errands.
    pub has_errands: bool,
    /// `file://` address of an empty folder on the data plane's machine.
    pub snapshot_to: Option<String>,
}

/// Specs of a declared kind as JSON texts.
#[derive(Debug, Clone)]
pub struct Specs {
    pub accepted: [String; 2],
    /// Must be refused, without harm to the others.
    pub refused: String,
}

/// A rule that did not hold.
#[derive(Debug, Clone, thiserror::Error)]
#[error("rule `{rule}` is broken: {what}")]
pub struct Broken {
    pub rule: &'static str,
    pub what: String,
}

macro_rules! rule {
    ($rule:literal, $holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(Broken { rule: $rule, what: format!($($what)+) });
        }
    };
}

/// Checks every rule in turn.
pub async fn run(client: &OperandClient, subject: &Subject) -> Result<(), Broken> {
    report_says_what_it_is(client, subject).await?;
    declared_sets_are_whole(client, subject).await?;
    changes_are_told(client, subject).await?;
    errands_are_told(client, subject).await?;
    promotion_needs_a_higher_epoch(client).await?;
    fencing_holds(client).await?;
    snapshots_report_progress(client, subject).await?;
    nonsense_is_refused(client).await?;
    drain_ends(client).await
}

fn answer<T>(rule: &'static str, result: Result<T, OperandError>) -> Result<T, Broken> {
    result.map_err(|error| Broken { rule, what: error.to_string() })
}

async fn report_says_what_it_is(client: &OperandClient, subject: &Subject) -> Result<(), Broken> {
    let report = answer("report answers", client.report().await)?;
    rule!("system is named", report.system == subject.system, "it says {:?}", report.system);
    rule!("version is named", !report.version.is_empty(), "it is empty");
    rule!("a ready data plane says ready", report.ready, "{}: {}", report.reason, report.message);
    rule!("role is named", report.role() != Role::Unspecified, "it is unspecified");
    rule!("config hash is a SHA-256", report.config_hash.len() == 64, "{:?}", report.config_hash);
    let classes = ["memory", "os", "disk", "replicated"];
    let durability = report.durability.as_str();
    rule!("durability is a class", classes.contains(&durability), "{durability:?}");
    let again = answer("report answers", client.report().await)?;
    let positions = (report.durable_position, again.durable_position);
    rule!("positions never fall", positions.0 <= positions.1, "{positions:?}");
    Ok(())
}

fn object(name: &str, spec: &str) -> DeclaredObject {
    DeclaredObject {
        namespace: "conformance".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        generation: 3,
        spec: spec.as_bytes().to_vec(),
    }
}

async fn declared_sets_are_whole(client: &OperandClient, subject: &Subject) -> Result<(), Broken> {
    let Some((kind, specs)) = &subject.declared else {
        return Ok(());
    };
    let [first, second] = &specs.accepted;
    let set = vec![object("a", first), object("b", second), object("c", &specs.refused)];
    let request = sync_request(kind, set);
    let done = answer("sync answers", client.sync(request.clone()).await)?;
    let accepted = |name: &str| done.results.iter().find(|r| r.name == name).map(|r| r.accepted);
    rule!("good objects are accepted", accepted("a") == Some(true), "{:?}", done.results);
    rule!("good objects are accepted", accepted("b") == Some(true), "{:?}", done.results);
    rule!("bad objects are refused alone", accepted("c") == Some(false), "{:?}", done.results);
    let bad = done.results.iter().find(|result| !result.accepted);
    let explained = bad.is_some_and(|r| !r.reason.is_empty() && !r.message.is_empty());
    rule!("refusals are explained", explained, "{bad:?}");
    let generations = done.results.iter().all(|result| result.generation == 3);
    rule!("results name the generation", generations, "{:?}", done.results);

    let report = answer("report answers", client.report().await)?;
    let held = report.declared.iter().any(|set| set.set_hash == request.set_hash);
    rule!("report names the set it holds", held, "{:?}", report.declared);
    let again = answer("sync answers", client.sync(request).await)?;
    rule!("the same set gives the same answer", again == done, "{again:?} and {done:?}");

    let empty = answer("sync answers", client.sync(sync_request(kind, Vec::new())).await)?;
    rule!("an empty set removes all", empty.results.is_empty(), "{:?}", empty.results);
    let unknown = client.sync(sync_request("NoSuchKind", Vec::new())).await;
    rule!("unknown kinds are refused", unknown.is_err(), "it was accepted");
    Ok(())
}

async fn changes_are_told(client: &OperandClient, subject: &Subject) -> Result<(), Broken> {
    if !subject.tells_changes {
        let refused = client.watch().await.err();
        let unsupported = matches!(refused, Some(OperandError::Unsupported(_)));
        rule!("who tells no changes says so", unsupported, "{refused:?}");
        return Ok(());
    }
    let mut changes = answer("changes can be watched", client.watch().await)?;
    let first = tokio::time::timeout(PATIENCE, changes.next()).await;
    let first = first.unwrap_or_else(|_| Err(OperandError::Unknown("nothing came".into())));
    answer("the first count comes at once", first)?;
    let Some((kind, specs)) = &subject.declared else { return Ok(()) };
    let objects = vec![object("state", &specs.accepted[0])];
    let synced = answer("sync answers", client.sync(sync_request(kind, objects)).await)?;
    let state = synced.results.first().map(|result| result.state.as_slice()).unwrap_or_default();
    let is_json = state.starts_with(b"{") && state.ends_with(b"}");
    rule!("an accepted object has a state", is_json, "{:?}", String::from_utf8_lossy(state));
    let next = tokio::time::timeout(PATIENCE, changes.next()).await;
    let next = next.unwrap_or_else(|_| Err(OperandError::Unknown("nothing came".into())));
    answer("a new object is a change", next)?;
    answer("sync answers", client.sync(sync_request(kind, Vec::new())).await)?;
    Ok(())
}

async fn errands_are_told(client: &OperandClient, subject: &Subject) -> Result<(), Broken> {
    let settled = SettleRequest {
        key: "conformance_0_1".into(),
        attempt: 1,
        standing: Standing::Succeeded.into(),
        message: String::new(),
    };
    if !subject.has_errands {
        let refused = client.errands().await.err();
        let unsupported = matches!(refused, Some(OperandError::Unsupported(_)));
        rule!("who has no errands says so", unsupported, "{refused:?}");
        let refused = client.settle(settled).await;
        let unsupported = matches!(refused, Err(OperandError::Unsupported(_)));
        rule!("who has no errands says so", unsupported, "{refused:?}");
        return Ok(());
    }
    let mut errands = answer("errands are told", client.errands().await)?;
    let first = tokio::time::timeout(PATIENCE, errands.next()).await;
    let first = first.unwrap_or_else(|_| Err(OperandError::Unknown("nothing came".into())));
    let first = answer("errands are told at once", first)?;
    rule!("a source is named", !first.source.is_empty(), "it is empty");
    rule!("the list without errands is complete", first.complete, "{first:?}");
    let unknown = client.settle(settled.clone()).await;
    answer("an errand that was never open is settled all the same", unknown)?;
    let nothing = SettleRequest { standing: Standing::Unspecified.into(), ..settled };
    let refused = client.settle(nothing).await;
    let refused_as_invalid = matches!(refused, Err(OperandError::Invalid(_)));
    rule!("a standing must be said", refused_as_invalid, "{refused:?}");
    Ok(())
}

async fn promotion_needs_a_higher_epoch(client: &OperandClient) -> Result<(), Broken> {
    let granted = answer("promote answers", client.promote(0, EPOCH).await)?;
    rule!("promote returns its epoch", granted.epoch == EPOCH, "{}", granted.epoch);
    let report = answer("report answers", client.report().await)?;
    rule!("a promoted shard is primary", report.role() == Role::Primary, "{:?}", report.role());
    rule!("report names the epoch", report.epoch == EPOCH, "{}", report.epoch);
    for epoch in [EPOCH, EPOCH - 1] {
        let refused = client.promote(0, epoch).await;
        let fenced = refused == Err(OperandError::Fenced { holder: EPOCH });
        rule!("an epoch is granted once", fenced, "epoch {epoch} gave {refused:?}");
    }
    Ok(())
}

async fn fencing_holds(client: &OperandClient) -> Result<(), Broken> {
    let fenced = answer("fence answers", client.fence(0, EPOCH + 2).await)?;
    rule!("fence returns its epoch", fenced.epoch == EPOCH + 2, "{}", fenced.epoch);
    let again = answer("fence is idempotent", client.fence(0, EPOCH + 2).await)?;
    rule!("fence is idempotent", again.epoch == EPOCH + 2, "{}", again.epoch);
    let report = answer("report answers", client.report().await)?;
    rule!("a fenced shard says so", report.role() == Role::Fenced, "{:?}", report.role());
    rule!("a fenced shard is not ready", !report.ready, "it says ready");
    let low = client.promote(0, EPOCH + 1).await;
    let refused = matches!(low, Err(OperandError::Fenced { .. }));
    rule!("a fence keeps lower epochs out", refused, "{low:?}");
    answer("a higher epoch lifts the fence", client.promote(0, EPOCH + 3).await)?;
    let report = answer("report answers", client.report().await)?;
    rule!("a higher epoch lifts the fence", report.ready, "{}", report.message);
    Ok(())
}

async fn snapshots_report_progress(
    client: &OperandClient,
    subject: &Subject,
) -> Result<(), Broken> {
    let Some(to) = &subject.snapshot_to else {
        return Ok(());
    };
    let mut steps = Vec::new();
    let made = client.snapshot(to, |step| steps.push(step.percent)).await;
    let made = answer("snapshot ends", made)?;
    rule!("progress never falls", steps.is_sorted(), "{steps:?}");
    rule!("the last step is 100", steps.last() == Some(&100), "{steps:?}");
    rule!("a snapshot says where it is", !made.location.is_empty(), "no location");
    let restored = client.restore(&made.location, |_| ()).await;
    answer("a snapshot can be restored", restored)?;
    let report = answer("report answers", client.report().await)?;
    rule!("a restored data plane is ready", report.ready, "{}", report.message);
    Ok(())
}

async fn nonsense_is_refused(client: &OperandClient) -> Result<(), Broken> {
    let shard = client.promote(u32::MAX, EPOCH + 9).await;
    let refused = matches!(shard, Err(OperandError::Invalid(_)));
    rule!("unknown shards are refused", refused, "{shard:?}");
    let epoch = client.promote(0, 0).await;
    rule!("epoch 0 is refused", matches!(epoch, Err(OperandError::Invalid(_))), "{epoch:?}");
    let place = client.snapshot("gopher://nowhere", |_| ()).await;
    let refused = matches!(place, Err(OperandError::Invalid(_) | OperandError::Unsupported(_)));
    rule!("unknown places are refused", refused, "{place:?}");
    let missing = client.restore("file:///nonexistent/orrery", |_| ()).await;
    rule!("restoring nothing fails", missing.is_err(), "it succeeded");
    Ok(())
}

async fn drain_ends(client: &OperandClient) -> Result<(), Broken> {
    answer("drain ends", client.drain(5, |_| ()).await)?;
    let report = answer("a drained data plane still reports", client.report().await)?;
    rule!("a drained data plane is not ready", !report.ready, "it says ready");
    Ok(())
}
