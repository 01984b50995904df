//! One authority per installation, and the certificates it gives to the pods of every object.
//!
//! | module | job |
//! |---|---|
//! | [`issue`] | keys and certificates, from a time and names: pure but for the randomness of keys |
//! | [`authority`] | what the Secret of the authority holds, and what becomes of it next: pure |
//! | [`mark`] | what the Secret of an object says of its certificate, beside it |
//! | [`keeper`] | the Secret of the authority: made, read, changed |
//!
//! The certificates of objects are written where all children are, in `step::apply::certificate`.
//!
//! Invariants: an authority signs only after every pod trusts it, and is trusted for as long as any
//! pod shows a certificate of it; so a new authority never makes a connection fail. The private keys
//! are in Secrets and in the memory of processes, and nowhere else.

pub mod authority;
pub mod issue;
pub mod keeper;
pub mod mark;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;

use crate::children::store::CachedPod;
use crate::redacted::Redacted;
pub use keeper::Certificates;
pub use mark::Mark;

#[cfg(test)]
mod tests;

/// The time, as a seam: tests shift it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// Where the authority is kept and how long things live.
#[derive(Debug, Clone)]
pub struct AuthorityOptions {
    /// The operator's own namespace.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Whether pods are built with certificates. Those that were are spoken to by them either way.
    pub gives: bool,
    /// Life of an authority. A new one is made when a third of it is left.
    pub authority_life: Duration,
    /// Life of a certificate. A new one is made when a third of it is left.
    pub certificate_life: Duration,
    /// How long the next authority is published before it signs, and the one before is trusted after
    /// it no longer does: the time clients have that read the authorities of an object.
    pub overlap: Duration,
    /// Pause between two looks at the Secret of the authority.
    pub look: Duration,
    pub clock: Clock,
}

const DAY: Duration = Duration::from_hours(24);

impl AuthorityOptions {
    /// The defaults for a Secret.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            gives: true,
            authority_life: 5 * 365 * DAY,
            certificate_life: 90 * DAY,
            overlap: DAY,
            look: Duration::from_secs(30),
            clock: Clock::default(),
        }
    }
}

/// A client for a pod, over mutual TLS when the pod was built with a certificate. What was built
/// with one is never spoken to without.
pub fn connect(
    certificates: Option<&Certificates>,
    pod: &CachedPod,
    token: Option<&Redacted<String>>,
) -> Result<OperandClient, OperandError> {
    let address = pod.management_address();
    let address = address.ok_or_else(|| OperandError::Unavailable("it has no address".into()))?;
    let token = token.map(|token| token.expose().as_str());
    let Some(name) = &pod.identity else { return OperandClient::new(&address, token) };
    let caller = certificates.and_then(|certificates| certificates.caller(name));
    let caller = caller.ok_or_else(|| {
        OperandError::Unavailable("the operator has no certificate to show to it".into())
    })?;
    OperandClient::secured(&address, token, caller)
}
