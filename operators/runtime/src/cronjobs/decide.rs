//! Who adopts a CronJob, and what is to be done next about it.
//!
//! Must not: look at a cluster or a clock.

use super::handover::{self, At, Jobless, LOOK_SECONDS};
use super::kind::{ADOPT, CronJobSeen};
use super::{Ran, Takes};
use crate::system::DEFAULT_ENGINE;

/// How long a time may be past that the controller of a CronJob has done nothing about, and is waited
/// for, in seconds: behind that it has left it out, as it does beside a Job of Forbid.
const OWED_SECONDS: i64 = 30;

/// The engine that is to run a CronJob, of those of its namespace that are not being deleted. Of several
/// that take all, the one that has it keeps it, else the first by name.
pub(super) fn adopter<'a>(cron_job: &CronJobSeen, engines: &[(&'a str, Takes)]) -> Option<&'a str> {
    let named = match cron_job.annotation(ADOPT) {
        Some("false") => return None,
        Some("true") => Some(DEFAULT_ENGINE),
        other => other,
    };
    if let Some(named) = named {
        let found = engines.iter().find(|(name, takes)| *name == named && *takes != Takes::None);
        return found.map(|(name, _)| *name);
    }
    let mut all: Vec<&str> =
        engines.iter().filter(|(_, takes)| *takes == Takes::All).map(|(name, _)| *name).collect();
    all.sort_unstable();
    let has = cron_job.adopted_by();
    all.iter().find(|name| has == Some(**name)).or(all.first()).copied()
}

/// The object beside a CronJob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beside {
    pub whose: Whose,
    /// It belongs to the engine that is to adopt.
    pub is_of_adopter: bool,
    /// It says what the CronJob says.
    pub is_same: bool,
    pub stands: Stands,
    /// It was changed since it was made, so that its engine may still do what it said before.
    pub was_changed: bool,
    /// None: each of its runs is a Job.
    pub jobless: Option<Jobless>,
}

/// Who made the object beside a CronJob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// We did, for this CronJob.
    Ours,
    /// We did, for one of the same name that is gone; the garbage collector takes it.
    Leaving,
    /// The user did.
    Foreign,
}

/// How the engine took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stands {
    Waits,
    Accepted,
    Refused(String),
}

/// What is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until something changes.
    Rest,
    /// The same, with a word to the user.
    Tell(String),
    /// The object beside it is written.
    Apply,
    /// It is suspended: the engine has it.
    Suspend,
    /// It is as it was before; the object beside it still fires.
    GiveBack,
    /// The object beside it goes.
    Remove,
    /// Nothing for so many seconds.
    Later(i64),
    /// It is suspended, as it was seen and no other: nobody fires.
    Stop,
    /// The object beside it fires no more behind this second.
    End(i64),
    /// It is as it was before, and its controller goes on behind this second.
    GiveBackBehind(i64),
    /// Its status says what it does not say yet: the time of its newest run, and when one succeeded.
    Show { scheduled: Option<i64>, succeeded: Option<i64> },
}

/// What its engine would make of a CronJob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// There is none.
    Nothing,
    /// A Job of each run.
    Jobs,
    /// Something else of each run.
    Jobless,
    /// It cannot be said in the CronJob's place.
    Refused(String),
}

/// What is next about a CronJob, whatever its runs are.
pub(super) fn next(
    cron_job: &CronJobSeen,
    adopter: Option<&str>,
    wish: &Wish,
    beside: Option<&Beside>,
    at: &At,
) -> Step {
    if cron_job.metadata.deletion_timestamp.is_some() {
        return Step::Rest;
    }
    let ours = beside.filter(|beside| beside.whose == Whose::Ours);
    if let Some(beside) = ours
        && let Some(object) = &beside.jobless
    {
        let is_wanted = *wish == Wish::Jobless && beside.is_of_adopter;
        return handover::decide(cron_job, is_wanted, Some((beside, object)), at);
    }
    match wish {
        // Once it is given back, the user is told why.
        Wish::Refused(why) => match decide(cron_job, None, beside) {
            Step::Rest => Step::Tell(why.clone()),
            step => step,
        },
        Wish::Jobless if beside.is_none() => handover::decide(cron_job, true, None, at),
        // What makes Jobs is given back as it was taken.
        Wish::Jobless if ours.is_some() => decide(cron_job, None, beside),
        Wish::Jobless | Wish::Jobs | Wish::Nothing => match decide(cron_job, adopter, beside) {
            Step::Suspend if is_owed(cron_job, at) => Step::Later(LOOK_SECONDS),
            step => step,
        },
    }
}

