//! What to do about a Lease, as a pure function.
//!
//! Must not: compare with another node's clock. A Lease expires when it has not changed for its
//! duration, measured by our own monotonic clock since we first saw this version of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::group::{DRIFT, LEASE};

/// A Lease as we see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who holds it; none after an orderly release.
    pub holder: Option<String>,
    /// How long it is valid after a change.
    pub duration: Duration,
    /// When we first saw this version of it.
    pub since: Instant,
    /// Whether nothing that its holder confirms outlasts it.
    pub is_bounded: bool,
}

impl Seen {
    /// When everything is over that the holder confirmed, and whoever held it before; none when that
    /// is not known. What the latter confirmed may be as young as the holder's first version of the
    /// Lease, so the Lease must be longer than that of a primary.
    pub fn over(&self) -> Option<Instant> {
        let is_held = self.holder.as_ref().is_some_and(|holder| !holder.is_empty());
        let is_long = self.duration >= LEASE + DRIFT;
        (is_held && is_long && self.is_bounded).then(|| self.since + self.duration)
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nobody holds it: try to take it.
    Acquire,
    /// We hold it: say so again.
    Renew,
    /// Somebody else holds it.
    Yield,
}

/// Decides about `lease` (none: there is no such object) for the holder named `me`.
pub fn decide(lease: Option<&Seen>, me: &str, now: Instant) -> Decision {
    let Some(lease) = lease else {
        return Decision::Acquire;
    };
    match lease.holder.as_deref() {
        None | Some("") => Decision::Acquire,
        Some(holder) if holder == me => Decision::Renew,
        Some(_) if now >= lease.since + lease.duration => Decision::Acquire,
        Some(_) => Decision::Yield,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_table() {
        let start = Instant::now();
        let held = |holder: &str| Seen {
            holder: Some(holder.to_owned()),
            duration: Duration::from_secs(15),
            since: start,
            is_bounded: false,
        };
        let released = Seen { holder: None, ..held("x") };
        let cases = [
            ("no lease", None, 0, Decision::Acquire),
            ("released", Some(released), 0, Decision::Acquire),
            ("released by an empty name", Some(held("")), 0, Decision::Acquire),
            ("ours", Some(held("me")), 0, Decision::Renew),
            ("ours, late", Some(held("me")), 60, Decision::Renew),
            ("theirs, fresh", Some(held("you")), 0, Decision::Yield),
            ("theirs, a moment before expiry", Some(held("you")), 14, Decision::Yield),
            ("theirs, at expiry", Some(held("you")), 15, Decision::Acquire),
            ("theirs, long expired", Some(held("you")), 600, Decision::Acquire),
        ];
        for (name, lease, seconds, expected) in cases {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(decide(lease.as_ref(), "me", now), expected, "{name}");
        }
    }

    #[test]
    fn what_a_bounded_holder_confirmed_is_over_when_its_lease_is() {
        let since = Instant::now();
        let duration = Duration::from_secs(5);
        let seen = |holder: Option<&str>, is_bounded| {
            Seen { holder: holder.map(str::to_owned), duration, since, is_bounded }.over()
        };
        assert_eq!(seen(Some("a"), true), Some(since + duration));
        assert_eq!(seen(Some("a"), false), None, "an earlier release");
        assert_eq!(seen(Some(""), true), None, "released: its last confirmation may be young");
        assert_eq!(seen(None, true), None);
        let short = Duration::from_secs(3);
        let short = Seen { duration: short, holder: Some("a".into()), since, is_bounded: true };
        assert_eq!(short.over(), None, "what was confirmed before it may outlast it");
    }
}
