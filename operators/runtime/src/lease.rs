//! Which of several operators writes: one Lease, renewed in time or given up.
//!
//! Must not: trust a Lease it could not renew. A leader that cannot renew by its renew deadline
//! closes the gate and ends, before the Lease can expire for others (fail-stop).
//!
//! Invariants: `retry < renew < duration`, checked at start; the gate's deadline counts from the
//! moment a renewal was *sent*, not from its answer; every write carries the resourceVersion it was
//! decided on, so of two candidates one gets a conflict and looks again.
//!
//! The times are shorter than those of most controllers: while nobody leads, no lost primary is
//! replaced.

pub mod decide;

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use decide::{Decision, Seen, decide};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

/// Annotation of the Lease whose value is the holder, if that one lets nothing that it confirms
/// outlast the Lease. An earlier release that takes the Lease leaves the name of another there.
const BOUNDED: &str = "orrery.dev/bounded";

/// How leadership is arranged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    pub name: String,
    pub namespace: String,
    /// Name of this process, unique per start: pod name and a random part.
    pub identity: String,
    /// How long others wait after the last renewal. Whole seconds.
    pub duration: Duration,
    /// When this process gives up if it could not renew.
    pub renew: Duration,
    /// Pause between attempts.
    pub retry: Duration,
}

impl LeaseOptions {
    /// 5 s, 4 s, 1 s.
    pub fn new(namespace: &str, identity: &str) -> Self {
        Self {
            name: "orrery-operator".to_owned(),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(5),
            renew: Duration::from_secs(4),
            retry: Duration::from_secs(1),
        }
    }

    /// Refuses times that would let two leaders write.
    pub fn check(&self) -> Result<(), LeaseError> {
        let ordered = self.retry < self.renew && self.renew < self.duration;
        let whole = self.duration.subsec_nanos() == 0 && !self.retry.is_zero();
        (ordered && whole).then_some(()).ok_or(LeaseError::Times {
            duration: self.duration,
            renew: self.renew,
            retry: self.retry,
        })
    }
}

/// Why leadership ended or could not start.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(
        "lease times must be retry < renew < duration (whole seconds): {retry:?}, {renew:?}, {duration:?}"
    )]
    Times { duration: Duration, renew: Duration, retry: Duration },
    #[error("failed to renew the lease within {0:?}; another operator may take over")]
    Lost(Duration),
    #[error("the lease was taken by {0}")]
    Taken(String),
}

/// Whether writes may leave this process.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<GateState>,
    alone_since: OnceLock<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum GateState {
    Closed,
    Until { renew: Instant, expiry: Instant },
    Open,
}

impl Gate {
    /// Lets nothing out until a lease is held.
    pub fn closed() -> Self {
        Self::new(GateState::Closed)
    }

    /// Lets everything out: for a single process without election.
    pub fn open() -> Self {
        Self::new(GateState::Open)
    }

    fn new(state: GateState) -> Self {
        Self { state: Mutex::new(state), alone_since: OnceLock::new() }
    }

    /// Since when nothing that a leader before this one confirmed holds any more; none when that is
    /// not known.
    pub fn alone_since(&self) -> Option<Instant> {
        self.alone_since.get().copied()
    }

    /// None when nothing may be written now; otherwise when an answer is no longer worth waiting
    /// for, because others may hold the lease by then.
    pub fn writes_until(&self) -> Option<Instant> {
        let now = Instant::now();
        match *self.lock() {
            GateState::Closed => None,
            GateState::Until { renew, expiry } => (now < renew).then_some(expiry),
            GateState::Open => Some(now + Duration::from_hours(1)),
        }
    }

    fn extend(&self, sent: Instant, options: &LeaseOptions) {
        let (renew, expiry) = (sent + options.renew, sent + options.duration);
        *self.lock() = GateState::Until { renew, expiry };
    }

    fn close(&self) {
        *self.lock() = GateState::Closed;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The loop around [`decide`].
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    options: LeaseOptions,
    gate: std::sync::Arc<Gate>,
    leading: watch::Sender<bool>,
    seen: Option<(String, Seen)>,
    renewed: Option<Instant>,
}

impl Elector {
    /// `client` must not pass through the gate itself.
    pub fn new(
        client: kube::Client,
        options: LeaseOptions,
        gate: std::sync::Arc<Gate>,
    ) -> Result<Self, LeaseError> {
        options.check()?;
        let api = Api::namespaced(client, &options.namespace);
        let (leading, _) = watch::channel(false);
        Ok(Self { api, options, gate, leading, seen: None, renewed: None })
    }

