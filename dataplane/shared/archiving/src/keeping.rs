//! Keeps records from being trimmed that the archive may not have yet, within the journal's bound.
//!
//! Whoever writes the archive keeps what is behind its end, also while the archive cannot be reached.
//! Whoever may be next does not know that end: it keeps what is younger than [`SPAN`], so that it can
//! go on without a hole.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::post::Post;

/// Some intervals of the archive, and the time of a failover.
const SPAN: Duration = Duration::from_mins(2);
/// How often the end of the journal is noted.
const EVERY: Duration = Duration::from_secs(5);

/// Ends of the journal at earlier times, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    ends: VecDeque<(Instant, u64)>,
}

impl Keeping {
    /// The journal is replaced: its ends were those of another one.
    pub(crate) fn clear(&mut self) {
        self.ends.clear();
    }

    /// Keeps what came within the last `span`, and no less than [`SPAN`].
    pub(crate) fn lately(&mut self, post: &Post, span: Duration, now: Instant) {
        post.keep_behind(self.begin(post.feed.durable().0, span.max(SPAN), now));
    }

    /// Notes the end of the journal, and gives where it was a `span` ago.
    fn begin(&mut self, end: u64, span: Duration, now: Instant) -> u64 {
        let is_due = |(at, _): &(Instant, u64)| now.duration_since(*at) >= EVERY;
        if self.ends.back().is_none_or(is_due) {
            self.ends.push_back((now, end));
        }
        // The newest that is old enough is where it begins.
        while self.ends.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= span) {
            self.ends.pop_front();
        }
        self.ends.front().map_or(end, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_begins_a_span_ago_within_the_pause_of_two_looks() {
        let (mut keeping, started) = (Keeping::default(), Instant::now());
        for second in 0..600 {
            let now = started + Duration::from_secs(second);
            let begin = keeping.begin(second, SPAN, now);
            let expected = second.saturating_sub(SPAN.as_secs() + EVERY.as_secs());
            assert!(
                (expected..=second.saturating_sub(SPAN.as_secs())).contains(&begin),
                "{second}: {begin}"
            );
        }
        assert!(keeping.ends.len() <= 26);
        keeping.clear();
        assert_eq!(keeping.begin(7, SPAN, started + SPAN), 7);
    }
}
