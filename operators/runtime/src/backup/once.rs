//! A round of a Backup: finds the engine, lets its primary take the snapshot, and tells how far it
//! is.
//!
//! Must not: decide what is in the archive, or remember across lives what it did; a snapshot whose
//! end nobody saw is taken again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::Resource;
use orrery_api::backup::{Backup, BackupSpec, BackupStatus};
use orrery_api::spec::ArchiveOf;
use orrery_api::{Reason, Time};
use orrery_operand::client::OperandClient;
use tracing::info;

use super::is_over;
use super::kind::{Found, Kind, Sought};
use super::snapshots::Look;
use super::stage::{Stage, summarise};
use crate::cache::Cache;
use crate::context::Context;
use crate::controller::{Guarded, Next, Reconcile};
use crate::engine::{count, ready_change, tell_malformed};
use crate::events::{Events, Notice};
use crate::labels;
use crate::observation::{Observation, Role};
use crate::step::report::{Reached, StatusMemory, observe, write_status};
use crate::step::{SnapshotError, StepError};
use crate::system::{Identity, Mode, System};
use crate::triggers::Triggers;
use crate::watch::{Change, key_of};

/// The controller of Backups.
pub struct Backups {
    pub(crate) ctx: Arc<Context>,
    pub(crate) events: Events,
    pub(crate) cache: Cache<Guarded<Backup>>,
    pub(crate) triggers: Arc<Triggers>,
    /// In the order they were added.
    pub(crate) kinds: Mutex<Vec<Arc<dyn Kind>>>,
    pub(crate) statuses: StatusMemory<BackupStatus>,
}

impl std::fmt::Debug for Backups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backups").finish_non_exhaustive()
    }
}

impl Reconcile<Backup> for Backups {
    fn round<'a>(&'a self, object: &'a Backup) -> BoxFuture<'a, Result<Next, StepError>> {
        self.reconcile(object).boxed()
    }

    fn malformed<'a>(&'a self, object: &'a Guarded<Backup>, why: &'a str) -> BoxFuture<'a, ()> {
        tell_malformed(&self.events, object, why).boxed()
    }
}

/// What a round did.
struct Step {
    stage: Stage,
    next: Next,
    failure: Option<StepError>,
}

impl Step {
    fn waits(reason: Reason, message: String, next: Next) -> Self {
        Self { stage: Stage::Waiting { reason, message }, next, failure: None }
    }
}

impl Backups {
    async fn reconcile(&self, backup: &Backup) -> Result<Next, StepError> {
        let uid = backup.metadata.uid.as_deref().unwrap_or_default();
        if backup.metadata.deletion_timestamp.is_some() {
            self.ctx.snapshots.forget(uid);
            return Ok(Next::OnChange);
        }
        let stored = self.statuses.newest(backup, backup.status.as_ref());
        if let Some(stored) = stored.as_ref().filter(|stored| is_over(stored)) {
            self.ctx.snapshots.forget(uid);
            count(&self.ctx, backup, &stored.common);
            return Ok(Next::OnChange);
        }
        let now = Timestamp::now();
        let step = self.step(backup, uid, now).await?;
        let none = BackupStatus::default();
        let before = stored.as_ref().unwrap_or(&none);
        let generation = backup.metadata.generation.unwrap_or(0);
        let status = summarise(generation, before, &step.stage, Time::new(now));
        let notice = ready_change(&before.common, &status.common).map(|notice| {
            let warning = notice.warning || matches!(step.stage, Stage::Failed { .. });
            Notice { warning, action: "Backup".into(), ..notice }
        });
        count(&self.ctx, backup, &status.common);
        let over = is_over(&status);
        write_status(&self.ctx, &self.statuses, backup, stored.as_ref(), status).await?;
        if over {
            self.ctx.snapshots.forget(uid);
        }
        if let Some(notice) = notice {
            self.events.tell(&backup.object_ref(&()), notice).await;
        }
        step.failure.map_or(Ok(step.next), Err)
    }

    async fn step(&self, backup: &Backup, uid: &str, now: Timestamp) -> Result<Step, StepError> {
        let snapshots = &self.ctx.snapshots;
        let left = time_left(backup, now);
        let look = snapshots.look(uid);
        let is_done = matches!(look, Some(Look::Ended(Ok(_))));
        if left.is_zero() && !is_done {
            let message =
                format!("no snapshot was taken within {} s", backup.spec.deadline_seconds);
            return Ok(Step {
                stage: Stage::Late { message },
                next: Next::OnChange,
                failure: None,
            });
        }
        match look {
            Some(Look::UnderWay { percent, step }) => {
                let stage = Stage::UnderWay { percent, step };
                return Ok(Step { stage, next: Next::Soon, failure: None });
            }
            Some(Look::Ended(Err(error))) => {
                snapshots.forget(uid);
                let message = format!("the snapshot failed, and is tried again: {error}");
                let failure = Some(SnapshotError(error).into());
                return Ok(Step { stage: Stage::Failed { message }, next: Next::Soon, failure });
            }
            _ => {}
        }
        let Some((kind, name)) = self.of(&backup.spec) else {
            // A rule of the API server refuses it; one that came before that rule was of a cluster.
            let message = "it names nothing that this operator backs up".to_owned();
            let stage = Stage::Stuck { reason: Reason::RefNotFound, message };
            return Ok(Step { stage, next: Next::Within(left), failure: None });
        };
        let (namespace, of) = (key_of(backup).0, kind.kind());
        let found = match kind.find(&self.ctx, &namespace, name).await {
            Sought::Found(found) => found,
            Sought::Missing => {
                let message = format!("{of} {name} does not exist in {namespace}");
                return Ok(Step::waits(Reason::RefNotFound, message, Next::Within(left)));
            }
            Sought::Unreadable => {
                let message = format!("{of} {name} cannot be read");
                return Ok(Step::waits(Reason::EngineNotReady, message, Next::Within(left)));
            }
        };
        let Some(archive) = &found.archive else {
            let message = format!("{of} {name} has no archive; set its spec.archive");
            let stage = Stage::Stuck { reason: Reason::NoArchive, message };
            return Ok(Step { stage, next: Next::Within(left), failure: None });
        };
        if let Some(Look::Ended(Ok(finished))) = look {
            let position = finished.position;
            info!(engine = name, position, location = finished.location, "a snapshot was taken");
            let (archive, engine) = (Box::new(archive.clone()), of.into_owned());
            let stage = Stage::Done { finished, archive, engine };
            return Ok(Step { stage, next: Next::OnChange, failure: None });
        }
        match self.start(backup, uid, &*kind, &found, archive).await? {
            Ok(()) => {
                let stage = Stage::UnderWay { percent: 0, step: String::new() };
                Ok(Step { stage, next: Next::Soon, failure: None })
            }
            Err((reason, message)) => Ok(Step::waits(reason, message, Next::Soon)),
        }
    }

