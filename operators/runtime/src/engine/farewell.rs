//! The last snapshot of an object whose `deletionPolicy` is Snapshot.
//!
//! A finalizer keeps such an object until a snapshot is in its archive; only then are the volumes
//! given to the garbage collector, and when it has them the object may go. That the snapshot was
//! taken is written where it takes effect, in the StatefulSet: a fresh operator that finds nothing
//! there takes the snapshot again.
//!
//! Must not: give a volume away before the archive has its data. A deletion that cannot go on waits,
//! and says how to end the wait: another `deletionPolicy`.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{Api, ListParams, Patch, PatchParams};
use orrery_api::spec::DeletionPolicy;
use orrery_api::{CommonStatus, Reason, Time};
use serde_json::json;
use tracing::info;

use super::{Engine, ready_change};
use crate::backup::once::primary;
use crate::backup::snapshots::Look;
use crate::children::ChildKind;
use crate::controller::Next;
use crate::events::Notice;
use crate::group::carry::Carrier;
use crate::labels;
use crate::status::{Facts, Progress, summarise};
use crate::step::report::{observe, write_status};
use crate::step::{DeletionError, SnapshotError, StepError};
use crate::system::{Identity, Mode, System};

/// Keeps an object until its last snapshot was taken.
pub const FINALIZER: &str = "orrery.dev/last-snapshot";
/// Owner of the finalizer in the object's metadata.
const FINALIZER_MANAGER: &str = "orrery-finalizer";
/// How to end a deletion that waits.
const WAY_OUT: &str = "set spec.deletionPolicy to Retain to keep the volumes, or to Delete to give \
                       the data up";

fn policy<S: System>(object: &S::Kind) -> DeletionPolicy {
    S::engine_spec(object).map(|spec| spec.deletion_policy).unwrap_or_default()
}

