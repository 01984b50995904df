//! One child: look, apply, remember.
//!
//! Must not: know an order or a kind in particular.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};

use super::{Record, Verdict, verdict};
use crate::children::store::controller_of;
use crate::children::{ChildKind, fingerprint};
use crate::context::Context;
use crate::events::Notice;
use crate::labels;
use crate::resources::child_hash;
use crate::step::ApplyError;
use crate::system::Identity;

/// A child kind that can be applied.
pub(super) trait Applicable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
{
}

impl<K> Applicable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
{
}

/// A child as the server has it.
pub(super) enum Live {
    /// Nobody has looked yet.
    Ask,
    /// The caller has just looked: its metadata, or none when there is no such child.
    Seen(Option<Box<ObjectMeta>>),
}

/// Applies the children of one object.
pub(super) struct Applier<'a> {
    pub(super) ctx: &'a Context,
    pub(super) identity: &'a Identity,
    pub(super) notices: Vec<Notice>,
}

impl<'a> Applier<'a> {
    pub(super) fn new(ctx: &'a Context, identity: &'a Identity) -> Self {
        Self { ctx, identity, notices: Vec::new() }
    }

    pub(super) async fn all<K: Applicable>(
        &mut self,
        kind: ChildKind,
        desired: Vec<K>,
    ) -> Result<Vec<K>, ApplyError> {
        let mut applied = Vec::with_capacity(desired.len());
        for object in desired {
            applied.push(Box::pin(self.one(kind, object)).await?);
        }
        Ok(applied)
    }

    async fn one<K: Applicable>(&mut self, kind: ChildKind, desired: K) -> Result<K, ApplyError> {
        let hash = child_hash(&desired);
        self.one_of(kind, desired, hash, Live::Ask).await
    }

    /// Applies a child that was built with the content of `hash`.
    pub(super) async fn one_of<K: Applicable>(
        &mut self,
        kind: ChildKind,
        mut desired: K,
        hash: String,
        live: Live,
    ) -> Result<K, ApplyError> {
        let name = desired.name_any();
        let verdict = self.verdict(kind, &name, &hash);
        if verdict == Verdict::Skip {
            return Ok(desired);
        }
        desired.annotations_mut().insert(labels::CONTENT_HASH.to_owned(), hash.clone());
        let api: Api<K> = Api::namespaced(self.ctx.client.clone(), &self.identity.namespace);
        self.check_foreign(kind, &name, async {
            match live {
                Live::Seen(live) => Ok(live.map(|meta| *meta)),
                Live::Ask => Ok(api.get_metadata_opt(&name).await?.map(|object| object.metadata)),
            }
        })
        .await?;
        let params = PatchParams::apply(self.ctx.options.field_manager).force();
        let applied = api
            .patch(&name, &params, &Patch::Apply(&desired))
            .await
            .map_err(|source| ApplyError::Patch { kind, name: name.clone(), source })?;
        self.remember(kind, &name, hash, applied.meta(), verdict);
        Ok(applied)
    }

    /// What to do about the child of this name.
    pub(super) fn verdict(&self, kind: ChildKind, name: &str, hash: &str) -> Verdict {
        let namespace = &self.identity.namespace;
        let record = self.ctx.records.get(self.owner_uid(), kind, name);
        let shown = self.ctx.children.get(kind, namespace, name);
        verdict(hash, record.as_ref(), shown.as_ref())
    }

    /// Refuses to touch what is not ours. Asks the server only when the watch does not show the
    /// child as ours.
    pub(super) async fn check_foreign(
        &self,
        kind: ChildKind,
        name: &str,
        live: impl Future<Output = kube::Result<Option<ObjectMeta>>>,
    ) -> Result<(), ApplyError> {
        let shown = self.ctx.children.get(kind, &self.identity.namespace, name);
        if shown.is_some_and(|child| child.owner_uid == self.identity.uid) {
            return Ok(());
        }
        let live = live.await.map_err(|source| ApplyError::Read {
            kind,
            name: name.to_owned(),
            source,
        })?;
        match live {
            Some(meta) => self.check_owner(kind, name, &meta),
            None => Ok(()),
        }
    }

    /// Refuses an object that belongs to someone else, or to nobody.
    pub(super) fn check_owner(
        &self,
        kind: ChildKind,
        name: &str,
        meta: &ObjectMeta,
    ) -> Result<(), ApplyError> {
        let owner = controller_of(meta);
        if owner.is_some_and(|owner| Some(&owner.uid) == self.identity.uid.as_ref()) {
            return Ok(());
        }
        let name = name.to_owned();
        let before = owner.is_some_and(|owner| {
            owner.kind == self.identity.kind && owner.name == self.identity.name
        });
        // An object of our name that was deleted a moment ago: the garbage collector is at it.
        Err(if before {
            ApplyError::Leaving { kind, name }
        } else {
            ApplyError::Foreign { kind, name }
        })
    }

    /// Remembers what the server gave back, and tells when it had to be repaired.
    pub(super) fn remember(
        &mut self,
        kind: ChildKind,
        name: &str,
        content_hash: String,
        meta: &ObjectMeta,
        verdict: Verdict,
    ) {
        let namespace = &self.identity.namespace;
        let record = Record {
            content_hash,
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            fingerprint: fingerprint(meta),
        };
        if verdict == Verdict::Repair {
            let shown = self.ctx.children.get(kind, namespace, name);
            let before = self.ctx.records.get(self.owner_uid(), kind, name);
            let repaired = match shown {
                Some(shown) => shown.fingerprint != record.fingerprint,
                None => before.is_none_or(|before| before.uid != record.uid),
            };
            if repaired {
                self.notices.push(Notice::drift(kind, name));
            }
        }
        self.ctx.records.put(self.owner_uid(), kind, name, record);
    }

    fn owner_uid(&self) -> &str {
        self.identity.uid.as_deref().unwrap_or_default()
    }
}
