//! Why a call did not come to its end, and how long one may take.

use std::io;
use std::time::{Duration, Instant};

use orrery_journal::CarrierError;

use crate::wire::Malformed;

/// Longest time of a call that moves little.
pub const CALL: Duration = Duration::from_secs(10);
/// What the slowest connection of use moves in a second, in bytes.
pub const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;

/// Why a call did not come to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another try may go better, after asking anew where things are. Whether it was done is not known.
    Again(String),
    /// No broker lets itself be connected to.
    Away(String),
    /// No use trying again.
    Final(CarrierError),
}

impl From<CarrierError> for Failure {
    fn from(error: CarrierError) -> Self {
        Self::Final(error)
    }
}

impl From<Malformed> for Failure {
    fn from(Malformed: Malformed) -> Self {
        Self::Again("an answer cannot be read".to_owned())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Again(format!("the connection broke off: {error}"))
    }
}

impl Failure {
    pub(crate) fn unusable(reason: impl Into<String>) -> Self {
        Self::Final(CarrierError::Unusable { reason: reason.into() })
    }
}

/// Error codes that decide something here; all others only have to be named.
pub(crate) mod code {
    pub(crate) const NONE: i16 = 0;
    pub(crate) const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub(crate) const TOPIC_ALREADY_EXISTS: i16 = 36;
}

/// What an error code of a broker comes to.
pub(crate) fn check(code: i16, what: &str) -> Result<(), Failure> {
    let unusable = |why: &str| Err(Failure::unusable(format!("failed to {what}: {why}")));
    let name = match code {
        code::NONE => return Ok(()),
        code::OFFSET_OUT_OF_RANGE => "there is nothing (any more) at this offset",
        3 => "the broker does not know the topic (yet): was it removed?",
        5 => "no broker leads the partition",
        6 => "the broker does not lead the partition (any more)",
        7 => "the replicas took too long",
        19 | 20 => "there are fewer replicas in sync than min.insync.replicas asks for",
        10 | 18 => {
            return unusable("it is larger than message.max.bytes: leave that at its default");
        }
        17 => return unusable("the broker refuses the name of the topic"),
        29 => {
            return unusable(
                "the user may not use the topic: grant it Create, Describe, \
            DescribeConfigs, Read, Write and Delete",
            );
        }
        31 => return unusable("the user may not do that in the cluster: grant it Create"),
        33 => return unusable("the broker does not know the mechanism of sasl.mechanism"),
        35 => return unusable("the broker is too old"),
        38 => return unusable("there are fewer brokers than the replication factor asks for"),
        40 => return unusable("the broker refuses a setting of the topic"),
        58 => return unusable("the broker refuses the user or the password"),
        65 => return unusable("the user may not use the log: grant it Read"),
        _ => return Err(Failure::Again(format!("failed to {what}: the broker says error {code}"))),
    };
    Err(Failure::Again(format!("failed to {what}: {name} (error {code})")))
}

/// When a call must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// That of a call which moves so many bytes.
    pub(crate) fn of(bytes: u64) -> Self {
        let moving = Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST_BYTES_PER_SECOND);
        Self(Instant::now() + CALL + moving)
    }

    /// No later than this and no later than `most` from now.
    pub(crate) fn within(self, most: Duration) -> Self {
        Self(self.0.min(Instant::now() + most))
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// What is left, to be waited at a socket; never nothing, which would be for ever.
    pub(crate) fn patience(self) -> io::Result<Duration> {
        let left = self.left();
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
        }
        Ok(left)
    }

    pub(crate) fn millis(self) -> i32 {
        self.left().as_millis().clamp(1, 300_000) as i32
    }
}
