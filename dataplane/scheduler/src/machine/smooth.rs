//! When a run is planned within the time its job leaves: jitter by a hash, and the flexible window by
//! the less loaded of two seconds.
//!
//! Two choices rather than one make the fullest second exponentially less full: M. Mitzenmacher, "The
//! Power of Two Choices in Randomized Load Balancing" (1996).

use foldhash::HashMap;
use orrery_kit::mix::mix;

use super::job::Job;

/// Launches planned by second, of jobs with a flexible window.
#[derive(Debug, Default)]
pub(super) struct Ring {
    by_second: HashMap<i64, u32>,
}

/// An even number in `0..=most`.
fn even(bits: u64, most: i64) -> i64 {
    ((u128::from(bits) * (most as u128 + 1)) >> 64) as i64
}

impl Ring {
    /// When to launch the run of `nominal`, in milliseconds. The same job gets the same jitter for the
    /// same second.
    pub(super) fn plan(&mut self, job: &Job, nominal: i64) -> i64 {
        let policies = &job.definition.policies;
        let seed = mix(job.id ^ mix(nominal as u64));
        let jitter_ms = match policies.jitter_seconds {
            0 => 0,
            most => even(seed, most * 1000),
        };
        let flex = policies.flex_seconds;
        if flex == 0 {
            return nominal.saturating_mul(1000).saturating_add(jitter_ms);
        }
        let (one, other) = (mix(seed), mix(mix(seed)));
        let seconds = [nominal + even(one, flex), nominal + even(other, flex)];
        let load = |second: &i64| self.by_second.get(second).copied().unwrap_or(0);
        let chosen = if load(&seconds[0]) <= load(&seconds[1]) { seconds[0] } else { seconds[1] };
        *self.by_second.entry(chosen).or_default() += 1;
        // Spread within the second as well, but never beyond the window.
        let within_ms = if chosen - nominal == flex { 0 } else { even(mix(one), 999) };
        chosen * 1000 + within_ms + jitter_ms
    }

    /// The run planned for then was launched, or will not be.
    pub(super) fn done(&mut self, job: &Job, planned_ms: i64) {
        if job.definition.policies.flex_seconds == 0 {
            return;
        }
        // Jitter moves it out of its second: then the count of another one falls, which only makes the
        // choice of later ones a little less even.
        let second = planned_ms.div_euclid(1000);
        if let std::collections::hash_map::Entry::Occupied(mut entry) = self.by_second.entry(second)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Forgets seconds that are over.
    pub(super) fn forget_before(&mut self, second: i64) {
        self.by_second.retain(|known, _| *known >= second);
    }
}
