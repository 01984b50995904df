//! What can be wrong with a rule or with the name of a zone.

use thiserror::Error;

/// Why a rule was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The text breaks its grammar, or names what does not exist (`60` as a minute).
    #[error("failed to read {field} at byte {at}: {message}")]
    Syntax {
        /// Which part, such as `minute` or `BYDAY`.
        field: &'static str,
        /// Offset in bytes in the text as it was given.
        at: usize,
        message: String,
    },
    /// Well formed, and true of no instant of the years 1970 to 2199.
    #[error("never fires: {message}")]
    NeverFires { message: String },
    #[error(transparent)]
    Zone(#[from] ZoneError),
    #[error("failed to read a text of {bytes} bytes: {bytes_max} are the most")]
    TooLong { bytes: usize, bytes_max: usize },
}

impl RuleError {
    pub(crate) fn syntax(field: &'static str, at: usize, message: impl Into<String>) -> Self {
        Self::Syntax { field, at, message: message.into() }
    }

    pub(crate) fn never(message: impl Into<String>) -> Self {
        Self::NeverFires { message: message.into() }
    }

    /// The same error in a text in which this one's begins at `by`.
    pub(crate) fn shifted(self, by: usize) -> Self {
        match self {
            Self::Syntax { field, at, message } => Self::Syntax { field, at: at + by, message },
            other => other,
        }
    }
}

/// Why there is no such zone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ZoneError {
    #[error("unknown time zone `{name}`{}", hint(nearest.as_deref()))]
    Unknown {
        name: String,
        /// The known name that is spelled most like it.
        nearest: Option<String>,
    },
    #[error("failed to read the definition of time zone `{name}`: {message}")]
    Malformed { name: String, message: String },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Longest text that is read at all. No honest rule comes near; what is longer costs work.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;

/// Refuses what is too long or not ASCII.
pub(crate) fn check_text(text: &str, field: &'static str) -> Result<(), RuleError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(RuleError::TooLong { bytes: text.len(), bytes_max: TEXT_BYTES_MAX });
    }
    match text.char_indices().find(|(_, c)| !c.is_ascii()) {
        Some((at, c)) => Err(RuleError::syntax(field, at, format!("`{c}` is not ASCII"))),
        None => Ok(()),
    }
}
