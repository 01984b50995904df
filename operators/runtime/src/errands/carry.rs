//! Carries errands out: one task for all of a declared kind, so many at once, in turn.
//!
//! Must not: choose. [`super::decide`] does, from what was seen; what is made is the system's own
//! [`MakesJobs::job`].
//!
//! Of many errands that come at once every Job is made before anything is written about one of them: what
//! is late is the Job, and its books are three requests more.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Resource, ResourceExt};
use orrery_operand::v1::{Errand, SettleRequest, Standing};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::decide::{Known, Look, Step, decide};
use super::desk::{Case, Id, WHOLE, name_of, of_name};
use super::history::surplus;
use super::pace::Pace;
use super::seen::{CRON_JOB, JobSeen};
use super::{MakesJobs, Occasion};
use crate::backoff::{Attempts, BackoffOptions};
use crate::board::Key;
use crate::cache::Cache;
use crate::children::store::controller_of;
use crate::context::Context;
use crate::cronjobs::mirror;
use crate::declared::DeclaredKind;
use crate::labels;
use crate::triggers::Triggers;
use crate::watch::Change;

/// Errands that are looked at at the same time.
const AT_ONCE: usize = 32;
/// Pauses between tries: a server that is back is noticed within half a minute.
const TRIES: BackoffOptions =
    BackoffOptions { first: Duration::from_millis(500), max: Duration::from_secs(30) };

