//! How many jobs there may be, in all and of one tenant (`spec.quota`).
//!
//! Two requests at the same moment may both see the room that is left: the bound is for whoever makes
//! jobs without end, and holds to within the requests under way.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::check::{Prepared, Refusal, RefusalReason};
use super::{Engine, EngineError};

/// What there is already.
#[derive(Debug, Default)]
struct Taken {
    jobs: u64,
    of_tenant: HashMap<Arc<str>, u64>,
    /// Names that are there.
    known: HashSet<String>,
}

impl Engine {
    /// Turns those of new jobs into refusals for which there is no room; jobs that are there already
    /// take none.
    pub(super) async fn within_quota(
        &self,
        prepared: &mut [Result<Prepared, Refusal>],
    ) -> Result<(), EngineError> {
        let Some(quota) = &self.config.quota else { return Ok(()) };
        let bound = |most: Option<i64>| most.and_then(|most| u64::try_from(most).ok());
        let most = bound(quota.max_jobs).unwrap_or(u64::MAX);
        let most_of_tenant = bound(quota.max_jobs_per_tenant).unwrap_or(u64::MAX);
        let mut taken = self.taken(prepared, most_of_tenant < u64::MAX).await?;
        for job in prepared {
            let Ok(new) = job else { continue };
            if taken.known.contains(&new.name) {
                continue;
            }
            let of_tenant = taken.of_tenant.entry(Arc::clone(&new.tenant)).or_default();
            let message = if taken.jobs >= most {
                format!("there are {} jobs, as many as spec.quota.maxJobs allows", taken.jobs)
            } else if *of_tenant >= most_of_tenant {
                format!(
                    "tenant {} has {of_tenant} jobs, as many as spec.quota.maxJobsPerTenant allows",
                    new.tenant
                )
            } else {
                taken.jobs += 1;
                *of_tenant += 1;
                taken.known.insert(new.name.clone());
                continue;
            };
            *job = Err(Refusal::new(RefusalReason::QuotaExceeded, message));
        }
        Ok(())
    }

    async fn taken(
        &self,
        prepared: &[Result<Prepared, Refusal>],
        by_tenant: bool,
    ) -> Result<Taken, EngineError> {
        let mut names: Vec<Vec<String>> = vec![vec![]; self.handles().len()];
        for job in prepared.iter().flatten() {
            names[usize::from(self.partition_of(&job.name))].push(job.name.clone());
        }
        let mut taken = Taken::default();
        for (handle, names) in self.handles().iter().zip(names) {
            let found = handle.look(move |state, _| {
                let mut of_tenant: HashMap<Arc<str>, u64> = HashMap::default();
                if by_tenant {
                    for job in state.jobs() {
                        let tenant = Arc::clone(&job.definition.policies.tenant);
                        *of_tenant.entry(tenant).or_default() += 1;
                    }
                }
                let known = names.into_iter().filter(|name| state.named(name).is_some());
                (state.len() as u64, of_tenant, known.collect::<Vec<_>>())
            });
            let (jobs, of_tenant, known) = found.await?;
            taken.jobs += jobs;
            for (tenant, count) in of_tenant {
                *taken.of_tenant.entry(tenant).or_default() += count;
            }
            taken.known.extend(known);
        }
        Ok(taken)
    }
}
