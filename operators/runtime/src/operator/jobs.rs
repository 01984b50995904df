//! Jobs and CronJobs as parts of an operator: who carries errands out, and who adopts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;

use super::{EngineHandle, Follower, Operator, Start, controller_name, follow, leaked};
use crate::cache::Cache;
use crate::controller::Guarded;
use crate::cronjobs::adopt::Adoption;
use crate::cronjobs::{AdoptsCronJobs, CronJobSeen};
use crate::declared::DeclaredKind;
use crate::errands::MakesJobs;
use crate::errands::carry::Carrier;
use crate::errands::seen::JobSeen;
use crate::system::{Declared, System};
use crate::triggers::Triggers;
use crate::watch::Change;

type Told<D> = Box<dyn Fn(&Change<Guarded<<D as Declared>::Kind>>) + Send>;

/// Who is told of each change of an object of a declared kind.
pub(super) struct Watched<D: Declared>(Arc<Mutex<Vec<Told<D>>>>);

impl<D: Declared> Clone for Watched<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Declared> Default for Watched<D> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<D: Declared> Watched<D> {
    pub(super) fn tell(&self, change: &Change<Guarded<D::Kind>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|tell| tell(change));
    }

    fn add(&self, told: Told<D>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }
}

/// A declared kind that was added.
pub struct DeclaredHandle<D: Declared> {
    kind: Arc<DeclaredKind<D>>,
    watched: Watched<D>,
}

impl<D: Declared> std::fmt::Debug for DeclaredHandle<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeclaredHandle").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<D: Declared> DeclaredHandle<D> {
    pub(super) fn new(kind: Arc<DeclaredKind<D>>, watched: Watched<D>) -> Self {
        Self { kind, watched }
    }
}

impl Operator {
    /// Carries out the errands that processes have for objects of a declared kind, as Jobs.
    pub fn errands<D: MakesJobs>(&mut self, declared: &DeclaredHandle<D>) {
        let name = leaked(format!("{}-jobs", controller_name::<D::Kind>()));
        let jobs = Cache::default();
        // What an errand waits for is a second of a rule: nothing is gathered first.
        let triggers = Triggers::new(name, Duration::ZERO, Arc::clone(&self.ctx.metrics));
        let (ctx, kind) = (Arc::clone(&self.ctx), Arc::clone(&declared.kind));
        let carrier = Arc::new(Carrier::new(ctx, kind, jobs.clone(), triggers));
        let ctx = Arc::clone(&self.ctx);
        let start: Start = Box::new(move |stop| {
            let told = Arc::clone(&carrier);
            let watching = follow::<JobSeen>(&ctx, jobs, move |change| told.job_changed(change));
            vec![watching, carrier.run(stop).boxed()]
        });
        self.starts.push((D::Engine::NAME, start));
    }

    /// Lets engines adopt CronJobs as objects of a declared kind.
    pub fn adoption<D: AdoptsCronJobs>(
        &mut self,
        engine: &EngineHandle<D::Engine>,
        declared: &DeclaredHandle<D>,
    ) {
        let name = leaked(format!("{}-cronjobs", controller_name::<D::Kind>()));
        let (cron_jobs, triggers) = (Cache::default(), self.triggers(name));
        let adoption = Arc::new(Adoption::<D>::new(
            Arc::clone(&self.ctx),
            self.events(name),
            Arc::clone(&declared.kind),
            cron_jobs.clone(),
            triggers,
        ));
        let told = Arc::clone(&adoption);
        declared.watched.add(Box::new(move |change| told.object_changed(change)));
        let told = Arc::clone(&adoption);
        let followed: Follower = Arc::new(move |ns, name| told.engine_changed(ns, name));
        engine.followers.lock().unwrap_or_else(PoisonError::into_inner).push(followed);
        let ctx = Arc::clone(&self.ctx);
        let start: Start = Box::new(move |stop| {
            let told = Arc::clone(&adoption);
            let watching = follow::<CronJobSeen>(&ctx, cron_jobs, move |change| {
                told.cron_job_changed(change);
            });
            vec![watching, adoption.run(stop).boxed()]
        });
        self.starts.push((D::Engine::NAME, start));
    }
}
