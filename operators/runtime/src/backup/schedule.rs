//! A round of a BackupSchedule: makes the Backup whose time has come, drops those that are no longer
//! kept, and sleeps until the next time.
//!
//! Must not: take a snapshot. The Backup is written before the status that says so; its name says
//! for which time it is, so that whoever does it again finds it there.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use orrery_api::backup::{
    Backup, BackupSchedule, BackupScheduleSpec, BackupScheduleStatus, BackupSpec,
};
use orrery_api::{CommonStatus, ConditionSet, ConditionType, Reason, Time};
use tracing::info;

use super::outcome;
use super::plan::{Clock, Made, is_running, last_failed, name, superfluous};
use crate::cache::Cache;
use crate::children::store::controller_of;
use crate::context::Context;
use crate::controller::{Guarded, Next, Reconcile};
use crate::engine::{count, ready_change, tell_malformed};
use crate::events::{Events, Notice};
use crate::labels;
use crate::step::report::{StatusMemory, write_status};
use crate::step::{ScheduleError, StepError};
use crate::system::{Carrier, Identity};
use crate::triggers::Triggers;
use crate::watch::{Change, key_of};

/// The controller of BackupSchedules.
pub struct Schedules {
    pub(crate) ctx: Arc<Context>,
    pub(crate) events: Events,
    pub(crate) backups: Cache<Guarded<Backup>>,
    pub(crate) triggers: Arc<Triggers>,
    pub(crate) statuses: StatusMemory<BackupScheduleStatus>,
}

impl std::fmt::Debug for Schedules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schedules").finish_non_exhaustive()
    }
}

impl Reconcile<BackupSchedule> for Schedules {
    fn round<'a>(&'a self, object: &'a BackupSchedule) -> BoxFuture<'a, Result<Next, StepError>> {
        self.reconcile(object, Timestamp::now()).boxed()
    }

    fn malformed<'a>(
        &'a self,
        object: &'a Guarded<BackupSchedule>,
        why: &'a str,
    ) -> BoxFuture<'a, ()> {
        tell_malformed(&self.events, object, why).boxed()
    }
}

impl Schedules {
    async fn reconcile(
        &self,
        schedule: &BackupSchedule,
        now: Timestamp,
    ) -> Result<Next, StepError> {
        if schedule.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        let stored = self.statuses.newest(schedule, schedule.status.as_ref());
        let before = stored.clone().unwrap_or_default();
        let mut status = before.clone();
        let mut notices = Vec::new();
        let (conditions, next) = match Clock::new(&schedule.spec) {
            Err(error) => {
                status.next_schedule_time = None;
                (refused(schedule, &error.to_string()), Next::OnChange)
            }
            Ok(_) if schedule.spec.suspend => {
                status.next_schedule_time = None;
                (suspended(schedule), Next::OnChange)
            }
            Ok(clock) => {
                let made = self.tick(schedule, &clock, &mut status, &mut notices, now).await?;
                let next = clock.next(now);
                status.next_schedule_time = next.map(Time::new);
                // A time may have come while a Backup is under way: its end is looked for, too.
                let next = if is_running(&made) { Next::Soon } else { until(next, now) };
                (ticking(schedule, &made), next)
            }
        };
        status.common = CommonStatus {
            observed_generation: Some(schedule.metadata.generation.unwrap_or(0)),
            conditions: conditions.merge(&before.common.conditions, Time::new(now)),
            ..CommonStatus::default()
        };
        notices.extend(ready_change(&before.common, &status.common));
        count(&self.ctx, schedule, &status.common);
        write_status(&self.ctx, &self.statuses, schedule, stored.as_ref(), status).await?;
        let about = schedule.object_ref(&());
        for notice in notices {
            self.events.tell(&about, notice).await;
        }
        Ok(next)
    }

    /// Makes and drops Backups; those it had before.
    async fn tick(
        &self,
        schedule: &BackupSchedule,
        clock: &Clock,
        status: &mut BackupScheduleStatus,
        notices: &mut Vec<Notice>,
        now: Timestamp,
    ) -> Result<Vec<Made>, StepError> {
        // Until the list is complete, one that is under way may not be shown.
        self.backups.complete().await;
        let made = self.made(schedule);
        let created = schedule.metadata.creation_timestamp.as_ref().map(|created| created.0);
        let last = status.last_schedule_time.map(Time::timestamp);
        let since = last.or(created).unwrap_or(now);
        if let Some(at) = clock.due(since, now).filter(|_| !is_running(&made)) {
            let backup = self.make(schedule, at).await?;
            let note = format!("{backup} was made for {at}");
            notices.push(Notice::normal(Reason::BackupCreated, "Create", note));
            status.last_schedule_time = Some(Time::new(at));
            status.last_backup = Some(backup);
        }
        let keep = usize::try_from(schedule.spec.retain_last).unwrap_or(usize::MAX).max(1);
        for old in superfluous(&made, keep) {
            self.drop(schedule, old).await?;
            let note = format!("{} is gone; the archive keeps its data", old.name);
            notices.push(Notice::normal(Reason::BackupRemoved, "Delete", note));
        }
        Ok(made)
    }

    /// The Backups that this schedule made, as the watch shows them.
    fn made(&self, schedule: &BackupSchedule) -> Vec<Made> {
        let uid = schedule.metadata.uid.as_deref().unwrap_or_default();
        let own = self.backups.filter(|backup: &Guarded<Backup>| {
            controller_of(backup.meta()).is_some_and(|owner| owner.uid == uid)
        });
        let made = own.iter().map(|backup| Made {
            name: backup.meta().name.clone().unwrap_or_default(),
            uid: backup.meta().uid.clone().unwrap_or_default(),
            // One that cannot be read is over, and not well.
            outcome: match &backup.0 {
                Ok(backup) => backup.status.as_ref().and_then(outcome),
                Err(_) => Some(false),
            },
        });
        made.collect()
    }