/// Whether its controller may just be about to make the Job of a time. The engine, which was told of the
/// CronJob since, knows nothing of that one.
fn is_owed(cron_job: &CronJobSeen, at: &At) -> bool {
    let is_ours = cron_job.adopted_by().is_some() || cron_job.is_suspended();
    !is_ours && at.owed(cron_job).is_some_and(|newest| at.now - newest < OWED_SECONDS)
}

/// The last second that the engine has decided where each run is a Job: all before `next`, the first
/// time that it has not. A run whose Job is not there yet goes with the object; its second is left to the
/// controller of the CronJob, which gives the Job the same name.
pub(super) fn decided(cron_job: &CronJobSeen, next: Option<i64>, ran: Option<&Ran>) -> Option<i64> {
    let has_job = |ran: &Ran| cron_job.last_scheduled().is_some_and(|last| last >= ran.nominal);
    let without = ran.filter(|ran| !ran.is_over && !has_job(ran)).map(|ran| ran.nominal);
    next.map(|next| without.map_or(next, |nominal| next.min(nominal)) - 1)
}

/// What is next where each run is a Job. `beside` is the object of the CronJob's name, `adopter` the
/// engine that is to run it.
fn decide(cron_job: &CronJobSeen, adopter: Option<&str>, beside: Option<&Beside>) -> Step {
    let is_held = cron_job.adopted_by().is_some();
    let back = |otherwise| if is_held { Step::GiveBack } else { otherwise };
    let Some(_) = adopter else {
        return match beside {
            Some(beside) if beside.whose == Whose::Ours => back(Step::Remove),
            _ => back(Step::Rest),
        };
    };
    let Some(beside) = beside else {
        if let Some(why) = cron_job.is_busy().filter(|_| !is_held) {
            return Step::Tell(why.to_owned());
        }
        return Step::Apply;
    };
    match beside.whose {
        Whose::Leaving => return Step::Rest,
        Whose::Foreign => {
            let why = "an object of its name is there already that somebody else made";
            return back(Step::Tell(why.to_owned()));
        }
        Whose::Ours if !beside.is_of_adopter => return back(Step::Remove),
        Whose::Ours => {}
    }
    if !beside.is_same {
        return Step::Apply;
    }
    match &beside.stands {
        Stands::Waits => Step::Rest,
        // The engine may still run what it was before: it must forget that first.
        Stands::Refused(_) if beside.was_changed => back(Step::Remove),
        Stands::Refused(why) => back(Step::Tell(why.clone())),
        Stands::Accepted if is_held && cron_job.spec.suspend == Some(true) => Step::Rest,
        Stands::Accepted => Step::Suspend,
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::{ADOPTED_BY, SUSPEND};
    use super::*;
    use serde_json::{Value, json};

    fn cron_job(annotations: &Value, more: &Value) -> CronJobSeen {
        let mut value = json!({
            "metadata": {"name": "a", "annotations": annotations},
            "spec": {"schedule": "* * * * *", "suspend": false},
        });
        for (part, fields) in more.as_object().expect("parts") {
            let into = value.as_object_mut().expect("an object").entry(part).or_insert(json!({}));
            into.as_object_mut().expect("an object").extend(fields.as_object().expect("f").clone());
        }
        serde_json::from_value(value).expect("a CronJob")
    }

    fn plain() -> CronJobSeen {
        cron_job(&json!({}), &json!({}))
    }

    fn held() -> CronJobSeen {
        let annotations = json!({ADOPTED_BY: "default", SUSPEND: "false"});
        cron_job(&annotations, &json!({"spec": {"suspend": true}}))
    }

    const ACCEPTED: Beside = Beside {
        whose: Whose::Ours,
        is_of_adopter: true,
        is_same: true,
        stands: Stands::Accepted,
        was_changed: false,
        jobless: None,
    };

    #[test]
    fn a_cron_job_is_adopted_by_whom_its_annotation_names_or_who_takes_all() {
        let asks = |adopt: &str| cron_job(&json!({ADOPT: adopt}), &json!({}));
        let annotated = [("default", Takes::Annotated), ("other", Takes::Annotated)];
        let all = [("b", Takes::All), ("a", Takes::All), ("off", Takes::None)];
        for (cron_job, engines, expected) in [
            (plain(), &annotated[..], None),
            (asks("true"), &annotated, Some("default")),
            (asks("other"), &annotated, Some("other")),
            (asks("nobody"), &annotated, None),
            (asks("false"), &annotated, None),
            (plain(), &all, Some("a")),
            (asks("b"), &all, Some("b")),
            (asks("false"), &all, None),
            (asks("off"), &all, None),
            (cron_job(&json!({ADOPTED_BY: "b"}), &json!({})), &all, Some("b")),
            (cron_job(&json!({ADOPTED_BY: "off"}), &json!({})), &all, Some("a")),
        ] {
            assert_eq!(adopter(&cron_job, engines), expected, "{:?}", cron_job.metadata);
        }
    }

    #[test]
    fn the_engine_has_it_before_it_is_suspended() {
        let own = Some("default");
        assert_eq!(decide(&plain(), own, None), Step::Apply);
        let waits = Beside { stands: Stands::Waits, ..ACCEPTED };
        assert_eq!(decide(&plain(), own, Some(&waits)), Step::Rest);
        assert_eq!(decide(&plain(), own, Some(&ACCEPTED)), Step::Suspend);
        assert_eq!(decide(&held(), own, Some(&ACCEPTED)), Step::Rest);
        let changed = Beside { is_same: false, ..ACCEPTED };
        assert_eq!(decide(&held(), own, Some(&changed)), Step::Apply);
        // Somebody took the suspension away.
        let annotations = json!({ADOPTED_BY: "default", SUSPEND: "false"});
        let resumed = cron_job(&annotations, &json!({}));
        assert_eq!(decide(&resumed, own, Some(&ACCEPTED)), Step::Suspend);
    }

    #[test]
    fn it_is_given_back_before_the_engine_forgets_it() {
        assert_eq!(decide(&held(), None, Some(&ACCEPTED)), Step::GiveBack);
        assert_eq!(decide(&plain(), None, Some(&ACCEPTED)), Step::Remove);
        assert_eq!(decide(&plain(), None, None), Step::Rest);
        // The annotations came with an export of an adopted one.
        assert_eq!(decide(&held(), None, None), Step::GiveBack);
        let of_another = Beside { is_of_adopter: false, ..ACCEPTED };
        assert_eq!(decide(&held(), Some("other"), Some(&of_another)), Step::GiveBack);
        assert_eq!(decide(&plain(), Some("other"), Some(&of_another)), Step::Remove);
    }

    #[test]
    fn a_time_that_its_controller_is_about_is_waited_for() {
        let last = |last: &str| {
            let status = json!({"status": {"lastScheduleTime": last}});
            cron_job(&json!({}), &status)
        };
        let second = |text: &str| text.parse::<jiff::Timestamp>().expect("a time").as_second();
        let (before, newest) = ("2026-11-27T10:00:00Z", "2026-11-27T10:01:00Z");
        let at = |seconds: i64| At {
            now: second(newest) + seconds,
            newest: Some(second(newest)),
            next: Some(second(newest) + 60),
            due: None,
        };
        let step = |cron_job: &CronJobSeen, seconds: i64| {
            next(cron_job, Some("default"), &Wish::Jobs, Some(&ACCEPTED), &at(seconds))
        };
        assert_eq!(step(&last(before), 0), Step::Later(LOOK_SECONDS));
        assert_eq!(step(&last(before), OWED_SECONDS - 1), Step::Later(LOOK_SECONDS));
        assert_eq!(step(&last(newest), 0), Step::Suspend);
        assert_eq!(step(&last(before), OWED_SECONDS), Step::Suspend, "it was left out");
        // The engine has it already, or nobody is to run it.
        let annotations = json!({ADOPTED_BY: "default", SUSPEND: "false"});
        assert_eq!(step(&cron_job(&annotations, &json!({})), 0), Step::Suspend);
        let rests = cron_job(&json!({}), &json!({"spec": {"suspend": true}}));
        assert_eq!(step(&rests, 0), Step::Suspend);
    }

    #[test]
    fn a_run_without_a_job_is_left_to_its_controller() {
        let last = "2026-11-27T10:00:00Z";
        let nominal = last.parse::<jiff::Timestamp>().expect("a time").as_second();
        let cron_job = cron_job(&json!({}), &json!({"status": {"lastScheduleTime": last}}));
        let ran = |nominal: i64, is_over: bool| Ran { nominal, is_over, succeeded: None };
        let next = Some(nominal + 120);
        for (ran, expected) in [
            (None, nominal + 119),
            (Some(ran(nominal, false)), nominal + 119),
            (Some(ran(nominal + 60, false)), nominal + 59),
            (Some(ran(nominal + 60, true)), nominal + 119),
        ] {
            assert_eq!(decided(&cron_job, next, ran.as_ref()), Some(expected), "{ran:?}");
        }
        assert_eq!(decided(&cron_job, None, None), None);
    }

    #[test]
    fn what_the_engine_refuses_stays_with_its_own_controller() {
        let own = Some("default");
        let refused = Beside { stands: Stands::Refused("no".into()), ..ACCEPTED };
        assert_eq!(decide(&plain(), own, Some(&refused)), Step::Tell("no".into()));
        // An edit that is refused: the engine still has what was before.
        let changed = Beside { was_changed: true, ..refused };
        assert_eq!(decide(&held(), own, Some(&changed)), Step::GiveBack);
        assert_eq!(decide(&plain(), own, Some(&changed)), Step::Remove);
    }

    #[test]
    fn an_object_of_somebody_else_is_left_alone() {
        let own = Some("default");
        let foreign = Beside { whose: Whose::Foreign, ..ACCEPTED };
        assert!(matches!(decide(&plain(), own, Some(&foreign)), Step::Tell(_)));
        assert_eq!(decide(&held(), own, Some(&foreign)), Step::GiveBack);
        assert_eq!(decide(&plain(), None, Some(&foreign)), Step::Rest);
        let leaving = Beside { whose: Whose::Leaving, ..ACCEPTED };
        assert_eq!(decide(&plain(), own, Some(&leaving)), Step::Rest);
    }

    #[test]
    fn jobs_that_bear_none_beside_them_are_over_first() {
        let active = json!({"active": [{"name": "a-1"}]});
        for (policy, is_adopted) in [("Allow", true), ("Forbid", false), ("Replace", false)] {
            let more = json!({"spec": {"concurrencyPolicy": policy}, "status": active});
            let step = decide(&cron_job(&json!({}), &more), Some("default"), None);
            assert_eq!(step == Step::Apply, is_adopted, "{policy}: {step:?}");
        }
    }

    #[test]
    fn one_that_is_being_deleted_takes_all_of_it_along() {
        let mut leaving = held();
        leaving.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-11-27T10:00:00Z")).expect("a time"));
        let at = At { now: 0, newest: None, next: None, due: None };
        assert_eq!(next(&leaving, None, &Wish::Nothing, Some(&ACCEPTED), &at), Step::Rest);
        assert_eq!(next(&leaving, Some("default"), &Wish::Jobs, None, &at), Step::Rest);
    }
}
