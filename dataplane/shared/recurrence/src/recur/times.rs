//! Times of a day on which a recurrence is at home.

use crate::civil::DAY;
use crate::fields::Times;
use crate::recur::{Budget, Ticks};

/// Times of a matching day.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum DayTimes {
    /// The same product of sets every day.
    Product(Times),
    /// The same list every day: seconds of the day, sorted.
    List(Vec<u32>),
    /// Every n-th hour, minute or second.
    Ticks(Ticks),
    /// BYSETPOS over a week, a month or a year: which of the period's instances, counted over days
    /// times product. Sorted.
    Ranked { times: Times, places: Vec<i32> },
}

impl DayTimes {
    /// Whether a day's instances depend on the other days of its period.
    pub fn ranked(&self) -> Option<(Times, &[i32])> {
        match self {
            Self::Ranked { times, places } => Some((*times, places)),
            _ => None,
        }
    }

    pub fn first_from(&self, day: u32, second: u32, budget: &mut Budget) -> Option<u32> {
        match self {
            Self::Product(times) | Self::Ranked { times, .. } => times.first_from(second),
            Self::List(list) => list.get(list.partition_point(|at| *at < second)).copied(),
            Self::Ticks(ticks) => ticks.first_from(day, second, budget),
        }
    }

    pub fn last_to(&self, day: u32, second: u32, budget: &mut Budget) -> Option<u32> {
        match self {
            Self::Product(times) | Self::Ranked { times, .. } => times.last_to(second),
            Self::List(list) => {
                let after = list.partition_point(|at| *at <= second);
                after.checked_sub(1).map(|at| list[at])
            }
            Self::Ticks(ticks) => ticks.last_to(day, second, budget),
        }
    }

    /// Instances of the day before this second of it.
    pub fn count_below(&self, day: u32, second: u32) -> u64 {
        match self {
            Self::Product(times) | Self::Ranked { times, .. } => times.count_below(second),
            Self::List(list) => list.partition_point(|at| *at < second) as u64,
            Self::Ticks(ticks) => ticks.count_below(day, second),
        }
    }
}

impl Times {
    /// How many times of a day there are.
    pub fn size(self) -> u64 {
        self.count_below(DAY as u32)
    }

    /// The time of a day with so many before it.
    pub fn at_rank(self, rank: u64) -> u32 {
        let (seconds, minutes) = (self.seconds.count_ones(), self.minutes.count_ones());
        let (seconds, minutes) = (u64::from(seconds), u64::from(minutes));
        let hour = nth_bit(self.hours.into(), rank / (seconds * minutes));
        let minute = nth_bit(self.minutes, rank / seconds % minutes);
        hour * 3600 + minute * 60 + nth_bit(self.seconds, rank % seconds)
    }
}

/// The place of the bit that has so many below it.
fn nth_bit(set: u64, rank: u64) -> u32 {
    crate::days::bits(set).nth(rank as usize).unwrap_or(0)
}

/// The ranks that BYSETPOS chooses from a set of this size, sorted.
pub(crate) fn chosen_of(places: &[i32], size: u64) -> Vec<u64> {
    let size = size as i64;
    let mut ranks: Vec<u64> = places
        .iter()
        .map(|place| i64::from(*place))
        .map(|place| if place > 0 { place - 1 } else { size + place })
        .filter(|rank| (0..size).contains(rank))
        .map(|rank| rank as u64)
        .collect();
    ranks.sort_unstable();
    ranks.dedup();
    ranks
}