    /// Makes the Backup of a time. One of that name is the one that was to be made.
    async fn make(&self, schedule: &BackupSchedule, at: Timestamp) -> Result<String, StepError> {
        let options = &self.ctx.options;
        let identity = Identity::of(schedule, &options.image, &options.version, Carrier::Cluster);
        let name = name(&identity.name, at);
        let BackupScheduleSpec { cluster, scheduler, .. } = &schedule.spec;
        let spec = BackupSpec::of_either(cluster.clone(), scheduler.clone());
        let mut backup = Backup::new(&name, spec);
        let own = [(labels::SCHEDULE.to_owned(), labels::label_value(&identity.name))];
        backup.metadata = identity.child(&name, own.into());
        let params = PostParams {
            field_manager: Some(options.field_manager.to_owned()),
            ..PostParams::default()
        };
        match self.api(&identity.namespace).create(&params, &backup).await {
            Ok(_) => info!(backup = name, "its time has come"),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(source) => return Err(ScheduleError::Create { name, source }.into()),
        }
        Ok(name)
    }

    async fn drop(&self, schedule: &BackupSchedule, old: &Made) -> Result<(), StepError> {
        let namespace = schedule.metadata.namespace.as_deref().unwrap_or_default();
        let same = Preconditions { uid: Some(old.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        match self.api(namespace).delete(&old.name, &params).await {
            Ok(_) => Ok(()),
            // It is gone, or another one by now.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(())
            }
            Err(source) => Err(ScheduleError::Delete { name: old.name.clone(), source }.into()),
        }
    }

    fn api(&self, namespace: &str) -> Api<Backup> {
        Api::namespaced(self.ctx.client.clone(), namespace)
    }

    /// A schedule changed or is gone.
    pub(crate) fn changed(&self, change: &Change<Guarded<BackupSchedule>>) {
        if !change.matters() {
            return;
        }
        let Some(schedule) = change.object() else { return };
        let meta = schedule.meta();
        if change.new.is_none() {
            let uid = meta.uid.as_deref().unwrap_or_default();
            self.statuses.forget(uid);
            self.ctx.metrics.object_gone(uid);
        }
        self.triggers.push(key_of(&**schedule));
    }

    /// A Backup came, ended or went: the schedule that made it is looked at.
    pub(crate) fn backup_changed(&self, change: &Change<Guarded<Backup>>) {
        let state = |backup: &Option<Arc<Guarded<Backup>>>| {
            let backup = backup.as_ref()?;
            let status = backup.0.as_ref().ok().and_then(|backup| backup.status.as_ref());
            Some(status.and_then(outcome))
        };
        if state(&change.old) == state(&change.new) {
            return;
        }
        let Some(backup) = change.object() else { return };
        let Some(owner) = controller_of(backup.meta()) else { return };
        if owner.kind == BackupSchedule::kind(&()) {
            let namespace = backup.meta().namespace.clone().unwrap_or_default();
            self.triggers.push((namespace, owner.name.clone()));
        }
    }
}

/// Sleeps until the next time.
fn until(next: Option<Timestamp>, now: Timestamp) -> Next {
    let Some(next) = next else { return Next::AtRest };
    let left = Duration::try_from(next.duration_since(now)).unwrap_or_default();
    // A timer may fire a little before the clock says so; then another short sleep follows.
    Next::Within(left)
}

fn conditions(schedule: &BackupSchedule) -> ConditionSet {
    ConditionSet::new(schedule.metadata.generation.unwrap_or(0))
}

fn ticking(schedule: &BackupSchedule, made: &[Made]) -> ConditionSet {
    let message = "Backups are made at the times of the schedule";
    let set = conditions(schedule)
        .with(ConditionType::Ready, true, Reason::Scheduled, message)
        .with(ConditionType::Available, true, Reason::Scheduled, message)
        .with(ConditionType::Reconciling, false, Reason::Settled, "")
        .with(ConditionType::Stalled, false, Reason::Settled, "");
    match last_failed(made) {
        Some(backup) => {
            let message = format!("{} failed", backup.name);
            set.with(ConditionType::Degraded, true, Reason::BackupFailed, message)
        }
        None => set.with(ConditionType::Degraded, false, Reason::FullStrength, ""),
    }
}

fn suspended(schedule: &BackupSchedule) -> ConditionSet {
    let (reason, message) = (Reason::Suspended, "no Backups are made while spec.suspend is true");
    conditions(schedule)
        .with(ConditionType::Ready, true, reason, message)
        .with(ConditionType::Available, false, reason, message)
        .with(ConditionType::Reconciling, false, reason, "")
        .with(ConditionType::Stalled, false, reason, "")
        .with(ConditionType::Degraded, false, reason, "")
}

fn refused(schedule: &BackupSchedule, message: &str) -> ConditionSet {
    let reason = Reason::InvalidSpec;
    let message = format!("spec.schedule: {message}");
    conditions(schedule)
        .with(ConditionType::Ready, false, reason, message.as_str())
        .with(ConditionType::Available, false, reason, message.as_str())
        .with(ConditionType::Reconciling, false, reason, message.as_str())
        .with(ConditionType::Stalled, true, reason, message)
        .with(ConditionType::Degraded, false, reason, "")
}
