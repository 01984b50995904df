//! How many launches lie ahead, before they come.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use orrery_recurrence::Occurrences;
use serde::Serialize;

use super::{Engine, EngineError};

/// Steps that one forecast has.
const STEPS_MAX: i64 = 10_000;

/// What is to be foreseen.
#[derive(Debug, Clone)]
pub struct ForecastQuery {
    pub from: i64,
    pub to: i64,
    /// Seconds of one step.
    pub step: i64,
    /// Of this target alone.
    pub target: Option<String>,
}

/// Launches by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    pub from: i64,
    pub to: i64,
    pub step: i64,
    /// Launches that rules name in each step, beginning with `from`.
    pub launches: Vec<u64>,
    /// The most of any step, and where it begins.
    pub most: u64,
    pub most_at: i64,
    /// Jobs that run after others, at moments that no rule names: none of their launches is counted.
    pub following: u64,
}

impl Engine {
    /// Launches from `from` to before `to`.
    pub async fn forecast(&self, query: &ForecastQuery) -> Result<Forecast, EngineError> {
        let ForecastQuery { from, to, step, target } = query.clone();
        let steps = to.saturating_sub(from).max(0).saturating_add(step.max(1) - 1) / step.max(1);
        if step < 1 || !(1..=STEPS_MAX).contains(&steps) {
            let message = format!("a forecast has 1 to {STEPS_MAX} steps of at least a second");
            return Err(EngineError::Invalid(message));
        }
        let mut launches = vec![0; steps as usize];
        let mut following = 0;
        for handle in self.handles() {
            let target = target.clone();
            let looked = handle.look(move |state, _| {
                let mut rules: Vec<(Arc<Occurrences>, i64, u64)> = vec![];
                let mut shared = Indexes::new();
                let mut followers = 0;
                for job in state.jobs().filter(|job| job.fires()) {
                    let of_target = &job.definition.policies.target;
                    if target.as_deref().is_some_and(|target| target != &**of_target) {
                        continue;
                    }
                    let Some(times) = job.times() else {
                        followers += 1;
                        continue;
                    };
                    let index = shared
                        .entry((Arc::as_ptr(times) as usize, job.after))
                        .or_insert_with(|| {
                            rules.push((Arc::clone(times), job.after, 0));
                            rules.len() - 1
                        });
                    rules[*index].2 += 1;
                }
                (rules, followers)
            });
            let (rules, followers) = looked.await?;
            following += followers;
            launches = tokio::task::spawn_blocking(move || {
                add(&mut launches, &rules, from, to, step);
                launches
            })
            .await?;
        }
        let most = launches.iter().copied().max().unwrap_or(0);
        let at = launches.iter().position(|count| *count == most).unwrap_or(0) as i64;
        Ok(Forecast { from, to, step, launches, most, most_at: from + at * step, following })
    }
}

/// Which rule of a list jobs with these times, decided so far, share.
type Indexes = HashMap<(usize, i64), usize>;

fn add(
    launches: &mut [u64],
    rules: &[(Arc<Occurrences>, i64, u64)],
    from: i64,
    to: i64,
    step: i64,
) {
    for (times, after, jobs) in rules {
        let begin = from.max(after + 1);
        let all = times.count_between(begin - 1, to - 1);
        if all > 4 * launches.len() as u64 {
            // Dense: counting per step is cheaper than naming every second.
            for (index, count) in launches.iter_mut().enumerate() {
                let start = from + index as i64 * step;
                let end = (start + step).min(to);
                if end > begin {
                    *count += jobs * times.count_between(start.max(begin) - 1, end - 1);
                }
            }
            continue;
        }
        let mut at = begin - 1;
        while let Some(next) = times.next_after(at).filter(|next| *next < to) {
            launches[((next - from) / step) as usize] += jobs;
            at = next;
        }
    }
}
