//! What an errand needs next, from what was seen of its Job.
//!
//! Must not: look at a cluster or a clock.

use orrery_operand::v1::{Errand, Standing};

use super::seen::{JobSeen, Stands};
use crate::labels;

/// What was seen of the Job of an errand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look<'a> {
    /// The watch shows none; the server may have one.
    NotShown,
    /// The server has none.
    None,
    /// There is a Job of that name.
    Some(&'a JobSeen),
}

/// What is known beside the Job.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// This process made the Job.
    pub made: bool,
    /// The engine knows that the Job was made.
    pub told: bool,
    /// Value of the label that Jobs of the engine have which asks.
    pub engine: &'a str,
    /// UID of the CronJob that the object was made from: a Job it made itself for the very second is as
    /// good as ours.
    pub cron_job: Option<&'a str>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The server is asked whether there is a Job.
    Ask,
    /// The Job is made.
    Make,
    /// The engine is told that it was made.
    Tell,
    /// The Job is ended.
    End,
    /// The watch shows when it goes on.
    Wait,
    /// It is over.
    Settle(Standing, String),
}

/// See the module.
pub(super) fn decide(errand: &Errand, look: Look<'_>, known: Known<'_>) -> Step {
    let was_made = known.made || errand.started;
    match look {
        // Nobody but the server knows whether a Job was made that this process did not see.
        Look::NotShown if was_made || errand.cancel => Step::Ask,
        Look::None if errand.cancel => Step::Settle(Standing::Cancelled, String::new()),
        Look::None if was_made => {
            Step::Settle(Standing::Failed, "the Job was deleted before it was over".to_owned())
        }
        Look::NotShown | Look::None => Step::Make,
        Look::Some(job) if is_ours(errand, job, known) => of_job(errand, job, known),
        Look::Some(_) if errand.cancel => Step::Settle(Standing::Cancelled, String::new()),
        Look::Some(job) => {
            let name = job.metadata.name.as_deref().unwrap_or_default();
            let why = format!("there is a Job {name} already, and it is not of this run");
            Step::Settle(Standing::Refused, why)
        }
    }
}

fn is_ours(errand: &Errand, job: &JobSeen, known: Known<'_>) -> bool {
    let made_by_cron_job = || {
        let is_of_second = job.scheduled_at() == Some(errand.nominal_seconds);
        job.errand().is_none() && is_of_second && job.cron_job_uid() == known.cron_job
    };
    let is_of_engine = job.label(labels::ERRAND_OF) == Some(known.engine);
    (job.is_of(errand) && is_of_engine) || (known.cron_job.is_some() && made_by_cron_job())
}