    /// Turns true once this process leads. It never turns false again: losing ends the process.
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    /// Runs until the lease is lost. Dropping it anywhere is safe; call [`Elector::release`] after
    /// everything that writes has stopped.
    pub async fn run(&mut self) -> LeaseError {
        loop {
            let sent = Instant::now();
            let attempt = timeout(self.attempt_limit(sent), self.round()).await;
            let failed = !matches!(attempt, Ok(Ok(_)));
            match attempt {
                Ok(Ok(true)) => {
                    self.renewed = Some(sent);
                    self.gate.extend(sent, &self.options);
                    if !self.leading.send_replace(true) {
                        info!(identity = self.options.identity, "leading");
                    }
                }
                Ok(Ok(false)) if self.renewed.is_some() => {
                    self.gate.close();
                    let holder = self.seen.take().and_then(|(_, seen)| seen.holder);
                    return LeaseError::Taken(holder.unwrap_or_default());
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => warn!(%error, "failed to look after the lease"),
                Err(_) => warn!("no answer about the lease in time"),
            }
            let pause = self.pause(failed);
            if let Some(renewed) = self.renewed
                && renewed.elapsed() + pause >= self.options.renew
            {
                // One more pause would pass the deadline: stop while the lease is still ours.
                self.gate.close();
                return LeaseError::Lost(self.options.renew);
            }
            sleep(pause).await;
        }
    }

    /// How long one attempt may take: a leader's second one must fit in before its deadline, as what
    /// hung once may be answered the next time.
    fn attempt_limit(&self, now: Instant) -> Duration {
        let half = self.options.renew / 2;
        let left = |renewed: Instant| {
            (renewed + self.options.renew).saturating_duration_since(now).min(half)
        };
        self.renewed.map_or(half, left)
    }

    /// Until the next attempt: a leader that failed has little time, and somebody else's lease is
    /// taken the moment it expires.
    fn pause(&self, failed: bool) -> Duration {
        let retry = self.options.retry;
        if self.renewed.is_some() {
            return if failed { retry / 5 } else { retry };
        }
        // How late a renewal is seen is how late the lease is taken.
        let look = retry / 2;
        let Some((_, seen)) = &self.seen else { return look };
        let left = (seen.since + seen.duration).saturating_duration_since(Instant::now());
        // One that expired and could not be taken is not asked for without a pause.
        if left.is_zero() { look } else { look.min(left) }
    }

    /// Gives the lease up so that a standby need not wait. Nothing may be written afterwards.
    pub async fn release(&mut self) {
        self.gate.close();
        if self.renewed.take().is_none() {
            return;
        }
        let released = async {
            let mut lease = self.api.get(&self.options.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(self.options.identity.as_str()) {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                self.api.replace(&self.options.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(self.options.retry.max(Duration::from_secs(1)), released).await {
            Ok(Ok(())) => info!("lease released"),
            Ok(Err(error)) => warn!(%error, "failed to release the lease; it will expire"),
            Err(_) => warn!("no answer while releasing the lease; it will expire"),
        }
    }

    /// Reads, decides, writes once. True when the lease is ours afterwards.
    async fn round(&mut self) -> kube::Result<bool> {
        let lease = self.api.get_opt(&self.options.name).await?;
        let now = Instant::now();
        let seen = lease.as_ref().map(|lease| self.see(lease, now));
        let decision = decide(seen.as_ref(), &self.options.identity, now);
        if decision == Decision::Yield {
            return Ok(false);
        }
        let alone_since = seen.as_ref().and_then(Seen::over);
        let written = match lease {
            None => self.api.create(&PostParams::default(), &self.fresh()).await,
            Some(lease) => {
                let next = self.claimed(lease, decision);
                self.api.replace(&self.options.name, &PostParams::default(), &next).await
            }
        };
        match written {
            Ok(lease) => {
                self.see(&lease, now);
                if let (Decision::Acquire, Some(since)) = (decision, alone_since) {
                    // Set by the first acquisition, and there is no second.
                    let _ = self.gate.alone_since.set(since);
                }
                Ok(true)
            }
            // Somebody was faster: read and decide again in the next round.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                if self.renewed.is_none() {
                    Ok(false)
                } else {
                    Err(kube::Error::Api(status))
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Notes the version of the lease and since when it has been unchanged for us.
    fn see(&mut self, lease: &Lease, now: Instant) -> Seen {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        if let Some((known, seen)) = &self.seen
            && *known == version
        {
            return seen.clone();
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.unwrap_or(0).max(0);
        let duration = Duration::from_secs(seconds as u64);
        let mark = lease.metadata.annotations.as_ref().and_then(|all| all.get(BOUNDED));
        let is_bounded = mark.is_some() && mark == spec.holder_identity.as_ref();
        let seen = Seen { holder: spec.holder_identity, duration, since: now, is_bounded };
        self.seen = Some((version, seen.clone()));
        seen
    }

    fn fresh(&self) -> Lease {
        let metadata = ObjectMeta {
            name: Some(self.options.name.clone()),
            namespace: Some(self.options.namespace.clone()),
            ..ObjectMeta::default()
        };
        self.claimed(Lease { metadata, spec: None }, Decision::Acquire)
    }

    fn claimed(&self, mut lease: Lease, decision: Decision) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if decision == Decision::Acquire {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |n| n + 1));
        }
        spec.holder_identity = Some(self.options.identity.clone());
        spec.lease_duration_seconds = Some(self.options.duration.as_secs() as i32);
        spec.renew_time = Some(now);
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(BOUNDED.to_owned(), self.options.identity.clone());
        lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_the_wrong_order_are_refused() {
        let good = LeaseOptions::new("orrery", "a");
        assert!(good.check().is_ok());
        let slow = LeaseOptions { renew: good.duration, ..good.clone() };
        assert!(slow.check().is_err());
        let lazy = LeaseOptions { retry: good.renew, ..good.clone() };
        assert!(lazy.check().is_err());
        let odd = LeaseOptions { duration: Duration::from_millis(5_500), ..good };
        assert!(odd.check().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn p5_the_gate_closes_at_the_renew_deadline_before_the_lease_expires() {
        let options = LeaseOptions::new("orrery", "a");
        let gate = Gate::closed();
        assert!(gate.writes_until().is_none());
        let sent = Instant::now();
        gate.extend(sent, &options);
        assert_eq!(gate.writes_until(), Some(sent + options.duration));
        tokio::time::advance(Duration::from_millis(3_999)).await;
        assert!(gate.writes_until().is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(gate.writes_until().is_none());
    }
}
