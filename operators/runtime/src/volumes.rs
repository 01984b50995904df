//! Volumes grow with the spec: a pure comparison, and the patch of each claim. Those of another
//! StorageClass are replaced in [`class`].
//!
//! A StatefulSet's claim templates cannot change, so they stay as they were made (see
//! `step::apply::stateful_set`), and each claim is grown by itself; the storage driver does the rest
//! while the pod runs. A claim that a scaled-up pod gets from the old template is grown the same
//! way.
//!
//! Must not: shrink or delete a claim.

pub mod class;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, Patch, PatchParams};
use orrery_api::Reason;
use orrery_api::spec::Quantity;
use serde_json::json;
use tracing::info;

use crate::context::Context;
use crate::step::GroupError;
use crate::system::Identity;

/// One claim of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimView {
    pub name: String,
    pub uid: String,
    /// StorageClass of the volume; none where the cluster has no default class.
    pub class: Option<String>,
    /// Size asked for.
    pub requested: Option<Quantity>,
    /// Size of the volume behind it; none while it is not bound.
    pub capacity: Option<Quantity>,
    /// Why it does not grow, in the words of its conditions.
    pub trouble: Option<String>,
}

impl ClaimView {
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let quantity = |q: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| {
            Quantity::new(q.0.as_str())
        };
        let requests =
            claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
        let status = claim.status.as_ref();
        let capacity = status.and_then(|status| status.capacity.as_ref());
        let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let mut failed =
            conditions.filter(|c| c.type_.ends_with("ResizeError") && c.status == "True");
        Self {
            name: claim.metadata.name.clone().unwrap_or_default(),
            uid: claim.metadata.uid.clone().unwrap_or_default(),
            class: claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone()),
            requested: requests.and_then(|all| all.get("storage")).map(quantity),
            capacity: capacity.and_then(|all| all.get("storage")).map(quantity),
            trouble: failed.find_map(|c| c.message.clone()),
        }
    }
}

/// What the spec asks of the claims of one StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Name of the template.
    template: String,
    /// Name of a claim up to the number of its pod.
    prefix: String,
    size: Quantity,
    /// StorageClass, if it is to be a certain one.
    class: Option<String>,
}

/// What the claim templates of these StatefulSets ask for.
pub fn wanted(sets: &[StatefulSet]) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for set in sets {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let templates =
            set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        for template in templates {
            let requests = template.spec.as_ref().and_then(|spec| spec.resources.as_ref());
            let size = requests.and_then(|resources| resources.requests.as_ref()?.get("storage"));
            let claim = template.metadata.name.as_deref().unwrap_or_default();
            if let Some(size) = size {
                let prefix = format!("{claim}-{name}-");
                let class = template.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
                let (template, size) = (claim.to_owned(), Quantity::new(size.0.as_str()));
                wanted.push(Wanted { template, prefix, size, class });
            }
        }
    }
    wanted
}

/// The claims that ask for less than they should, with the size they should ask for.
pub fn too_small<'a>(
    wanted: &'a [Wanted],
    claims: &'a [ClaimView],
) -> Vec<(&'a str, &'a Quantity)> {
    let pairs = claims.iter().filter_map(|claim| Some((claim, size_of(wanted, claim)?)));
    let small = pairs.filter(|(claim, size)| is_less(claim.requested.as_ref(), size));
    small.map(|(claim, size)| (claim.name.as_str(), size)).collect()
}

/// What is said of claims that ask for enough and do not have it yet.
pub fn growing(wanted: &[Wanted], claims: &[ClaimView]) -> Option<(Reason, String)> {
    let mut waiting = claims.iter().filter_map(|claim| {
        let size = size_of(wanted, claim)?;
        // An unbound claim is the pod's trouble, not a growing volume.
        let has = claim.capacity.as_ref()?;
        is_less(Some(has), size).then_some((claim, has, size))
    });
    let (claim, has, size) = waiting.next()?;
    if let Some(trouble) = &claim.trouble {
        return Some((Reason::VolumeNotGrown, format!("{}: {trouble}", claim.name)));
    }
    let why = format!("{} grows from {} to {}", claim.name, has.as_str(), size.as_str());
    Some((Reason::GrowingVolume, why))
}