fn of_job(errand: &Errand, job: &JobSeen, known: Known<'_>) -> Step {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    match job.stands() {
        Stands::Succeeded => Step::Settle(Standing::Succeeded, format!("Job {name}")),
        Stands::Failed(why) => Step::Settle(Standing::Failed, format!("Job {name}: {why}")),
        Stands::Runs if errand.cancel && !job.is_leaving() => Step::End,
        Stands::Runs if errand.cancel || known.told || errand.started => Step::Wait,
        Stands::Runs => Step::Tell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const MADE: Known<'_> = Known { made: true, ..NEW };
    const NEW: Known<'_> = Known { made: false, told: false, engine: "a", cron_job: None };

    fn errand() -> Errand {
        Errand {
            key: "ns_a_1_0_7".into(),
            attempt: 1,
            nominal_seconds: 1_795_773_600,
            ..Errand::default()
        }
    }

    fn job(annotations: &Value, more: &Value) -> JobSeen {
        let labels = json!({"orrery.dev/errand-of": "a"});
        let mut value =
            json!({"metadata": {"name": "a-1", "annotations": annotations, "labels": labels}});
        for (key, part) in more.as_object().expect("parts") {
            if key == "metadata" {
                let into = value["metadata"].as_object_mut().expect("an object");
                into.extend(part.as_object().expect("fields").clone());
            } else {
                value[key] = part.clone();
            }
        }
        serde_json::from_value(value).expect("a Job")
    }

    fn ours(more: &Value) -> JobSeen {
        job(&json!({"orrery.dev/run-key": "ns_a_1_0_7", "orrery.dev/attempt": "1"}), more)
    }

    fn standing(step: &Step) -> Option<Standing> {
        match step {
            Step::Settle(standing, _) => Some(*standing),
            _ => None,
        }
    }

    #[test]
    fn a_job_is_made_once_and_never_again_once_it_was_begun() {
        assert_eq!(decide(&errand(), Look::NotShown, NEW), Step::Make);
        assert_eq!(decide(&errand(), Look::NotShown, MADE), Step::Ask, "the watch is behind");
        let begun = Errand { started: true, ..errand() };
        assert_eq!(decide(&begun, Look::NotShown, NEW), Step::Ask);
        for (errand, known) in [(begun, NEW), (errand(), MADE)] {
            let step = decide(&errand, Look::None, known);
            assert_eq!(standing(&step), Some(Standing::Failed), "it was deleted: {step:?}");
        }
    }

    #[test]
    fn the_end_of_a_job_settles_its_errand() {
        let job = ours(&json!({}));
        assert_eq!(decide(&errand(), Look::Some(&job), NEW), Step::Tell);
        let told = Known { told: true, ..NEW };
        assert_eq!(decide(&errand(), Look::Some(&job), told), Step::Wait);
        let over = |type_: &str| {
            ours(&json!({"status": {"conditions": [{"type": type_, "status": "True"}]}}))
        };
        for (type_, expected) in [("Complete", Standing::Succeeded), ("Failed", Standing::Failed)] {
            let step = decide(&errand(), Look::Some(&over(type_)), told);
            assert_eq!(standing(&step), Some(expected));
        }
    }

    #[test]
    fn a_job_of_somebody_else_is_left_alone() {
        for annotations in [
            json!({}),
            json!({"orrery.dev/run-key": "ns_a_1_0_8", "orrery.dev/attempt": "1"}),
            json!({"orrery.dev/run-key": "ns_a_1_0_7", "orrery.dev/attempt": "2"}),
        ] {
            let job = job(&annotations, &json!({}));
            let step = decide(&errand(), Look::Some(&job), NEW);
            assert_eq!(standing(&step), Some(Standing::Refused), "{annotations}");
            let taken_back = Errand { cancel: true, ..errand() };
            let step = decide(&taken_back, Look::Some(&job), NEW);
            assert_eq!(standing(&step), Some(Standing::Cancelled), "{annotations}");
        }
        // The engine that asks is another than the one it was made for.
        let of_another = Known { engine: "b", ..NEW };
        let step = decide(&errand(), Look::Some(&ours(&json!({}))), of_another);
        assert_eq!(standing(&step), Some(Standing::Refused));
    }

    #[test]
    fn what_is_taken_back_is_ended_and_settled_when_it_is_gone() {
        let taken_back = Errand { cancel: true, ..errand() };
        let leaving = ours(&json!({"metadata": {"deletionTimestamp": "2026-11-27T10:00:00Z"}}));
        assert_eq!(decide(&taken_back, Look::NotShown, NEW), Step::Ask);
        assert_eq!(decide(&taken_back, Look::Some(&ours(&json!({}))), NEW), Step::End);
        assert_eq!(decide(&taken_back, Look::Some(&leaving), NEW), Step::Wait);
        let step = decide(&taken_back, Look::None, NEW);
        assert_eq!(standing(&step), Some(Standing::Cancelled));
        let done =
            ours(&json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}));
        let step = decide(&taken_back, Look::Some(&done), NEW);
        assert_eq!(standing(&step), Some(Standing::Succeeded), "it was faster");
    }

    #[test]
    fn a_job_that_the_cron_job_made_for_the_same_second_is_as_good_as_ours() {
        let of = |uid: &str, at: &str| {
            let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "a", "uid": uid,
                "controller": true});
            let at = json!({"batch.kubernetes.io/cronjob-scheduled-timestamp": at});
            job(&at, &json!({"metadata": {"ownerReferences": [owner]}}))
        };
        let adopted = Known { cron_job: Some("u"), ..NEW };
        let second = "2026-11-27T11:00:00+01:00";
        assert_eq!(decide(&errand(), Look::Some(&of("u", second)), adopted), Step::Tell);
        for (job, known) in [
            (of("other", second), adopted),
            (of("u", "2026-11-27T10:01:00Z"), adopted),
            (of("u", second), NEW),
        ] {
            let step = decide(&errand(), Look::Some(&job), known);
            assert_eq!(standing(&step), Some(Standing::Refused));
        }
    }
}
