//! What one client asked for and what it was told.

use std::fmt;

/// What became of an operation, as far as its client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<O> {
    /// It was answered.
    Done { returned_us: u64, output: O },
    /// The service said that nothing was done, which is a promise.
    Failed,
    /// No answer came. It may have happened at any time after its invocation, or never.
    Unknown,
}

/// One operation. All times of a history are of one clock that does not go backwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Who asked; for reports only.
    pub client: u32,
    pub invoked_us: u64,
    pub input: I,
    pub outcome: Outcome<O>,
    /// A read whose answer may be older than its invocation, because the service says so: it must have
    /// been right at some time before it returned. It means nothing for what writes.
    pub may_be_old: bool,
}

impl<I, O> Operation<I, O> {
    /// When it was answered, if it was.
    pub fn returned_us(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Done { returned_us, .. } => Some(returned_us),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }

    pub fn output(&self) -> Option<&O> {
        match &self.outcome {
            Outcome::Done { output, .. } => Some(output),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }

    pub fn is_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed)
    }

    /// Client and time, as reports name an operation.
    pub(crate) fn place(&self) -> Place {
        Place {
            client: self.client,
            invoked_us: self.invoked_us,
            returned_us: self.returned_us(),
            may_be_old: self.may_be_old,
        }
    }
}

/// How reports show who did something, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    client: u32,
    invoked_us: u64,
    returned_us: Option<u64>,
    may_be_old: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |us: u64| us as f64 / 1000.0;
        write!(f, "client {:2} [{:9.3} ms, ", self.client, milliseconds(self.invoked_us))?;
        match self.returned_us {
            Some(returned_us) => write!(f, "{:9.3} ms]", milliseconds(returned_us))?,
            None => write!(f, "no answer   ]")?,
        }
        if self.may_be_old { write!(f, " (may be old)") } else { Ok(()) }
    }
}
