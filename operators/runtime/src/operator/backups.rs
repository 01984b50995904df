//! Backups and BackupSchedules as parts of an operator: one controller each, for all engine kinds that
//! have archives.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use orrery_api::backup::{Backup, BackupSchedule};

use super::{EngineHandle, Follower, Operator, controller_name};
use crate::backup::kind::{Kind, Of};
use crate::backup::once::Backups;
use crate::backup::schedule::Schedules;
use crate::cache::Cache;
use crate::step::report::StatusMemory;
use crate::system::System;

impl Operator {
    /// Adds Backups and BackupSchedules of an engine kind.
    pub fn backups<S: System>(&mut self, engine: &EngineHandle<S>) {
        let kind: Arc<dyn Kind> =
            Arc::new(Of::<S> { engine: Arc::clone(&engine.engine), system: PhantomData });
        let backups = match &self.backups {
            Some(backups) => Arc::clone(backups),
            None => self.backup_kinds(S::NAME),
        };
        let kinds = &backups.kinds;
        kinds.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&kind));
        let follow: Follower = Arc::new(move |ns, name| backups.engine_changed(&*kind, ns, name));
        engine.followers.lock().unwrap_or_else(PoisonError::into_inner).push(follow);
    }

    /// The controllers of Backups and BackupSchedules, which are of all engine kinds.
    fn backup_kinds(&mut self, system: &'static str) -> Arc<Backups> {
        let cache = Cache::default();
        let schedules_name = controller_name::<BackupSchedule>();
        let schedules = Arc::new(Schedules {
            ctx: Arc::clone(&self.ctx),
            events: self.events(schedules_name),
            backups: cache.clone(),
            triggers: self.triggers(schedules_name),
            statuses: StatusMemory::default(),
        });
        let name = controller_name::<Backup>();
        let backups = Arc::new(Backups {
            ctx: Arc::clone(&self.ctx),
            events: self.events(name),
            cache: cache.clone(),
            triggers: self.triggers(name),
            kinds: Mutex::default(),
            statuses: StatusMemory::default(),
        });
        let (told, also) = (Arc::clone(&backups), Arc::clone(&schedules));
        let triggers = Arc::clone(&backups.triggers);
        self.add(system, name, cache, triggers, Arc::clone(&backups), move |change| {
            told.changed(change);
            also.backup_changed(change);
        });
        let cache = Cache::default();
        let (told, triggers) = (Arc::clone(&schedules), Arc::clone(&schedules.triggers));
        self.add(system, schedules_name, cache, triggers, schedules, move |change| {
            told.changed(change);
        });
        self.backups = Some(Arc::clone(&backups));
        backups
    }
}
