//! Many jobs checked at once. Most of them say the same under different names and with different
//! bodies, so what was checked once is not checked again.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use orrery_api::scheduler::DeclaredSchedule;
use orrery_recurrence::Zone;

use super::check::{Prepared, Refusal, check_name};
use super::{Engine, JobSpec, RefusalReason};
use crate::machine::definition::canonical;

/// What is the same for all jobs with one text.
struct Checked {
    zone: Arc<Zone>,
    tenant: Arc<str>,
    leader: Option<String>,
    at: Option<i64>,
}

impl Engine {
    /// Checks jobs of the API, in their order. Of many it takes a while.
    pub(crate) fn check_batch(
        &self,
        jobs: Vec<JobSpec>,
        now: i64,
    ) -> Vec<Result<Prepared, Refusal>> {
        let mut known: HashMap<String, Checked> = HashMap::new();
        let check = |job| self.check_one(job, now, &mut known);
        jobs.into_iter().map(check).collect()
    }

    fn check_one(
        &self,
        job: JobSpec,
        now: i64,
        known: &mut HashMap<String, Checked>,
    ) -> Result<Prepared, Refusal> {
        let JobSpec { name, spec, exclusions } = job;
        // The times of hashed texts depend on the name.
        let is_hashed = spec.when.cron.as_ref().is_some_and(|cron| cron.contains(['H', 'h']));
        let declared = DeclaredSchedule { spec, exclusions };
        if is_hashed {
            return self.check(&name, declared, 0, now);
        }
        let (text, payload) = canonical(declared);
        if let Some(checked) = known.get(&text) {
            check_name(&name)?;
            return Ok(Prepared {
                name,
                text,
                payload,
                zone: Arc::clone(&checked.zone),
                generation: 0,
                tenant: Arc::clone(&checked.tenant),
                leader: checked.leader.clone(),
                at: checked.at,
            });
        }
        // The body is not part of what is checked: it may be anything.
        let declared = serde_json::from_str(&text)
            .map_err(|error| Refusal::new(RefusalReason::InvalidSpec, error.to_string()))?;
        let checked = self.check(&name, declared, 0, now)?;
        let of_text = Checked {
            zone: Arc::clone(&checked.zone),
            tenant: Arc::clone(&checked.tenant),
            leader: checked.leader.clone(),
            at: checked.at,
        };
        known.insert(text, of_text);
        Ok(Prepared { payload, ..checked })
    }
}
