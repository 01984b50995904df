//! StatefulSets: like every child, but for the claim templates, which the server lets nobody change.
//!
//! They stay as the set was made with; [`crate::volumes`] grows the claims themselves.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use kube::api::Api;

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
            keep_templates(&mut set, live.as_ref());
            known = Live::Seen(live.map(|live| Box::new(live.metadata)));
        }
        applied.push(Box::pin(applier.one_of(KIND, set, hash, known)).await?);
    }
    Ok(applied)
}

fn keep_templates(set: &mut StatefulSet, live: Option<&StatefulSet>) {
    let made_with = live.and_then(|live| live.spec.as_ref()?.volume_claim_templates.clone());
    if let (Some(templates), Some(spec)) = (made_with, &mut set.spec) {
        spec.volume_claim_templates = Some(templates);
    }
}
