//! The steps that hold a client, and what can go wrong in each.
//!
//! Must not: turn errors into events or logs; that happens in one place after the round. Each error
//! names its step and says of which class it is; metrics carry the name of the class and the step.

pub mod apply;
pub mod dereference;
pub mod report;

use orrery_api::Reason;
use orrery_operand::OperandError;

use crate::certificates::issue::IssueError;
use crate::children::ChildKind;
use crate::group::grant::GrantError;
use crate::status::Progress;
use crate::system::Refusal;

/// What the runtime does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Tried again with growing pauses.
    Transient,
    /// Something expected is not there yet; looked for again.
    WaitingFor,
    /// Nothing is tried until the spec or an input changes.
    InvalidSpec,
    /// Ours to fix; tried again slowly, as it may depend on state.
    Bug,
}

/// Reading what the spec points to.
#[derive(Debug, thiserror::Error)]
pub enum DereferenceError {
    #[error("{what} {name} does not exist")]
    Missing { what: &'static str, name: String },
    #[error("Backup {name} has not succeeded yet")]
    Unfinished { name: String },
    /// The release of a catalog that the spec names.
    #[error("{0}")]
    Release(String),
    #[error("failed to read {what} {name}")]
    Read { what: &'static str, name: String, source: kube::Error },
}

/// Applying the children.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("failed to read {kind} {name}")]
    Read { kind: ChildKind, name: String, source: kube::Error },
    #[error("failed to apply {kind} {name}")]
    Patch { kind: ChildKind, name: String, source: kube::Error },
    #[error("failed to remove {kind} {name}")]
    Delete { kind: ChildKind, name: String, source: kube::Error },
    #[error("{kind} {name} exists and belongs to something else; rename or remove it")]
    Foreign { kind: ChildKind, name: String },
    #[error("{kind} {name} of an earlier object of this name is still being removed")]
    Leaving { kind: ChildKind, name: String },
    #[error("the certificate authority of the installation is not there yet")]
    NoAuthority,
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("failed to read the object itself")]
    ReadOwner { source: kube::Error },
    #[error("the object that is stored is newer than the one this round is about")]
    Outdated,
}

/// Telling what was found.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("failed to read the management token")]
    Token { source: kube::Error },
    #[error("failed to write the status")]
    Status { source: kube::Error },
    #[error("failed to create engine {name}")]
    CreateEngine { name: String, source: kube::Error },
}

/// Looking after the primary and its followers, and replacing pods.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    #[error("failed to read the management token")]
    Token { source: kube::Error },
    #[error(transparent)]
    Grant(#[from] crate::group::grant::GrantError),
    #[error("failed to grow volume {name}")]
    Grow { name: String, source: kube::Error },
    #[error("failed to give volume {name} up")]
    GiveUp { name: String, source: kube::Error },
    #[error("failed to replace pod {name}")]
    Replace { name: String, source: kube::Error },
}

/// Taking a snapshot into the archive.
#[derive(Debug, thiserror::Error)]
#[error("failed to take a snapshot: {0}")]
pub struct SnapshotError(pub OperandError);

/// Letting an object go after its last snapshot.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    #[error("failed to read {name}")]
    Read { name: String, source: kube::Error },
    #[error("failed to let the volumes of {name} go with it")]
    GiveAway { name: String, source: kube::Error },
    #[error("failed to write the finalizer")]
    Finalizer { source: kube::Error },
}

/// Making and dropping the Backups of a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("failed to create Backup {name}")]
    Create { name: String, source: kube::Error },
    #[error("failed to delete Backup {name}")]
    Delete { name: String, source: kube::Error },
}

