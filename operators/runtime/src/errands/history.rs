//! Which finished Jobs of an object are more than are kept.
//!
//! Must not: look at a cluster.

use super::Kept;
use super::seen::{JobSeen, Stands};

/// Names and UIDs of the Jobs to drop: of those that succeeded and of those that failed, the ones that
/// began first. `finished` are Jobs of one object that are settled.
pub(super) fn surplus(finished: &[&JobSeen], kept: Kept) -> Vec<(String, String)> {
    let mut dropped = Vec::new();
    for (is_success, most) in [(true, kept.succeeded), (false, kept.failed)] {
        let mut jobs: Vec<&JobSeen> = finished
            .iter()
            .copied()
            .filter(|job| match job.stands() {
                Stands::Runs => false,
                Stands::Succeeded => is_success,
                Stands::Failed(_) => !is_success,
            })
            .collect();
        jobs.sort_by_key(|job| {
            let meta = &job.metadata;
            let made = meta.creation_timestamp.as_ref().map(|time| time.0);
            (job.status.start_time.as_ref().map(|time| time.0), made, meta.name.clone())
        });
        let count = jobs.len().saturating_sub(most);
        dropped.extend(jobs.into_iter().take(count).map(|job| {
            let meta = &job.metadata;
            (meta.name.clone().unwrap_or_default(), meta.uid.clone().unwrap_or_default())
        }));
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(name: &str, second: u32, condition: &str) -> JobSeen {
        let value = json!({
            "metadata": {"name": name, "uid": name},
            "status": {
                "startTime": format!("2026-11-27T10:00:{second:02}Z"),
                "conditions": [{"type": condition, "status": "True"}],
            },
        });
        serde_json::from_value(value).expect("a Job")
    }

    #[test]
    fn the_newest_of_each_result_are_kept_and_those_that_run_always() {
        let jobs = [
            job("c", 3, "Complete"),
            job("a", 1, "Complete"),
            job("b", 2, "Complete"),
            job("x", 1, "Failed"),
            job("y", 2, "Failed"),
            job("runs", 0, "Suspended"),
        ];
        let jobs: Vec<&JobSeen> = jobs.iter().collect();
        let names = |succeeded, failed| -> Vec<String> {
            let dropped = surplus(&jobs, Kept { succeeded, failed });
            dropped.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(2, 1), ["a", "x"]);
        assert_eq!(names(0, 0), ["a", "b", "c", "x", "y"]);
        assert!(names(3, 2).is_empty());
    }
}
