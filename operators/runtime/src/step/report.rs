//! Step 5: ask the processes, give them their declared objects, write the status.
//!
//! Must not: change children. Runs in every mode and after a failed apply, so that a status never
//! lies by silence; while paused nothing is synced either.
//!
//! How changes are noticed at rest: a pod's Ready condition comes by watch, how declared objects fare
//! is told by processes that can ([`crate::listen`]), and what a process says beyond that (a full
//! journal, a figure) is asked for in the rounds of the five-minute net.

mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;
use orrery_operand::set_hash::sync_request;
use orrery_operand::v1::{DeclaredObject, SyncRequest, SyncResponse};
use tracing::{debug, warn};

pub use status::{StatusMemory, write_status};

use crate::board::{Key, SetAnswer};
use crate::certificates::{Certificates, connect};
use crate::children::store::CachedPod;
use crate::children::{Child, ChildKind};
use crate::context::Context;
use crate::group::carry::Plan;
use crate::observation::{Acceptance, Observation, Role};
use crate::redacted::Redacted;
use crate::step::{ReportError, StepError};
use crate::system::Identity;

/// Pods of one object that are asked at once.
const PODS_AT_ONCE: usize = 8;

/// How long a process without followers may take to say how it is.
const ANSWER_ALONE: Duration = Duration::from_secs(5);

/// The declared objects of one kind, as an engine needs them.
pub trait DeclaredSource: Send + Sync + std::fmt::Debug {
    /// Kind of the objects.
    fn kind(&self) -> &'static str;

    /// The objects of an engine, those of which nothing can be said now without their specs; waits until
    /// the cache has a complete list, because an object missing from the set is removed from the engine.
    /// An error when something they point to could not be read.
    fn objects<'a>(
        &'a self,
        namespace: &'a str,
        engine: &'a str,
    ) -> BoxFuture<'a, Result<Vec<DeclaredObject>, StepError>>;

    /// The answer about these objects is new.
    fn answered(&self, keys: Vec<Key>);
}

/// What the children show and their processes say. A lost member of a group must not hold a round
/// up for longer than a beat.
pub async fn observe(
    ctx: &Context,
    identity: &Identity,
    system: &str,
    is_group: bool,
) -> Result<(Observation, Vec<Reached>), ReportError> {
    let uid = identity.uid.as_deref().unwrap_or_default();
    let children = ctx.children.of_owner(uid);
    let view = |(kind, name, child): (ChildKind, String, Child)| {
        let mut workload = child.workload?;
        // What the cache shows from before our own write says nothing about what we wrote.
        workload.observed &= !ctx.records.is_ahead(uid, kind, &name, &child.resource_version);
        Some(workload)
    };
    let workloads = children.into_iter().filter_map(view).collect();
    let pods = ctx.children.pods(&identity.namespace, system, &identity.name);
    let asked = pods.iter().any(|pod| pod.management_port.is_some() && pod.view.ip.is_some());
    let token = if asked {
        let token = ctx.token(&identity.namespace, uid).await;
        token.map_err(|source| ReportError::Token { source })?
    } else {
        None
    };
    let patience = |pod: &CachedPod| {
        if is_group { ctx.pulses.patience(uid, &pod.view.name) } else { ANSWER_ALONE }
    };
    let asked = pods.into_iter().map(|pod| {
        let patience = patience(&pod);
        ask(ctx.certificates.as_deref(), pod, token.clone(), is_group, patience)
    });
    let asked = futures::stream::iter(asked);
    let mut answers: Vec<_> = asked.buffer_unordered(PODS_AT_ONCE).collect().await;
    answers.sort_by(|a, b| a.0.view.name.cmp(&b.0.view.name));
    let (pods, reached): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    let old_certificates = note_certificates(ctx, uid, &pods);
    let pods = pods.into_iter().map(|pod| pod.view).collect();
    Ok((
        Observation { workloads, pods, old_certificates, ..Observation::default() },
        reached.into_iter().flatten().collect(),
    ))
}

/// Notes which certificates the processes show. True when one that answered shows another than its
/// Secret has.
fn note_certificates(ctx: &Context, uid: &str, pods: &[CachedPod]) -> bool {
    let Some(certificates) = &ctx.certificates else { return false };
    let children = ctx.children.of_owner(uid);
    let newest = children.iter().find_map(|(.., child)| child.certificate.as_ref());
    let mut is_old = false;
    for pod in pods.iter().filter(|pod| pod.identity.is_some()) {
        certificates.note(&pod.view);
        let shown = pod.view.report.as_ref().map(|report| &report.identity_hash);
        is_old |= shown.is_some() && shown != newest.map(|mark| &mark.hash);
    }
    is_old
}

/// A process that answered.
#[derive(Debug)]
pub struct Reached {
    pub(crate) pod: String,
    /// UID of the pod.
    pub(crate) uid: String,
    pub(crate) client: OperandClient,
}

