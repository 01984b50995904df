//! Many jobs checked one after the other. Most of them say the same under different names and with
//! different bodies, so what was checked once is not checked again, nor held twice.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use orrery_api::scheduler::DeclaredSchedule;
use orrery_recurrence::Zone;

use super::check::{Prepared, Refusal, check_name};
use super::{Engine, JobSpec, RefusalReason};
use crate::machine::definition::canonical;

/// What is the same for all jobs with one text.
struct Checked {
    text: Arc<str>,
    zone: Arc<Zone>,
    tenant: Arc<str>,
    leader: Option<String>,
    at: Option<i64>,
}

impl Checked {
    fn of(job: &Prepared) -> Self {
        Self {
            text: Arc::clone(&job.text),
            zone: Arc::clone(&job.zone),
            tenant: Arc::clone(&job.tenant),
            leader: job.leader.clone(),
            at: job.at,
        }
    }

    fn prepared(&self, name: String, payload: Option<Vec<u8>>, generation: i64) -> Prepared {
        Prepared {
            name,
            text: Arc::clone(&self.text),
            payload,
            zone: Arc::clone(&self.zone),
            generation,
            tenant: Arc::clone(&self.tenant),
            leader: self.leader.clone(),
            at: self.at,
        }
    }
}

/// Checks jobs of the API, or of one object.
pub(crate) struct Checker<'a> {
    engine: &'a Engine,
    now: i64,
    known: HashMap<String, Checked>,
}

impl Engine {
    /// What checks many jobs; of many it takes a while.
    pub(crate) fn checker(&self, now: i64) -> Checker<'_> {
        Checker { engine: self, now, known: HashMap::new() }
    }
}

impl Checker<'_> {
    pub(crate) fn check(&mut self, job: JobSpec) -> Result<Prepared, Refusal> {
        let JobSpec { name, spec, exclusions } = job;
        self.check_as(name, DeclaredSchedule { exclusions, ..spec.into() }, 0)
    }

    /// A job of an object of this generation; of the API where it is 0. One checker has jobs of one.
    pub(super) fn check_as(
        &mut self,
        name: String,
        declared: DeclaredSchedule,
        generation: i64,
    ) -> Result<Prepared, Refusal> {
        let spec = &declared.spec;
        if let Some(grpc) = &spec.action.grpc {
            let refused = |why| Refusal::new(RefusalReason::InvalidSpec, why);
            grpc.check_body().map_err(refused)?;
        }
        // The times of hashed texts depend on the name.
        let is_hashed = spec.when.cron.as_ref().is_some_and(|cron| cron.contains(['H', 'h']));
        if is_hashed {
            return self.engine.check(&name, declared, generation, self.now);
        }
        let (text, payload) = canonical(declared);
        if let Some(checked) = self.known.get(&text) {
            check_name(&name)?;
            return Ok(checked.prepared(name, payload, generation));
        }
        // The body is not part of what is checked further: it may be anything.
        let declared = serde_json::from_str(&text)
            .map_err(|error| Refusal::new(RefusalReason::InvalidSpec, error.to_string()))?;
        let checked = self.engine.check(&name, declared, generation, self.now)?;
        self.known.insert(text, Checked::of(&checked));
        Ok(Prepared { payload, ..checked })
    }
}
