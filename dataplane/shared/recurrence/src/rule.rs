//! A compiled rule in its zone.

use std::sync::Arc;

use crate::civil::{DAY, LOCAL_END};
use crate::fields::Fields;
use crate::hash::Hashing;
use crate::recur::Dates;
use crate::span::Span;
use crate::steps::Steps;
use crate::union::Union;
use crate::wall::{LocalTimes, Wall};
use crate::{Dst, Options, RuleError, Seconds, When, Zone, calendar, cron, every, rrule};

/// When something fires. Compile it once, share it as `Arc<Rule>`: rules that mean the same are
/// equal and hash alike, whatever their texts looked like.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    pub(crate) kind: Kind,
    pub(crate) dst: Dst,
    pub(crate) zone: Arc<Zone>,
}

/// What it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Elapsed time.
    Span(Span),
    /// Local times of most rules.
    Fields(Fields),
    /// Structured calendars.
    Union(Box<Union>),
    /// Recurrences.
    Dates(Box<Dates>),
    /// Steps of the calendar.
    Steps(Box<Steps>),
}

/// Does the same with whichever local times the rule has.
macro_rules! on_wall {
    ($rule:expr, $span:pat => $elapsed:expr, $wall:ident => $local:expr) => {
        match &$rule.kind {
            Kind::Span($span) => $elapsed,
            Kind::Fields(times) => {
                let $wall = Wall::new(times, &$rule.zone, $rule.dst);
                $local
            }
            Kind::Union(times) => {
                let $wall = Wall::new(&**times, &$rule.zone, $rule.dst);
                $local
            }
            Kind::Dates(times) => {
                let $wall = Wall::new(&**times, &$rule.zone, $rule.dst);
                $local
            }
            Kind::Steps(times) => {
                let $wall = Wall::new(&**times, &$rule.zone, $rule.dst);
                $local
            }
        }
    };
}

impl Rule {
    /// Reads what the user wrote. Bounded work, whatever the text.
    pub fn compile(when: &When<'_>, options: &Options<'_>) -> Result<Self, RuleError> {
        Self::compile_hashed(when, options, Hashing::default())
    }

    /// The same with another way to derive `H`.
    pub fn compile_hashed(
        when: &When<'_>,
        options: &Options<'_>,
        hashing: Hashing,
    ) -> Result<Self, RuleError> {
        let mut zone = options.zone.clone();
        let mut dst = options.dst;
        let kind = match *when {
            When::Cron { text, dialect } => {
                let parsed = cron::parse(text, dialect, options, hashing)?;
                zone = parsed.zone.unwrap_or(zone);
                if parsed.once {
                    // What is asked for once happens once, wherever the clock is changed.
                    dst = Dst::RunMissingAfterGapRunRepeatedOnce;
                }
                parsed.kind
            }
            When::Every { seconds, anchor } => Kind::Span(span_of(seconds, anchor)?),
            When::At(at) => {
                let never =
                    || RuleError::never("the moment lies outside of the years 1970 to 2199");
                Kind::Span(Span::bounded(1, at, at).filter(|_| at >= 0).ok_or_else(never)?)
            }
            When::Rrule { text, start } => {
                Kind::Dates(Box::new(rrule::parse(text, start, &options.zone)?))
            }
            When::Calendar(specs) => calendar::build(specs)?,
        };
        Ok(Self { kind, dst, zone })
    }

    /// Whether it has just one local second.
    pub(crate) fn is_once(&self) -> bool {
        let Kind::Fields(fields) = &self.kind else { return false };
        fields.years.is_some() && fields.count(0, LOCAL_END) == 1
    }

    /// The first instant strictly after this one.
    #[inline]
    pub fn next_after(&self, after: Seconds) -> Option<Seconds> {
        let from = clamped(after) + 1;
        on_wall!(self, span => span.next(from), wall => wall.next(from))
    }

    /// The last instant strictly before this one.
    pub fn previous_before(&self, before: Seconds) -> Option<Seconds> {
        let before = clamped(before);
        on_wall!(self, span => span.previous(before), wall => wall.previous(before))
    }

    /// Whether it fires at this very second.
    pub fn matches(&self, at: Seconds) -> bool {
        let at = clamped(at);
        on_wall!(self, span => span.next(at) == Some(at), wall => wall.matches(at))
    }

    /// How many instants are after `after` and not after `until`. Costs some work per month, not
    /// per instant.
    pub fn count_between(&self, after: Seconds, until: Seconds) -> u64 {
        let (from, to) = (clamped(after) + 1, clamped(until) + 1);
        if from >= to {
            return 0;
        }
        on_wall!(self, span => span.count(from, to), wall => wall.count(from, to))
    }

    /// All instants after this one, in order.
    pub fn iter_after(&self, after: Seconds) -> impl Iterator<Item = Seconds> + '_ {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at))
    }

    /// The same rule with a newer definition of its zone.
    #[must_use]
    pub fn rezone(&self, zone: Arc<Zone>) -> Self {
        Self { kind: self.kind.clone(), dst: self.dst, zone }
    }

    /// The zone whose clock it follows.
    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }

    /// What was chosen for clock changes.
    pub fn dst(&self) -> Dst {
        self.dst
    }
}

fn span_of(seconds: u64, anchor: Seconds) -> Result<Span, RuleError> {
    if seconds == 0 {
        return Err(RuleError::syntax("every", 0, "an interval must be at least one second"));
    }
    if seconds > every::SECONDS_MAX {
        return Err(RuleError::syntax("every", 0, "longer than the 230 years of rules"));
    }
    let never = || RuleError::never("its only moment lies outside of the years 1970 to 2199");
    Span::in_phase(seconds as i64, anchor).ok_or_else(never)
}

/// Far away is as good as further away, and cannot overflow.
#[inline]
fn clamped(at: Seconds) -> Seconds {
    at.clamp(-2 * DAY, LOCAL_END + 2 * DAY)
}