async fn ask(
    certificates: Option<&Certificates>,
    mut pod: CachedPod,
    token: Option<Redacted<String>>,
    is_group: bool,
    patience: Duration,
) -> (CachedPod, Option<Reached>) {
    if pod.management_address().is_none() {
        return (pod, None);
    }
    // A primary that is about to end is still asked, so that it can hand over.
    if pod.view.terminating && !is_group {
        return (pod, None);
    }
    let client = match connect(certificates, &pod, token.as_ref()) {
        Ok(client) => client,
        Err(error) => {
            pod.view.report_error = Some(error.to_string());
            return (pod, None);
        }
    };
    let answer = tokio::time::timeout(patience, client.report()).await;
    let silence = || OperandError::Unknown(format!("no answer within {} ms", patience.as_millis()));
    match answer.unwrap_or_else(|_| Err(silence())) {
        Ok(report) => {
            pod.view.report = Some(report);
            let view = &pod.view;
            let reached = Reached { pod: view.name.clone(), uid: view.uid.clone(), client };
            (pod, Some(reached))
        }
        Err(error) => {
            debug!(pod = pod.view.name, %error, "no report");
            // The wording of network errors differs from try to try; the status must not.
            pod.view.report_error = Some("does not answer the management protocol".to_owned());
            (pod, None)
        }
    }
}

/// The processes that are given declared objects: all of them, unless followers read along from the
/// engine that carries the journal. Those take nothing from anybody else, and learn it from there.
pub fn declared_to<'a>(
    plans: &[Plan],
    seen: &Observation,
    reached: &'a [Reached],
) -> Vec<&'a Reached> {
    let is_tailed = plans.iter().any(|plan| plan.group.tailed);
    let leads = |pod: &str| {
        let said = seen.reports().find(|(name, _)| *name == pod);
        said.is_some_and(|(_, report)| report.role() == Role::Primary)
    };
    reached.iter().filter(|process| !is_tailed || leads(&process.pod)).collect()
}

/// Gives each process the full set of each declared kind and publishes the answers. A set that a
/// process already carries out is answered at once.
pub async fn sync(
    ctx: &Context,
    identity: &Identity,
    sources: &[std::sync::Arc<dyn DeclaredSource>],
    reached: &[&Reached],
) -> Synced {
    let mut synced = Synced { complete: true, objects: 0 };
    for source in sources {
        let objects = match source.objects(&identity.namespace, &identity.name).await {
            Ok(objects) => objects,
            Err(error) => {
                warn!(kind = source.kind(), error = error.text(), "the set is not complete");
                synced.complete = false;
                continue;
            }
        };
        synced.objects += objects.len();
        let request = sync_request(source.kind(), objects);
        let (answer, results) = sync_kind(&request, reached, &mut synced.complete).await;
        if answer.pods.is_empty() {
            continue;
        }
        let uid = identity.uid.as_deref().unwrap_or_default();
        let changed = ctx.board.publish(source.kind(), uid, answer, results);
        source.answered(changed);
    }
    synced
}

/// What was given to the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// Every process answered for every set.
    pub complete: bool,
    /// Declared objects in all sets.
    pub objects: usize,
}

async fn sync_kind(
    request: &SyncRequest,
    reached: &[&Reached],
    complete: &mut bool,
) -> (SetAnswer, BTreeMap<Key, Acceptance>) {
    let mut answer = SetAnswer { set_hash: request.set_hash.clone(), pods: Vec::new() };
    let mut results = BTreeMap::new();
    for process in reached {
        match process.client.sync(request.clone()).await {
            Ok(response) => {
                answer.pods.push(process.pod.clone());
                merge(&mut results, response);
            }
            Err(error) => {
                warn!(pod = process.pod, kind = request.kind, %error, "failed to sync");
                *complete = false;
            }
        }
    }
    (answer, results)
}

fn merge(results: &mut BTreeMap<Key, Acceptance>, response: SyncResponse) {
    for result in response.results {
        let key = (result.namespace.clone(), result.name.clone());
        let new = Acceptance::from(result);
        match results.get_mut(&key) {
            None => {
                results.insert(key, new);
            }
            Some(old) => old.merge(new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_operand::v1::ObjectResult;

    fn response(accepted: bool, percent: i64) -> SyncResponse {
        let result = ObjectResult {
            namespace: "ns".into(),
            name: "a".into(),
            generation: 1,
            accepted,
            figures: [("used_memory_percent".to_owned(), percent)].into(),
            ..ObjectResult::default()
        };
        SyncResponse { results: vec![result], ..SyncResponse::default() }
    }

    #[test]
    fn one_process_that_refuses_is_enough_and_the_largest_figure_counts() {
        for order in [[(true, 10), (false, 40), (true, 20)], [(false, 40), (true, 20), (true, 10)]]
        {
            let mut results = BTreeMap::new();
            for (accepted, percent) in order {
                merge(&mut results, response(accepted, percent));
            }
            let result = &results[&("ns".to_owned(), "a".to_owned())];
            assert!(!result.accepted);
            assert_eq!(result.figures["used_memory_percent"], 40);
        }
    }
}