    /// The kind and the name of what is backed up.
    fn of<'a>(&self, spec: &'a BackupSpec) -> Option<(Arc<dyn Kind>, &'a str)> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().find_map(|kind| Some((Arc::clone(kind), kind.backed_up(spec)?)))
    }

    /// Lets the primary of the engine take a snapshot, or says what is awaited.
    async fn start(
        &self,
        backup: &Backup,
        uid: &str,
        kind: &dyn Kind,
        found: &Found,
        archive: &ArchiveOf,
    ) -> Result<Result<(), (Reason, String)>, StepError> {
        let identity = &found.identity;
        let name = &identity.name;
        if found.is_leaving {
            return Ok(Err((Reason::EngineMissing, format!("{name} is being deleted"))));
        }
        if found.mode == Mode::Hibernate {
            return Ok(Err((Reason::EngineNotReady, format!("{name} is hibernated"))));
        }
        let client = match kind.primary(&self.ctx, identity, archive).await? {
            Ok(client) => client,
            Err(message) => return Ok(Err((Reason::EngineNotReady, message))),
        };
        let (triggers, key) = (Arc::clone(&self.triggers), key_of(backup));
        let of = identity.uid.as_deref().unwrap_or_default();
        let started = self.ctx.snapshots.start(uid, of, client, move || triggers.push(key));
        let busy = |_| (Reason::EngineNotReady, format!("another snapshot of {name} is under way"));
        Ok(started.map_err(busy))
    }

    /// A Backup changed or is gone.
    pub(crate) fn changed(&self, change: &Change<Guarded<Backup>>) {
        if !change.matters() {
            return;
        }
        let Some(backup) = change.object() else { return };
        if change.new.is_none() {
            let uid = backup.meta().uid.as_deref().unwrap_or_default();
            self.ctx.snapshots.forget(uid);
            self.statuses.forget(uid);
            self.ctx.metrics.object_gone(uid);
        }
        self.triggers.push(key_of(&**backup));
    }

    /// An engine appeared, changed or went: Backups that wait for it are looked at.
    pub(crate) fn engine_changed(&self, kind: &dyn Kind, namespace: &str, name: &str) {
        let waiting = self.cache.filter(|backup: &Guarded<Backup>| {
            backup.meta().namespace.as_deref() == Some(namespace)
                && backup.0.as_ref().is_ok_and(|backup| {
                    kind.backed_up(&backup.spec) == Some(name)
                        && !backup.status.as_ref().is_some_and(is_over)
                })
        });
        for backup in waiting {
            self.triggers.push(key_of(&*backup));
        }
    }
}

/// The process that takes snapshots of an object, or what is awaited. With `archive`: it must be the
/// one the process was started with.
pub(crate) async fn primary<S: System>(
    ctx: &Context,
    identity: &Identity,
    archive: Option<&ArchiveOf>,
) -> Result<Result<OperandClient, String>, StepError> {
    let (seen, reached) = observe(ctx, identity, S::NAME, false).await?;
    Ok(choose(&identity.name, &seen, &reached, archive.map(labels::archive_hash).as_deref()))
}

fn choose(
    name: &str,
    seen: &Observation,
    reached: &[Reached],
    archive_hash: Option<&str>,
) -> Result<OperandClient, String> {
    let primaries = seen.pods.iter().filter_map(|pod| {
        let report = pod.report.as_ref().filter(|report| report.role() == Role::Primary)?;
        Some((pod, report))
    });
    let Some((pod, report)) = primaries.max_by_key(|(_, report)| report.epoch) else {
        return Err(format!("no pod of {name} says that it is primary"));
    };
    if !report.ready {
        return Err(format!("{}: {} {}", pod.name, report.reason, report.message));
    }
    if archive_hash.is_some() && pod.archive_hash.as_deref() != archive_hash {
        let pod = &pod.name;
        return Err(format!("{pod} was not restarted yet with the archive of the spec"));
    }
    let client = reached.iter().find(|reached| reached.pod == pod.name);
    client.map(|reached| reached.client.clone()).ok_or(format!("{} does not answer", pod.name))
}

/// Time until the deadline; zero when it is over.
fn time_left(backup: &Backup, now: Timestamp) -> Duration {
    let Some(created) = &backup.metadata.creation_timestamp else { return Duration::MAX };
    let age = now.duration_since(created.0);
    let deadline = Duration::from_secs(u64::try_from(backup.spec.deadline_seconds).unwrap_or(0));
    // A clock behind the server's makes it younger than new.
    deadline.saturating_sub(Duration::try_from(age).unwrap_or_default())
}
