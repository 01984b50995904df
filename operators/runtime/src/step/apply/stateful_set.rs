//! StatefulSets: like every child, but for the claim templates, which the server lets nobody change.
//!
//! They stay as the set was made with; [`crate::volumes`] grows the claims themselves. Only for
//! another StorageClass of several pods the set is made anew around its pods, so that the claims that
//! are made from now on are of that class.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions, PropagationPolicy};
use tracing::info;

use super::Verdict;
use super::one::{Applier, Live};
use crate::children::ChildKind;
use crate::resources::child_hash;
use crate::step::ApplyError;

const KIND: ChildKind = ChildKind::StatefulSet;

pub(super) async fn all(
    applier: &mut Applier<'_>,
    sets: Vec<StatefulSet>,
) -> Result<Vec<StatefulSet>, ApplyError> {
    let mut applied = Vec::with_capacity(sets.len());
    for mut set in sets {
        let name = set.name_any();
        let hash = child_hash(&set);
        let mut known = Live::Ask;
        if applier.verdict(KIND, &name, &hash) != Verdict::Skip {
            let client = applier.ctx.client.clone();
            let api: Api<StatefulSet> = Api::namespaced(client, &applier.identity.namespace);
            let live = api.get_opt(&name).await;
            let live = live.map_err(|source| ApplyError::Read { kind: KIND, name, source })?;
            if let Some(live) = &live {
                if takes_another_class(&set, live) {
                    return Err(leave(applier, &api, live).await?);
                }
                keep_templates(&mut set, live);
            }
            known = Live::Seen(live.map(|live| Box::new(live.metadata)));
        }
        applied.push(Box::pin(applier.one_of(KIND, set, hash, known)).await?);
    }
    Ok(applied)
}

/// StorageClasses its claims are made with.
fn classes(set: &StatefulSet) -> Vec<Option<&str>> {
    let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
    templates.map(|claim| claim.spec.as_ref()?.storage_class_name.as_deref()).collect()
}

fn takes_another_class(set: &StatefulSet, live: &StatefulSet) -> bool {
    let several = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1) > 1;
    let (asked, has) = (classes(set), classes(live));
    several && asked.iter().zip(&has).any(|(asked, has)| asked.is_some() && asked != has)
}

/// Removes the set and leaves its pods running; the one that is made next adopts them. What is to be
/// waited for meanwhile.
async fn leave(
    applier: &mut Applier<'_>,
    api: &Api<StatefulSet>,
    live: &StatefulSet,
) -> Result<ApplyError, ApplyError> {
    let name = live.name_any();
    applier.check_owner(KIND, &name, &live.metadata)?;
    applier.confirm_owner().await?;
    let same = Preconditions { uid: live.uid(), resource_version: None };
    let params = DeleteParams {
        preconditions: Some(same),
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    match api.delete(&name, &params).await {
        Ok(_) => info!(set = name, "made anew around its pods, for another StorageClass"),
        // It is gone, or another one by now.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
        Err(source) => return Err(ApplyError::Delete { kind: KIND, name, source }),
    }
    Ok(ApplyError::Leaving { kind: KIND, name })
}

fn keep_templates(set: &mut StatefulSet, live: &StatefulSet) {
    let made_with = live.spec.as_ref().and_then(|spec| spec.volume_claim_templates.clone());
    if let (Some(templates), Some(spec)) = (made_with, &mut set.spec) {
        spec.volume_claim_templates = Some(templates);
    }
}
