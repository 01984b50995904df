//! What may become a job: everything that can be said before it is one.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;

use orrery_api::scheduler::{DeclaredSchedule, ScheduleSpec};
use orrery_recurrence::{RuleError, Zone, ZoneError};

use super::Engine;
use crate::machine::definition::{DefinitionError, canonical, zone_name};
use crate::machine::{Definition, Edit};

/// Longest name of a job, in bytes.
const NAME_BYTES_MAX: usize = 253;
/// Longest definition without the body of its action, in bytes.
const DEFINITION_BYTES_MAX: usize = 1 << 20;

/// Why something cannot be a job, as one CamelCase word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    InvalidSpec,
    InvalidExpression,
    UnknownTimeZone,
    TargetMissing,
    NeverFires,
    NotYetSupported,
    Conflict,
    QuotaExceeded,
}

impl RefusalReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::InvalidExpression => "InvalidExpression",
            Self::UnknownTimeZone => "UnknownTimeZone",
            Self::TargetMissing => "TargetMissing",
            Self::NeverFires => "NeverFires",
            Self::NotYetSupported => "NotYetSupported",
            Self::Conflict => "Conflict",
            Self::QuotaExceeded => "QuotaExceeded",
        }
    }
}

/// Why something cannot be a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: RefusalReason,
    pub message: String,
    /// Where in the expression the error is, in bytes from its beginning.
    pub position: Option<usize>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}

impl Refusal {
    pub fn new(reason: RefusalReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), position: None }
    }
}

impl From<ZoneError> for Refusal {
    fn from(error: ZoneError) -> Self {
        Self::new(RefusalReason::UnknownTimeZone, error.to_string())
    }
}

impl From<DefinitionError> for Refusal {
    fn from(error: DefinitionError) -> Self {
        let message = error.to_string();
        match error {
            DefinitionError::Rule(RuleError::Syntax { at, .. }) => {
                Self { reason: RefusalReason::InvalidExpression, message, position: Some(at) }
            }
            DefinitionError::Rule(RuleError::NeverFires { .. }) => {
                Self::new(RefusalReason::NeverFires, message)
            }
            DefinitionError::Rule(RuleError::Zone(_)) => {
                Self::new(RefusalReason::UnknownTimeZone, message)
            }
            DefinitionError::Rule(_) | DefinitionError::Every(_) | DefinitionError::NoRule => {
                Self::new(RefusalReason::InvalidExpression, message)
            }
            DefinitionError::Json(_) | DefinitionError::Moment { .. } => {
                Self::new(RefusalReason::InvalidSpec, message)
            }
        }
    }
}

/// Something that may become a job.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub name: String,
    pub text: Arc<str>,
    pub payload: Option<Vec<u8>>,
    pub zone: Arc<Zone>,
    pub generation: i64,
    pub tenant: Arc<str>,
    /// Whom it follows.
    pub leader: Option<String>,
    /// The moment of a job with a single one.
    pub at: Option<i64>,
}

impl Prepared {
    /// What is asked of the machine for it.
    pub(super) fn edit(&self) -> Edit<'_> {
        Edit {
            name: &self.name,
            definition: &self.text,
            payload: self.payload.as_deref(),
            generation: self.generation,
            at: self.at,
        }
    }
}

impl Engine {
    /// Checks a job of this name. `now` is the present second, of which it is asked whether anything is
    /// to come.
    pub fn check(
        &self,
        name: &str,
        declared: DeclaredSchedule,
        generation: i64,
        now: i64,
    ) -> Result<Prepared, Refusal> {
        check_name(name)?;
        let spec = &declared.spec;
        // What objects may say, the API server has checked.
        if generation == 0 {
            super::rules::check(spec)?;
        }
        self.check_action(spec, generation)?;
        let zone = self.zones.get(zone_name(spec))?;
        let leader = spec.when.after.as_ref().map(|after| after.schedule.clone());
        let at = spec.when.at.as_deref().and_then(|at| jiff::Timestamp::from_str(at).ok());
        let (text, payload) = canonical(declared);
        if text.len() > DEFINITION_BYTES_MAX {
            let message = format!("the definition has {} bytes, above 1 MiB", text.len());
            return Err(Refusal::new(RefusalReason::InvalidSpec, message));
        }
        let definition = Definition::compile(&text, 0, &zone)?;
        let times = definition.times_of(name, &zone)?;
        // A moment that has just gone by is still run; see `Turn::put`.
        let since = now - crate::machine::decide::MISSED_AFTER_SECONDS - 1;
        if let Some(times) = times
            && generation == 0
            && times.next_after(since).is_none()
        {
            let message = "nothing is to come: all times of the rule are in the past";
            return Err(Refusal::new(RefusalReason::NeverFires, message));
        }
        Ok(Prepared {
            name: name.to_owned(),
            text: text.into(),
            payload,
            zone,
            generation,
            leader,
            tenant: Arc::clone(&definition.policies.tenant),
            at: at.map(jiff::Timestamp::as_second),
        })
    }

    fn check_action(&self, spec: &ScheduleSpec, generation: i64) -> Result<(), Refusal> {
        let action = &spec.action;
        let others =
            [("taskQueue", action.task_queue.is_some()), ("workflow", action.workflow.is_some())];
        if let Some((other, _)) = others.iter().find(|(_, is_set)| *is_set) {
            let message = format!("action {other} is not carried out yet: use http or grpc");
            return Err(Refusal::new(RefusalReason::NotYetSupported, message));
        }
        if action.kubernetes_job.is_some() && generation == 0 {
            let message = "action kubernetesJob is for Schedule objects alone: whoever may write the \
                           object may have the Job made, and this API knows nobody's rights in the \
                           cluster";
            return Err(Refusal::new(RefusalReason::InvalidSpec, message));
        }
        if spec.template.is_some() {
            let message =
                "template is for Schedule objects alone: this API takes the jobs themselves";
            return Err(Refusal::new(RefusalReason::InvalidSpec, message));
        }
        let http = action.http.as_ref().and_then(|http| http.target.as_deref());
        let target = http.or(action.grpc.as_ref().map(|grpc| grpc.target.as_str()));
        if let Some(target) = target.filter(|target| !self.resolver.has(target)) {
            return Err(Refusal::new(RefusalReason::TargetMissing, self.resolver.unknown(target)));
        }
        let pool = action.pooled_pod.as_ref().map(|pooled| pooled.pool.as_str());
        let pools = &self.resolver.pools;
        if let Some(pool) = pool.filter(|pool| !pools.has(pool)) {
            return Err(Refusal::new(RefusalReason::TargetMissing, pools.unknown(pool)));
        }
        if action.kubernetes_job.is_some() {
            return Ok(());
        }
        let built = self.resolver.build(spec, None, None);
        built.map(drop).map_err(|message| Refusal::new(RefusalReason::InvalidSpec, message))
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
        let message = format!(
            "{name:?} is no name of a job: 1 to {NAME_BYTES_MAX} of letters, digits and -_.:@"
        );
        return Err(Refusal::new(RefusalReason::InvalidSpec, message));
    }
    Ok(())
}