/// Any step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("dereference: {0}")]
    Dereference(#[from] DereferenceError),
    #[error("validate: {0}")]
    Validate(#[from] Refusal),
    #[error("apply: {0}")]
    Apply(#[from] ApplyError),
    #[error("report: {0}")]
    Report(#[from] ReportError),
    #[error("group: {0}")]
    Group(#[from] GroupError),
    #[error("snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
    #[error("deletion: {0}")]
    Deletion(#[from] DeletionError),
    #[error("schedule: {0}")]
    Schedule(#[from] ScheduleError),
}

impl StepError {
    /// The class of the error.
    pub fn class(&self) -> Class {
        match self {
            Self::Dereference(
                DereferenceError::Missing { .. }
                | DereferenceError::Unfinished { .. }
                | DereferenceError::Release(_),
            )
            | Self::Apply(
                ApplyError::Leaving { .. } | ApplyError::Outdated | ApplyError::NoAuthority,
            ) => Class::WaitingFor,
            Self::Validate(_)
            | Self::Apply(ApplyError::Foreign { .. })
            | Self::Group(GroupError::Grant(GrantError::Foreign { .. })) => Class::InvalidSpec,
            Self::Apply(ApplyError::Patch { source: kube::Error::Api(status), .. })
                if status.is_invalid() =>
            {
                Class::InvalidSpec
            }
            // The engine or its archive has a trouble of its own, which may pass.
            Self::Snapshot(_) => Class::Transient,
            other => other.kube().map_or(Class::Bug, kube_class),
        }
    }

    /// Name of the step and the class, for metrics.
    pub fn label(&self) -> &'static str {
        match (self, self.class()) {
            (Self::Dereference(_), Class::WaitingFor) => "DereferenceWaitingFor",
            (Self::Dereference(_), Class::Bug) => "DereferenceBug",
            (Self::Dereference(_), _) => "DereferenceTransient",
            (Self::Validate(_), _) => "ValidateInvalidSpec",
            (Self::Apply(_), Class::Transient) => "ApplyTransient",
            (Self::Apply(_), Class::WaitingFor) => "ApplyWaitingFor",
            (Self::Apply(_), Class::InvalidSpec) => "ApplyInvalidSpec",
            (Self::Apply(_), Class::Bug) => "ApplyBug",
            (Self::Group(_), Class::Bug) => "GroupBug",
            (Self::Group(_), Class::InvalidSpec) => "GroupInvalidSpec",
            (Self::Group(_), _) => "GroupTransient",
            (Self::Snapshot(_), _) => "SnapshotTransient",
            (Self::Deletion(_), Class::Bug) => "DeletionBug",
            (Self::Deletion(_), _) => "DeletionTransient",
            (Self::Schedule(_), Class::Bug) => "ScheduleBug",
            (Self::Schedule(_), _) => "ScheduleTransient",
            (Self::Report(_), Class::Bug) => "ReportBug",
            (Self::Report(_), _) => "ReportTransient",
        }
    }

    /// What the status says about it.
    pub fn progress(&self) -> Progress {
        let message = self.text();
        match self {
            Self::Validate(refusal) => Progress::Refused(refusal.clone()),
            Self::Dereference(DereferenceError::Missing { .. } | DereferenceError::Release(_)) => {
                Progress::Waiting { reason: Reason::RefNotFound, message }
            }
            Self::Dereference(DereferenceError::Unfinished { .. }) => {
                Progress::Waiting { reason: Reason::BackupUnfinished, message }
            }
            Self::Apply(ApplyError::Foreign { .. })
            | Self::Group(GroupError::Grant(GrantError::Foreign { .. })) => {
                Progress::Refused(Refusal::object(Reason::Conflict, message))
            }
            Self::Apply(_) if self.class() == Class::InvalidSpec => {
                Progress::Refused(Refusal::object(Reason::RefusedByServer, message))
            }
            Self::Apply(
                ApplyError::Leaving { .. } | ApplyError::Outdated | ApplyError::NoAuthority,
            ) => Progress::Waiting { reason: Reason::Progressing, message },
            _ => Progress::Failed { reason: Reason::ApplyFailed, message },
        }
    }

    /// The error with the cause below it.
    pub fn text(&self) -> String {
        match self.kube() {
            Some(kube::Error::Api(status)) => format!("{self}: {}", status.message),
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    fn kube(&self) -> Option<&kube::Error> {
        match self {
            Self::Dereference(DereferenceError::Read { source, .. })
            | Self::Apply(
                ApplyError::Read { source, .. }
                | ApplyError::ReadOwner { source }
                | ApplyError::Patch { source, .. }
                | ApplyError::Delete { source, .. },
            )
            | Self::Report(
                ReportError::Token { source }
                | ReportError::Status { source }
                | ReportError::CreateEngine { source, .. },
            )
            | Self::Group(
                GroupError::Token { source }
                | GroupError::Grant(
                    GrantError::Read { source, .. } | GrantError::Write { source, .. },
                )
                | GroupError::Grow { source, .. }
                | GroupError::GiveUp { source, .. }
                | GroupError::Replace { source, .. },
            )
            | Self::Deletion(
                DeletionError::Read { source, .. }
                | DeletionError::GiveAway { source, .. }
                | DeletionError::Finalizer { source },
            )
            | Self::Schedule(
                ScheduleError::Create { source, .. } | ScheduleError::Delete { source, .. },
            ) => Some(source),
            _ => None,
        }
    }
}

/// Whether trying again can help.
fn kube_class(error: &kube::Error) -> Class {
    match error {
        kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => {
            Class::Bug
        }
        _ => Class::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn patch(code: u16, reason: &str) -> StepError {
        let status = Status::failure("m", reason).with_code(code).boxed();
        let (kind, name) = (ChildKind::StatefulSet, "a-kv".to_owned());
        ApplyError::Patch { kind, name, source: kube::Error::Api(status) }.into()
    }

    #[test]
    fn p3_each_error_has_its_class() {
        let kind = ChildKind::Service;
        let cases = [
            (patch(500, "InternalError"), Class::Transient),
            (patch(429, "TooManyRequests"), Class::Transient),
            (patch(409, "Conflict"), Class::Transient),
            (patch(403, "Forbidden"), Class::Transient),
            (patch(422, "Invalid"), Class::InvalidSpec),
            (ApplyError::Foreign { kind, name: "a".into() }.into(), Class::InvalidSpec),
            (ApplyError::Leaving { kind, name: "a".into() }.into(), Class::WaitingFor),
            (ApplyError::Outdated.into(), Class::WaitingFor),
            (
                DereferenceError::Missing { what: "Secret", name: "s".into() }.into(),
                Class::WaitingFor,
            ),
            (DereferenceError::Release("m".into()).into(), Class::WaitingFor),
            (Refusal::object(Reason::InvalidSpec, "x").into(), Class::InvalidSpec),
        ];
        for (error, class) in cases {
            assert_eq!(error.class(), class, "{error}");
        }
    }
}
