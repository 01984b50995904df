//! Volumes move to another StorageClass: a volume keeps its class for life, so each is replaced by a
//! new one, which its pod fills from the primary. Which pod is next is [`crate::rollout`]'s to say.
//!
//! Must not: delete a claim that is not the one that was looked at, or one without its pod.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, DeleteParams, Preconditions};
use orrery_api::Reason;
use tracing::info;

use super::{ClaimView, Wanted, of};
use crate::context::Context;
use crate::step::GroupError;
use crate::system::Identity;

/// A claim that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    pub claim: String,
    pub uid: String,
    /// Pod that uses it.
    pub pod: String,
}

/// The claims that are of another class than the spec asks for.
pub fn misplaced(wanted: &[Wanted], claims: &[ClaimView]) -> Vec<Misplaced> {
    let found = claims.iter().filter_map(|claim| {
        let one = of(wanted, claim)?;
        let (has, asked) = (claim.class.as_ref()?, one.class.as_ref()?);
        // The name of a claim is that of its template and that of its pod.
        let pod = claim.name.strip_prefix(&one.template)?.strip_prefix('-')?;
        (has != asked).then(|| Misplaced {
            claim: claim.name.clone(),
            uid: claim.uid.clone(),
            pod: pod.to_owned(),
        })
    });
    found.collect()
}

/// What is said of claims of another class. Without another copy of the data nothing can be done.
pub fn moving(misplaced: &[Misplaced], is_group: bool) -> Option<(Reason, String)> {
    let first = &misplaced.first()?.claim;
    Some(if is_group {
        let left = misplaced.len();
        let why = format!("{first} moves to the StorageClass of the spec; {left} to go");
        (Reason::MovingVolume, why)
    } else {
        let why = format!(
            "{first} holds the only copy and keeps its StorageClass; set spec.followers to 1 or \
             more, or spec.storage.storageClassName to what it was"
        );
        (Reason::VolumeKeepsClass, why)
    })
}

/// Deletes the claim, which goes when its pod does. False when it is another one by now.
pub async fn give_up(
    ctx: &Context,
    identity: &Identity,
    one: &Misplaced,
) -> Result<bool, GroupError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &identity.namespace);
    let same = Preconditions { uid: Some(one.uid.clone()), resource_version: None };
    let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
    match api.delete(&one.claim, &params).await {
        Ok(_) => {
            info!(claim = one.claim, pod = one.pod, "replaced by one of another StorageClass");
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(source) => Err(GroupError::GiveUp { name: one.claim.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::spec::Quantity;

    fn claim(name: &str, class: &str) -> ClaimView {
        ClaimView { name: name.into(), class: Some(class.into()), ..ClaimView::default() }
    }

    #[test]
    fn claims_of_another_class_are_found_with_their_pods() {
        let mut wanted = Wanted {
            template: "data".into(),
            prefix: "data-a-kv-".into(),
            size: Quantity::new("1Gi"),
            class: Some("fast".into()),
        };
        let claims = [
            claim("data-a-kv-0", "slow"),
            claim("data-a-kv-1", "fast"),
            claim("data-a-kv-x-0", "slow"),
            ClaimView { name: "data-a-kv-2".into(), ..ClaimView::default() },
        ];
        let found = misplaced(std::slice::from_ref(&wanted), &claims);
        let pods: Vec<&str> = found.iter().map(|one| one.pod.as_str()).collect();
        assert_eq!(pods, ["a-kv-0"]);
        assert_eq!(moving(&found, true).map(|(reason, _)| reason), Some(Reason::MovingVolume));
        assert_eq!(moving(&found, false).map(|(reason, _)| reason), Some(Reason::VolumeKeepsClass));
        assert_eq!(moving(&[], true), None);
        wanted.class = None;
        assert_eq!(misplaced(&[wanted], &claims), [], "any class will do");
    }
}
