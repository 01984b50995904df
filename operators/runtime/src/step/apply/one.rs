//! One child: look, apply, remember.
//!
//! Must not: know an order or a kind in particular. Must not trust the watch with what a write may
//! hit: the first write of a round looks at the object itself, and every write names the UID of the
//! child it is meant for, so that no child of a later object of the same name is taken for ours.

use std::fmt::Debug;

use futures::future::BoxFuture;
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

/// Looks at the stored object when it is polled.
pub type Look<'a> = BoxFuture<'a, kube::Result<Option<ObjectMeta>>>;

/// Applies the children of one object.
pub(super) struct Applier<'a> {
    pub(super) ctx: &'a Context,
    pub(super) identity: &'a Identity,
    pub(super) notices: Vec<Notice>,
    /// The object as it is stored; none once it was looked at in this round.
    owner: Option<Look<'a>>,
}

impl<'a> Applier<'a> {
    pub(super) fn new(ctx: &'a Context, identity: &'a Identity, owner: Look<'a>) -> Self {
        Self { ctx, identity, notices: Vec::new(), owner: Some(owner) }
    }

    /// Looks at the stored object before the first write of a round. What the watch shows may be of
    /// the past: an object of another life, one that is being deleted, or an older spec.
    pub(super) async fn confirm_owner(&mut self) -> Result<(), ApplyError> {
        let Some(look) = self.owner.take() else { return Ok(()) };
        let live = look.await.map_err(|source| ApplyError::ReadOwner { source })?;
        let same = live.is_some_and(|live| {
            live.uid == self.identity.uid
                && live.deletion_timestamp.is_none()
                && live.generation.unwrap_or(0) == self.identity.generation
        });
        if same { Ok(()) } else { Err(ApplyError::Outdated) }
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
        self.confirm_owner().await?;
        desired.annotations_mut().insert(labels::CONTENT_HASH.to_owned(), hash.clone());
        let api: Api<K> = Api::namespaced(self.ctx.client.clone(), &self.identity.namespace);
        let shown = match live {
            Live::Ask => self.shown_as_ours(kind, &name),
            Live::Seen(_) => None,
        };
        // The server refuses the write when the child is another one than the one looked at.
        desired.meta_mut().uid = match (live, &shown) {
            (Live::Seen(live), _) => self.uid_of_ours(kind, &name, live.as_deref())?,
            (Live::Ask, Some(uid)) => Some(uid.clone()),
            (Live::Ask, None) => self.live_uid(&api, kind, &name).await?,
        };
        let params = PatchParams::apply(self.ctx.options.field_manager).force();
        let mut applied = api.patch(&name, &params, &Patch::Apply(&desired)).await;
        if shown.is_some() && is_conflict(&applied) {
            self.ctx.records.forget_child(self.owner_uid(), kind, &name);
            desired.meta_mut().uid = self.live_uid(&api, kind, &name).await?;
            applied = api.patch(&name, &params, &Patch::Apply(&desired)).await;
        }
        let applied =
            applied.map_err(|source| ApplyError::Patch { kind, name: name.clone(), source })?;
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

    /// UID of the child if the watch shows it as ours. It may be one of the past.
    fn shown_as_ours(&self, kind: ChildKind, name: &str) -> Option<String> {
        let shown = self.ctx.children.get(kind, &self.identity.namespace, name)?;
        (shown.owner_uid == self.identity.uid).then_some(shown.uid)
    }

    /// UID of the child as it is stored; none when there is none.
    async fn live_uid<K: Applicable>(
        &mut self,
        api: &Api<K>,
        kind: ChildKind,
        name: &str,
    ) -> Result<Option<String>, ApplyError> {
        let live = api.get_metadata_opt(name).await;
        let live = live.map_err(|source| ApplyError::Read { kind, name: name.into(), source })?;
        self.uid_of_ours(kind, name, live.as_ref().map(|live| &live.metadata))
    }

    /// UID of the child that was looked at, unless it is not ours.
    fn uid_of_ours(
        &self,
        kind: ChildKind,
        name: &str,
        live: Option<&ObjectMeta>,
    ) -> Result<Option<String>, ApplyError> {
        let Some(live) = live else { return Ok(None) };
        self.check_owner(kind, name, live)?;
        Ok(live.uid.clone())
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

fn is_conflict<K>(result: &kube::Result<K>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.is_conflict())
}
