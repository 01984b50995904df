//! Removal of children that are no longer built.
//!
//! Must not: delete from the cache's word. The cache only names candidates; each is looked at on
//! the server, must still be controlled by this very object, and is deleted under the UID and
//! resourceVersion that were seen there. A kind we may not list shows no candidates and is left
//! alone.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use crate::children::ChildKind;
use crate::children::store::controller_of;
use crate::context::Context;
use crate::events::Notice;
use crate::step::ApplyError;
use crate::step::apply::Names;
use crate::system::Identity;

/// The children of the object that are shown and not among `keep`.
pub fn of(ctx: &Context, identity: &Identity, keep: &Names) -> Vec<(ChildKind, String)> {
    let uid = identity.uid.as_deref().unwrap_or_default();
    let shown = ctx.children.of_owner(uid).into_iter();
    let staying = shown.filter(|(_, _, child)| !child.terminating);
    staying.map(|(kind, name, _)| (kind, name)).filter(|child| !keep.contains(child)).collect()
}

/// Removes orphans as [`of`] named them.
pub async fn remove(
    ctx: &Context,
    identity: &Identity,
    orphans: Vec<(ChildKind, String)>,
) -> Result<Vec<Notice>, ApplyError> {
    let uid = identity.uid.as_deref().unwrap_or_default();
    let mut notices = Vec::new();
    for (kind, name) in orphans {
        let removed = delete_kind(kind, &ctx.client, &identity.namespace, &name, uid)
            .await
            .map_err(|source| ApplyError::Delete { kind, name: name.clone(), source })?;
        ctx.records.forget_child(uid, kind, &name);
        if removed {
            notices.push(Notice::orphan(kind, &name));
        }
    }
    Ok(notices)
}

async fn delete_kind(
    kind: ChildKind,
    client: &Client,
    namespace: &str,
    name: &str,
    owner_uid: &str,
) -> kube::Result<bool> {
    use ChildKind as Kind;
    match kind {
        Kind::ServiceAccount => delete::<ServiceAccount>(client, namespace, name, owner_uid).await,
        Kind::Role => delete::<Role>(client, namespace, name, owner_uid).await,
        Kind::RoleBinding => delete::<RoleBinding>(client, namespace, name, owner_uid).await,
        Kind::Secret => delete::<Secret>(client, namespace, name, owner_uid).await,
        Kind::ConfigMap => delete::<ConfigMap>(client, namespace, name, owner_uid).await,
        Kind::Service => delete::<Service>(client, namespace, name, owner_uid).await,
        Kind::NetworkPolicy => delete::<NetworkPolicy>(client, namespace, name, owner_uid).await,
        Kind::PodDisruptionBudget => {
            delete::<PodDisruptionBudget>(client, namespace, name, owner_uid).await
        }
        Kind::StatefulSet => delete::<StatefulSet>(client, namespace, name, owner_uid).await,
        Kind::Deployment => delete::<Deployment>(client, namespace, name, owner_uid).await,
    }
}

async fn delete<K>(
    client: &Client,
    namespace: &str,
    name: &str,
    owner_uid: &str,
) -> kube::Result<bool>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let Some(live) = api.get_metadata_opt(name).await? else {
        return Ok(false);
    };
    let meta = live.metadata;
    let ours = controller_of(&meta).is_some_and(|owner| owner.uid == owner_uid);
    if !ours || meta.deletion_timestamp.is_some() {
        return Ok(false);
    }
    let guard = Preconditions { uid: meta.uid, resource_version: meta.resource_version };
    match api.delete(name, &DeleteParams::background().preconditions(guard)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