/// What is asked of a claim, if it is one of these.
fn of<'a>(wanted: &'a [Wanted], claim: &ClaimView) -> Option<&'a Wanted> {
    let own = |one: &&Wanted| {
        let number = claim.name.strip_prefix(&one.prefix);
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    wanted.iter().find(own)
}

fn size_of<'a>(wanted: &'a [Wanted], claim: &ClaimView) -> Option<&'a Quantity> {
    of(wanted, claim).map(|one| &one.size)
}

fn is_less(has: Option<&Quantity>, size: &Quantity) -> bool {
    match (has.map(Quantity::value), size.value()) {
        (Some(Ok(has)), Ok(size)) => has < size,
        _ => false,
    }
}

/// Lets every claim that is too small ask for more. Says why when the server refuses.
pub async fn grow(
    ctx: &Context,
    identity: &Identity,
    wanted: &[Wanted],
    claims: &[ClaimView],
) -> Result<Option<(Reason, String)>, GroupError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &identity.namespace);
    for (name, size) in too_small(wanted, claims) {
        let size_only = json!({"spec": {"resources": {"requests": {"storage": size.as_str()}}}});
        let patch = Patch::Merge(size_only);
        let manager = Some(ctx.options.field_manager.to_owned());
        let params = PatchParams { field_manager: manager, ..PatchParams::default() };
        match api.patch(name, &params, &patch).await {
            Ok(_) => info!(claim = name, size = size.as_str(), "asked for a larger volume"),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_invalid() => {
                let why = format!("{name} cannot grow to {}: {}", size.as_str(), status.message);
                return Ok(Some((Reason::VolumeNotGrown, why)));
            }
            Err(source) => return Err(GroupError::Grow { name: name.to_owned(), source }),
        }
    }
    Ok(growing(wanted, claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, size: &str) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"selector": {}, "serviceName": "s", "template": {}, "volumeClaimTemplates": [
                {"metadata": {"name": "data"},
                 "spec": {"resources": {"requests": {"storage": size}}}}
            ]}
        }))
        .expect("a valid set")
    }

    fn claim(name: &str, requested: &str, capacity: &str) -> ClaimView {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"resources": {"requests": {"storage": requested}}},
            "status": {"capacity": {"storage": capacity}}
        }))
        .expect("a valid claim");
        ClaimView::of(&claim)
    }

    #[test]
    fn only_claims_of_the_set_that_ask_for_less_are_grown() {
        let wanted = wanted(&[set("a-kv", "2Gi")]);
        let claims = [
            claim("data-a-kv-0", "1Gi", "1Gi"),
            claim("data-a-kv-1", "2048Mi", "1Gi"),
            claim("data-a-kv-2", "3Gi", "3Gi"),
            claim("data-a-kv-x-0", "1Gi", "1Gi"),
            claim("data-b-kv-0", "1Gi", "1Gi"),
        ];
        let small: Vec<&str> = too_small(&wanted, &claims).into_iter().map(|(n, _)| n).collect();
        assert_eq!(small, ["data-a-kv-0"]);
        let (reason, why) = growing(&wanted, &claims[1..]).expect("the second grows");
        assert_eq!(
            (reason, why.as_str()),
            (Reason::GrowingVolume, "data-a-kv-1 grows from 1Gi to 2Gi")
        );
        assert_eq!(growing(&wanted, &claims[2..]), None);
    }

    #[test]
    fn a_driver_that_fails_is_quoted() {
        let stuck =
            ClaimView { trouble: Some("no space".into()), ..claim("data-a-kv-0", "2Gi", "1Gi") };
        let (reason, why) = growing(&wanted(&[set("a-kv", "2Gi")]), &[stuck]).expect("stuck");
        assert_eq!((reason, why.as_str()), (Reason::VolumeNotGrown, "data-a-kv-0: no space"));
    }
}
