//! The common status of a declared object, from what its engine said.
//!
//! Must not: guess. As long as the engine has not spoken about this generation, the object is not
//! ready, however well the engine is.

use orrery_api::{CommonStatus, ConditionSet, ConditionType, Reason, Time};

use crate::observation::Acceptance;
use crate::system::{Refusal, Standing};

/// How far a declared object came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredProgress {
    /// It cannot be carried out until it, or a sibling, changes.
    Refused(Refusal),
    /// The engine is not there (yet).
    Waiting { reason: Reason, message: String },
    /// The engine has not spoken about this generation; whether it serves an older one.
    Pending { older_accepted: bool },
    /// The engine has spoken about this generation; how the object is if it was accepted.
    Answered(Acceptance, Standing),
}

/// The common status to store.
pub fn summarise(
    generation: i64,
    stored: &CommonStatus,
    progress: &DeclaredProgress,
    now: Time,
) -> CommonStatus {
    use ConditionType::{Available, Degraded, Ready, Reconciling, Stalled};
    let set = ConditionSet::new(generation);
    let held = |set: ConditionSet, reason, message: &str, available: bool| {
        set.with(Ready, false, reason, message)
            .with(Reconciling, true, reason, message)
            .with(Stalled, false, reason, "")
            .with(Available, available, reason, "")
    };
    let stalled = |set: ConditionSet, reason, message: &str| {
        set.with(Ready, false, reason, message)
            .with(Reconciling, false, reason, "")
            .with(Stalled, true, reason, message)
            .with(Available, false, reason, "")
    };
    let set = match progress {
        DeclaredProgress::Refused(refusal) => {
            let message = match &refusal.field {
                Some(field) => format!("{field}: {}", refusal.message),
                None => refusal.message.clone(),
            };
            stalled(set, refusal.reason, &message)
        }
        DeclaredProgress::Waiting { reason, message } => held(set, *reason, message, false),
        DeclaredProgress::Pending { older_accepted } => {
            let message = "the engine has not taken this generation over yet";
            held(set, Reason::EngineNotReady, message, *older_accepted)
        }
        DeclaredProgress::Answered(answer, standing) if answer.accepted => {
            let accepted = (Reason::AcceptedByEngine, answer.message.clone());
            let (reason, message) = standing.resting.clone().unwrap_or(accepted);
            set.with(Ready, true, reason, message)
                .with(Reconciling, false, Reason::Settled, "")
                .with(Stalled, false, Reason::Settled, "")
                .with(Available, standing.resting.is_none(), reason, "")
        }
        DeclaredProgress::Answered(answer, _) => {
            let reason = answer.reason.parse().unwrap_or(Reason::RefusedByEngine);
            stalled(set, reason, &answer.message)
        }
    };
    let full = match progress {
        DeclaredProgress::Answered(answer, Standing { degraded: Some((reason, message)), .. })
            if answer.accepted =>
        {
            set.with(Degraded, true, *reason, message.as_str())
        }
        _ => set.with(Degraded, false, Reason::FullStrength, ""),
    };
    let done = matches!(progress, DeclaredProgress::Refused(_) | DeclaredProgress::Answered(..));
    CommonStatus {
        observed_generation: if done { Some(generation) } else { stored.observed_generation },
        conditions: full.merge(&stored.conditions, now),
        ..CommonStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::condition::is_true;

    fn ready_and_stalled(progress: &DeclaredProgress) -> (bool, bool, Option<i64>) {
        let now = Time::new(jiff::Timestamp::UNIX_EPOCH);
        let status = summarise(3, &CommonStatus::default(), progress, now);
        let is = |type_| is_true(&status.conditions, type_);
        (is(ConditionType::Ready), is(ConditionType::Stalled), status.observed_generation)
    }

    #[test]
    fn a_declared_object_is_ready_only_when_its_engine_accepted_it() {
        let accepted = Acceptance { generation: 3, accepted: true, ..Acceptance::default() };
        let refused = Acceptance { accepted: false, ..accepted.clone() };
        let waiting =
            DeclaredProgress::Waiting { reason: Reason::RefNotFound, message: String::new() };
        let invalid = Refusal::object(Reason::Conflict, "x");
        let cases = [
            (DeclaredProgress::Answered(accepted, Standing::default()), (true, false, Some(3))),
            (DeclaredProgress::Answered(refused, Standing::default()), (false, true, Some(3))),
            (DeclaredProgress::Pending { older_accepted: true }, (false, false, None)),
            (waiting, (false, false, None)),
            (DeclaredProgress::Refused(invalid), (false, true, Some(3))),
        ];
        for (progress, expected) in cases {
            assert_eq!(ready_and_stalled(&progress), expected, "{progress:?}");
        }
    }

    #[test]
    fn what_rests_as_told_is_ready_and_serves_nobody_and_trouble_degrades() {
        use orrery_api::condition::find;
        let accepted = Acceptance { generation: 3, accepted: true, ..Acceptance::default() };
        let standing = Standing {
            resting: Some((Reason::Suspended, "as told".into())),
            degraded: Some((Reason::Overdue, "late".into())),
            change: None,
        };
        let progress = DeclaredProgress::Answered(accepted, standing);
        let now = Time::new(jiff::Timestamp::UNIX_EPOCH);
        let status = summarise(3, &CommonStatus::default(), &progress, now);
        let reason = |type_| find(&status.conditions, type_).map(|c| c.reason.clone());
        assert!(is_true(&status.conditions, ConditionType::Ready));
        assert!(!is_true(&status.conditions, ConditionType::Available));
        assert_eq!(reason(ConditionType::Ready).as_deref(), Some("Suspended"));
        assert_eq!(reason(ConditionType::Degraded).as_deref(), Some("Overdue"));
        assert!(is_true(&status.conditions, ConditionType::Degraded));
    }
}