/// Why an errand is not done yet; it is tried again.
#[derive(Debug, thiserror::Error)]
enum CarryError {
    #[error("failed to look for Job {name}")]
    Read { name: String, source: kube::Error },
    #[error("failed to make Job {name}")]
    Make { name: String, source: kube::Error },
    #[error("failed to end Job {name}")]
    End { name: String, source: kube::Error },
    #[error("failed to write the status of the CronJob")]
    Mirror(#[source] kube::Error),
    #[error("the process was not told: {0}")]
    Tell(#[from] orrery_operand::OperandError),
}

/// What a try to make a Job came to.
enum Made {
    Job(Box<JobSeen>),
    /// There is one of this name, of whomever.
    Exists,
    Settled(Standing, String),
}

/// The carrier of one declared kind.
pub(crate) struct Carrier<D: MakesJobs> {
    pub(crate) ctx: Arc<Context>,
    pub(crate) kind: Arc<DeclaredKind<D>>,
    pub(crate) jobs: Cache<JobSeen>,
    pub(crate) triggers: Arc<Triggers>,
    pace: Pace,
    failures: Attempts<Key>,
}

impl<D: MakesJobs> Carrier<D> {
    pub(crate) fn new(
        ctx: Arc<Context>,
        kind: Arc<DeclaredKind<D>>,
        jobs: Cache<JobSeen>,
        triggers: Arc<Triggers>,
    ) -> Self {
        ctx.desk.carried_by(kind.kind, &triggers);
        let failures = Attempts::new(TRIES);
        Self { ctx, kind, jobs, triggers, pace: Pace::default(), failures }
    }

    /// Runs until `stop` turns true.
    pub(crate) async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let complete = async {
            self.jobs.complete().await;
            self.kind.cache.complete().await;
        };
        self.triggers.work(AT_ONCE, complete, stop, |key| self.one(key)).await;
    }

    /// A Job changed: its errand is looked at.
    pub(crate) fn job_changed(&self, change: &Change<JobSeen>) {
        let Some(job) = change.object() else { return };
        let errand = job.errand().map(|(key, attempt)| (key.to_owned(), attempt));
        if let Some(id) = errand {
            if let Some(pod) = self.ctx.desk.find(&id) {
                self.ctx.desk.note(&pod, &id, |open| {
                    open.fresh = None;
                    if job.is_over() {
                        open.over = Some(Arc::clone(job));
                    }
                });
                self.triggers.push((pod, name_of(&id)));
            }
            return;
        }
        // One that a CronJob made itself may stand for an errand of the object made from it.
        if let Some(owner) = controller_of(&job.metadata).filter(|owner| owner.kind == CRON_JOB) {
            let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
            for (pod, id) in self.ctx.desk.of_object(self.kind.kind, namespace, &owner.name) {
                self.triggers.push((pod, name_of(&id)));
            }
        }
    }

    async fn one(&self, key: Key) -> (Key, Option<Duration>) {
        let (pod, name) = (&key.0, &key.1);
        let done = match of_name(name) {
            Some(id) => self.look_after(pod, &id).await,
            None if name == WHOLE => self.end_lost(pod).await.map(|()| false),
            None => Ok(false),
        };
        match done {
            Ok(goes_on) => {
                self.failures.forget(&key);
                (key, goes_on.then_some(Duration::ZERO))
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                warn!(errand = name, %error, source, "an errand is tried again");
                let wait = self.failures.failed(key.clone()).max(self.ctx.liveness.pause());
                (key, Some(wait))
            }
        }
    }

    /// Brings one errand as far as it goes now. Gives whether it goes on behind those that are new.
    async fn look_after(&self, pod: &str, id: &Id) -> Result<bool, CarryError> {
        let Some(case) = self.ctx.desk.case(pod, id) else { return Ok(false) };
        let errand = &case.open.errand;
        let name = D::job_name(&errand.name, &Occasion::from(errand));
        let shown = self.jobs.get(&(errand.namespace.clone(), name.clone()));
        let fresh = case.open.fresh.as_ref().filter(|_| !case.open.told);
        let mut found: Option<Arc<JobSeen>> =
            shown.or_else(|| case.open.over.clone()).or_else(|| fresh.cloned());
        let mut asked = false;
        if errand.namespace != case.engine.0 {
            let why = "its object is not in the namespace of the engine".to_owned();
            self.settle(pod, id, &case, Standing::Cancelled, why).await?;
            return Ok(false);
        }
        let cron_job = self.cron_job_of(&case);
        let of_engine = labels::label_value(&case.engine.1);
        let known = Known {
            made: case.open.made,
            told: case.open.told,
            engine: &of_engine,
            cron_job: cron_job.as_deref(),
        };
        loop {
            let look = match &found {
                Some(job) => Look::Some(job),
                None if asked => Look::None,
                None => Look::NotShown,
            };
            let step = decide(errand, look, known);
            if let Some(job) = &found
                && matches!(step, Step::Tell | Step::End | Step::Settle(..))
            {
                self.mirror(errand, job).await?;
            }
            match step {
                Step::Ask => {
                    found = self.ask(&errand.namespace, &name).await?.map(Arc::new);
                    asked = true;
                }
                Step::Make => match self.make(&case, &name).await? {
                    Made::Job(job) => {
                        self.ctx.desk.note(pod, id, |open| {
                            open.made = true;
                            open.fresh = Some(Arc::new(*job));
                        });
                        return Ok(true);
                    }
                    Made::Exists => {
                        found = self.ask(&errand.namespace, &name).await?.map(Arc::new);
                        // Gone again: the next look makes it.
                        if found.is_none() {
                            return Ok(true);
                        }
                    }
                    Made::Settled(standing, why) => {
                        self.settle(pod, id, &case, standing, why).await?;
                        return Ok(false);
                    }
                },
                Step::Tell => {
                    self.tell(&case, Standing::Started, name.clone()).await?;
                    self.ctx.desk.note(pod, id, |open| open.told = true);
                    // It may have gone before it was noted that it was made.
                    return Ok(self.jobs.get(&(errand.namespace.clone(), name)).is_none());
                }
                Step::End => {
                    if let Some(job) = &found {
                        self.end(job).await?;
                    }
                    // The watch may have shown its end before.
                    return Ok(true);
                }
                Step::Wait => return Ok(false),
                Step::Settle(standing, why) => {
                    self.settle(pod, id, &case, standing, why).await?;
                    return Ok(false);
                }
            }
        }
    }

    /// UID of the CronJob that the object of an errand was made from.
    fn cron_job_of(&self, case: &Case) -> Option<String> {
        let errand = &case.open.errand;
        let object = self.kind.cache.get(&(errand.namespace.clone(), errand.name.clone()))?;
        let is_of_engine = |object: &D::Kind| D::engine_name(object) == case.engine.1;
        object.0.as_ref().ok().filter(|object| is_of_engine(object))?;
        let owner = controller_of(object.meta())?;
        (owner.kind == CRON_JOB).then(|| owner.uid.clone())
    }

    async fn ask(&self, namespace: &str, name: &str) -> Result<Option<JobSeen>, CarryError> {
        let api: Api<JobSeen> = Api::namespaced(self.ctx.client.clone(), namespace);
        let found = api.get_opt(name).await;
        found.map_err(|source| CarryError::Read { name: name.to_owned(), source })
    }

    /// Makes the Job as the object says now.
    async fn make(&self, case: &Case, name: &str) -> Result<Made, CarryError> {
        let errand = &case.open.errand;
        let gone = |why: &str| Ok(Made::Settled(Standing::Cancelled, why.to_owned()));
        let object = self.kind.cache.get(&(errand.namespace.clone(), errand.name.clone()));
        let Some(object) = object else { return gone("its object is gone") };
        let meta = object.meta();
        let is_same = errand.uid.is_empty() || meta.uid.as_deref() == Some(errand.uid.as_str());
        if !is_same || meta.deletion_timestamp.is_some() {
            return gone("its object is gone");
        }
        let Ok(object) = &object.0 else { return gone("its object cannot be read") };
        if D::engine_name(object) != case.engine.1 {
            return gone("its object belongs to another engine");
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        if errand.expires_milliseconds != 0 && now_ms > errand.expires_milliseconds {
            // It may be there, and only the watch does not show it yet.
            return Ok(match self.ask(&errand.namespace, name).await? {
                Some(_) => Made::Exists,
                None => Made::Settled(Standing::Expired, String::new()),
            });
        }
        let mut job = match D::job(object, &Occasion::from(errand)) {
            Ok(job) => job,
            Err(refusal) => return Ok(Made::Settled(Standing::Refused, refusal.message)),
        };
        mirror::unlisted(&mut job);
        keep_books(&mut job, case, object.meta().uid.as_deref().unwrap_or_default());
        self.pace.turn().await;
        let api: Api<Job> = Api::namespaced(self.ctx.client.clone(), &errand.namespace);
        let params = PostParams {
            field_manager: Some(self.ctx.options.field_manager.into()),
            ..PostParams::default()
        };
        let status = match api.create(&params, &job).await {
            Ok(made) => {
                debug!(namespace = errand.namespace, job = name, key = errand.key, "made a Job");
                return Ok(Made::Job(Box::new(JobSeen {
                    metadata: made.metadata,
                    ..JobSeen::default()
                })));
            }
            Err(kube::Error::Api(status)) => status,
            Err(source) => return Err(CarryError::Make { name: name.to_owned(), source }),
        };
        match status.code {
            409 if status.is_already_exists() => Ok(Made::Exists),
            400 | 413 | 422 => Ok(Made::Settled(Standing::Refused, status.message)),
            // A quota may have room for the next attempt, and rights may be given.
            403 | 404 => Ok(Made::Settled(Standing::Failed, status.message)),
            _ => {
                let source = kube::Error::Api(status);
                Err(CarryError::Make { name: name.to_owned(), source })
            }
        }
    }

    /// Ends a Job and its pods.
    async fn end(&self, job: &JobSeen) -> Result<(), CarryError> {
        let (name, namespace) = (job.name_any(), job.namespace().unwrap_or_default());
        let api: Api<JobSeen> = Api::namespaced(self.ctx.client.clone(), &namespace);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: job.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        match api.delete(&name, &params).await {
            Ok(_) => {
                info!(namespace, job = name, "ended a Job that is no longer wanted");
                Ok(())
            }
            // It is gone, or another one by now.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(())
            }
            Err(source) => Err(CarryError::End { name, source }),
        }
    }

    /// A Job that was made for a CronJob is given to it, once it is in its status.
    async fn mirror(&self, errand: &Errand, job: &JobSeen) -> Result<(), CarryError> {
        let Some(owner) = mirror::owner_to_be(job).filter(|_| job.is_of(errand)) else {
            return Ok(());
        };
        let client = self.ctx.client.clone();
        mirror::began(client, owner, job, errand.nominal_seconds).await.map_err(CarryError::Mirror)
    }

    async fn settle(
        &self,
        pod: &str,
        id: &Id,
        case: &Case,
        standing: Standing,
        why: String,
    ) -> Result<(), CarryError> {
        if matches!(standing, Standing::Refused | Standing::Failed) {
            let errand = &case.open.errand;
            info!(namespace = errand.namespace, name = errand.name, ?standing, why, "a run ended");
        }
        self.tell(case, standing, why).await?;
        self.ctx.desk.close(pod, id);
        let errand = &case.open.errand;
        self.drop_surplus(&errand.namespace, &errand.name).await
    }

    async fn tell(
        &self,
        case: &Case,
        standing: Standing,
        message: String,
    ) -> Result<(), CarryError> {
        let errand = &case.open.errand;
        let (key, attempt) = (errand.key.clone(), errand.attempt);
        let request = SettleRequest { key, attempt, standing: standing.into(), message };
        Ok(case.client.settle(request).await?)
    }

    /// Drops finished Jobs of an object beyond what it keeps.
    async fn drop_surplus(&self, namespace: &str, name: &str) -> Result<(), CarryError> {
        let object = self.kind.cache.get(&(namespace.to_owned(), name.to_owned()));
        let Some(object) = object.as_ref().and_then(|object| object.0.as_ref().ok()) else {
            return Ok(());
        };
        let Some(kept) = D::kept(object) else { return Ok(()) };
        let uid = object.meta().uid.clone();
        let of_object = self.jobs.filter(|job| {
            job.annotation(labels::OBJECT_UID) == uid.as_deref()
                && job.metadata.namespace.as_deref() == Some(namespace)
                && controller_of(&job.metadata).map(|owner| &owner.uid) == uid.as_ref()
        });
        let is_settled = |job: &JobSeen| {
            job.errand()
                .is_none_or(|(key, attempt)| !self.ctx.desk.is_open(&(key.to_owned(), attempt)))
        };
        let finished: Vec<&JobSeen> = of_object
            .iter()
            .map(|job| &**job)
            .filter(|job| is_settled(job) && !job.is_leaving())
            .collect();
        for (job, _) in surplus(&finished, kept) {
            let known = finished.iter().find(|known| known.metadata.name.as_ref() == Some(&job));
            if let Some(known) = known {
                self.end(known).await?;
            }
        }
        Ok(())
    }

    /// Ends Jobs whose runs ended in their process while nobody heard it: cancelled, or replaced.
    async fn end_lost(&self, pod: &str) -> Result<(), CarryError> {
        let Some(place) = self.ctx.desk.place(pod) else { return Ok(()) };
        let prefix = format!("{}_", place.source);
        let of_engine = labels::label_value(&place.engine.1);
        let lost = self.jobs.filter(|job| {
            let Some((key, attempt)) = job.errand() else { return false };
            job.metadata.namespace.as_deref() == Some(place.engine.0.as_str())
                && job.label(labels::ERRAND_OF) == Some(of_engine.as_str())
                && key.starts_with(&prefix)
                && !place.open.contains(&(key.to_owned(), attempt))
                && !job.is_over()
                && !job.is_leaving()
        });
        for job in lost {
            // Of an object that was given back or deleted, somebody else decides.
            let uid = job.annotation(labels::OBJECT_UID).map(str::to_owned);
            let is_here = |object: &crate::controller::Guarded<D::Kind>| {
                object.meta().uid == uid
                    && object.meta().deletion_timestamp.is_none()
                    && object.0.as_ref().is_ok_and(|o| D::engine_name(o) == place.engine.1)
            };
            let id = job.errand().map(|(key, attempt)| (key.to_owned(), attempt));
            // It may have been opened since.
            let is_open = id.is_some_and(|id| self.ctx.desk.is_open(&id));
            if !is_open && !self.kind.cache.filter(is_here).is_empty() {
                self.end(&job).await?;
            }
        }
        Ok(())
    }
}

/// What the runtime finds a Job again by.
fn keep_books(job: &mut Job, case: &Case, object_uid: &str) {
    let errand = &case.open.errand;
    let of_engine = labels::label_value(&case.engine.1);
    let meta = &mut job.metadata;
    meta.namespace = Some(errand.namespace.clone());
    meta.labels.get_or_insert_default().insert(labels::ERRAND_OF.to_owned(), of_engine);
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(labels::RUN_KEY.to_owned(), errand.key.clone());
    annotations.insert(labels::ATTEMPT.to_owned(), errand.attempt.to_string());
    annotations.insert(labels::OBJECT_UID.to_owned(), object_uid.to_owned());
}