fn has_finalizer(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Where a deletion stands.
enum Stand {
    /// The archive has everything.
    Taken,
    /// Something is awaited.
    Waits { reason: Reason, message: String, failure: Option<StepError> },
}

impl<S: System> Engine<S> {
    /// Sees to it that the object has the finalizer if its policy asks for a last snapshot.
    pub(super) async fn hold(
        &self,
        object: &S::Kind,
        identity: &Identity,
    ) -> Result<(), StepError> {
        let wants = policy::<S>(object) == DeletionPolicy::Snapshot;
        if wants == has_finalizer(object.meta()) {
            return Ok(());
        }
        self.set_finalizer(identity, wants).await
    }

    async fn set_finalizer(&self, identity: &Identity, held: bool) -> Result<(), StepError> {
        let api: Api<S::Kind> = Api::namespaced(self.ctx.client.clone(), &identity.namespace);
        let mut metadata = json!({ "name": identity.name, "uid": identity.uid });
        if held {
            metadata["finalizers"] = json!([FINALIZER]);
        }
        // Owns the finalizer and nothing else; without it in the patch, it is taken away.
        let patch = json!({
            "apiVersion": identity.api_version, "kind": identity.kind, "metadata": metadata,
        });
        let params = PatchParams::apply(FINALIZER_MANAGER).force();
        match api.patch_metadata(&identity.name, &params, &Patch::Apply(&patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(DeletionError::Finalizer { source }.into()),
        }
    }

    /// A round of an object that is being deleted.
    pub(super) async fn farewell(
        &self,
        object: &S::Kind,
        identity: &Identity,
    ) -> Result<Next, StepError> {
        if !has_finalizer(object.meta()) {
            // Owner references take the children away; volumes follow the retention policy.
            return Ok(Next::OnChange);
        }
        let asker = asker(identity);
        let stand = match policy::<S>(object) {
            DeletionPolicy::Retain => {
                self.ctx.snapshots.forget(&asker);
                self.set_finalizer(identity, false).await?;
                return Ok(Next::OnChange);
            }
            DeletionPolicy::Delete => Stand::Taken,
            DeletionPolicy::Snapshot if self.are_given_away(identity).await? => Stand::Taken,
            DeletionPolicy::Snapshot => {
                self.tend(object, identity).await?;
                self.last_snapshot(object, identity, &asker).await?
            }
        };
        let (reason, message, failure) = match stand {
            Stand::Taken if self.give_away(object, identity).await? => {
                self.ctx.snapshots.forget(&asker);
                self.set_finalizer(identity, false).await?;
                return Ok(Next::OnChange);
            }
            Stand::Taken => (Reason::Terminating, "the volumes are being removed".to_owned(), None),
            Stand::Waits { reason, message, failure } => (reason, message, failure),
        };
        self.tell_waiting(object, identity, reason, message).await?;
        failure.map_or(Ok(Next::Soon), Err)
    }

    /// Somebody must be primary to take the snapshot: groups are led until it is there.
    async fn tend(&self, object: &S::Kind, identity: &Identity) -> Result<(), StepError> {
        let pods = self.standing(object, identity, S::mode(object)).await;
        let mut plans = pods.groups;
        if plans.is_empty() {
            return Ok(());
        }
        let (seen, reached) = observe(&self.ctx, identity, S::NAME, true).await?;
        let (ctx, triggers) = (&*self.ctx, &self.triggers);
        let carrier = Carrier { ctx, identity, system: S::NAME, triggers, reached: &reached };
        carrier.watch(&plans).await?;
        let done = carrier.steps(&mut plans, &seen).await;
        for notice in done.notices {
            self.events.tell(&object.object_ref(&()), notice).await;
        }
        if done.again {
            self.triggers.push((identity.namespace.clone(), identity.name.clone()));
        }
        done.failure.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Takes the snapshot, or says what is awaited.
    async fn last_snapshot(
        &self,
        object: &S::Kind,
        identity: &Identity,
        asker: &str,
    ) -> Result<Stand, StepError> {
        let snapshots = &self.ctx.snapshots;
        let waits = |reason, message: String| Ok(Stand::Waits { reason, message, failure: None });
        match snapshots.look(asker) {
            Some(Look::Ended(Ok(finished))) => {
                let position = finished.position;
                info!(name = identity.name, position, "the last snapshot is in the archive");
                let note = format!("the last snapshot is in the archive, at position {position}");
                let notice = Notice::normal(Reason::SnapshotTaken, "Delete", note);
                self.events.tell(&object.object_ref(&()), notice).await;
                return Ok(Stand::Taken);
            }
            Some(Look::Ended(Err(error))) => {
                snapshots.forget(asker);
                let message =
                    format!("the last snapshot failed, and is tried again: {error}; {WAY_OUT}");
                let notice = Notice::warning(Reason::SnapshotFailed, "Delete", message.as_str());
                self.events.tell(&object.object_ref(&()), notice).await;
                let failure = Some(SnapshotError(error).into());
                return Ok(Stand::Waits { reason: Reason::SnapshotFailed, message, failure });
            }
            Some(Look::UnderWay { .. }) => {
                return waits(Reason::Terminating, "the last snapshot is being taken".to_owned());
            }
            None => {}
        }
        let Some(archive) = S::archive(object) else {
            return waits(Reason::NoArchive, format!("there is no archive; {WAY_OUT}"));
        };
        if S::mode(object) == Mode::Hibernate {
            let message = format!("no pod runs that could take the last snapshot; {WAY_OUT}");
            return waits(Reason::SnapshotFailed, message);
        }
        let client = match primary::<S>(&self.ctx, identity, Some(&archive)).await? {
            Ok(client) => client,
            Err(why) => {
                let message = format!("the last snapshot cannot be taken: {why}; {WAY_OUT}");
                return waits(Reason::SnapshotFailed, message);
            }
        };
        let key = (identity.namespace.clone(), identity.name.clone());
        let (triggers, of) = (Arc::clone(&self.triggers), identity.uid.as_deref());
        let started =
            snapshots.start(asker, of.unwrap_or_default(), client, move || triggers.push(key));
        waits(
            Reason::Terminating,
            match started {
                Ok(()) => "the last snapshot is being taken".to_owned(),
                Err(_) => "a snapshot that is under way comes before the last one".to_owned(),
            },
        )
    }

    /// Names of the object's StatefulSets.
    fn sets(&self, identity: &Identity) -> Vec<String> {
        let children = self.ctx.children.of_owner(identity.uid.as_deref().unwrap_or_default());
        let sets = children.into_iter().filter(|(kind, ..)| *kind == ChildKind::StatefulSet);
        sets.map(|(_, name, _)| name).collect()
    }

    /// Whether an earlier round, or an earlier operator, has seen the snapshot in the archive.
    async fn are_given_away(&self, identity: &Identity) -> Result<bool, StepError> {
        let (api, sets) = (self.set_api(identity), self.sets(identity));
        for name in &sets {
            let set = api.get_opt(name).await;
            let set = set.map_err(|source| DeletionError::Read { name: name.clone(), source })?;
            if !set.as_ref().is_some_and(is_given_away) {
                return Ok(false);
            }
        }
        Ok(!sets.is_empty())
    }

    /// Lets the volumes go with the object. True when the garbage collector has them all.
    async fn give_away(&self, object: &S::Kind, identity: &Identity) -> Result<bool, StepError> {
        // What the cache shows may be of the past; this is not to be taken back.
        let api: Api<S::Kind> = Api::namespaced(self.ctx.client.clone(), &identity.namespace);
        let live = api.get_opt(&identity.name).await;
        let live =
            live.map_err(|source| DeletionError::Read { name: identity.name.clone(), source })?;
        let Some(live) = live.filter(|live| live.meta().uid == identity.uid) else {
            return Ok(true);
        };
        if policy::<S>(&live) != policy::<S>(object) {
            return Ok(false);
        }
        let (api, mut all) = (self.set_api(identity), true);
        for name in self.sets(identity) {
            let read = |source| DeletionError::Read { name: name.clone(), source };
            let Some(set) = api.get_opt(&name).await.map_err(read)? else { continue };
            if !is_given_away(&set) {
                let policy = json!({ "whenDeleted": "Delete", "whenScaled": "Retain" });
                let patch = json!({
                    "metadata": { "uid": set.metadata.uid },
                    "spec": { "persistentVolumeClaimRetentionPolicy": policy },
                });
                let manager = Some(self.ctx.options.field_manager.to_owned());
                let params = PatchParams { field_manager: manager, ..PatchParams::default() };
                let given = api.patch(&name, &params, &Patch::Merge(&patch)).await;
                given.map_err(|source| DeletionError::GiveAway { name: name.clone(), source })?;
                all = false;
                continue;
            }
            all &= self.are_owned(identity, &set).await?;
        }
        Ok(all)
    }

    /// Whether the claims of the pods of this set go when it goes.
    async fn are_owned(&self, identity: &Identity, set: &StatefulSet) -> Result<bool, StepError> {
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.ctx.client.clone(), &identity.namespace);
        let selector = format!(
            "{}={},{}={}",
            labels::NAME,
            labels::label_value(S::NAME),
            labels::INSTANCE,
            labels::label_value(&identity.name)
        );
        let claims = api.list(&ListParams::default().labels(&selector)).await;
        let name = || set.metadata.name.clone().unwrap_or_default();
        let claims = claims.map_err(|source| DeletionError::Read { name: name(), source })?;
        Ok(claims.iter().filter(|claim| is_of(claim, set)).all(|claim| {
            let owners = claim.metadata.owner_references.iter().flatten();
            owners.into_iter().any(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
        }))
    }

    pub(super) fn set_api(&self, identity: &Identity) -> Api<StatefulSet> {
        Api::namespaced(self.ctx.client.clone(), &identity.namespace)
    }

    async fn tell_waiting(
        &self,
        object: &S::Kind,
        identity: &Identity,
        reason: Reason,
        message: String,
    ) -> Result<(), StepError> {
        let (seen, _) = observe(&self.ctx, identity, S::NAME, false).await?;
        let stored = self.statuses.newest(object, S::status(object));
        let none = CommonStatus::default();
        let before = stored.as_ref().map_or(&none, S::common);
        let progress = Progress::Waiting { reason, message };
        let common = summarise(&Facts {
            generation: identity.generation,
            stored: before,
            progress: &progress,
            seen: &seen,
            release: &self.ctx.options.version,
            now: Time::new(jiff::Timestamp::now()),
        });
        let change = ready_change(before, &common);
        let new = S::summary(object, stored.as_ref(), common, &seen);
        write_status(&self.ctx, &self.statuses, object, stored.as_ref(), new).await?;
        if let Some(notice) = change {
            self.events.tell(&object.object_ref(&()), notice).await;
        }
        Ok(())
    }
}

/// Who asks for the last snapshot: no Backup has this id.
fn asker(identity: &Identity) -> String {
    format!("last-{}", identity.uid.as_deref().unwrap_or_default())
}

fn is_given_away(set: &StatefulSet) -> bool {
    let policy = set.spec.as_ref().and_then(|spec| {
        spec.persistent_volume_claim_retention_policy.as_ref()?.when_deleted.as_deref()
    });
    policy == Some("Delete")
}

/// Whether a claim is that of a pod the set has now. Those of earlier, larger times stay.
fn is_of(claim: &PersistentVolumeClaim, set: &StatefulSet) -> bool {
    let (Some(claim), Some(name)) = (&claim.metadata.name, &set.metadata.name) else {
        return false;
    };
    let Some(spec) = &set.spec else { return false };
    let replicas = spec.replicas.unwrap_or(1);
    spec.volume_claim_templates.iter().flatten().any(|template| {
        let template = template.metadata.name.as_deref().unwrap_or_default();
        let number = claim.strip_prefix(&format!("{template}-{name}-"));
        number.and_then(|number| number.parse::<i32>().ok()).is_some_and(|n| n < replicas)
    })
}
