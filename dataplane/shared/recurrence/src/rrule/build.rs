//! From the parts of an RRULE to sets of days and times.

use crate::civil::{DAY, Date, LOCAL_END, weekday};
use crate::days::{Days, WEEKDAYS_ALL};
use crate::fields::{HOURS_ALL, MONTHS_ALL, SIXTY_ALL, Times};
use crate::recur::{DayRule, DayTimes, Freq, Nth, NumberSet, Recur, Ticks, chosen_of};
use crate::rrule::parts::Parts;
use crate::wall::LocalTimes;
use crate::{RuleError, Zone};

/// Instances that BYSETPOS may choose from on one day.
const CHOICES_MAX: u64 = DAY as u64;

/// The recurrence that begins at a local second.
pub(crate) fn build(parts: &Parts, start: i64, zone: &Zone) -> Result<Recur, RuleError> {
    let freq = parts.freq.unwrap_or(Freq::Daily);
    let end = match parts.until {
        // A day is meant as a whole.
        Some(crate::rrule::moment::Moment::Day(day)) => (i64::from(day) + 1) * DAY,
        Some(until) => until.local(zone) + 1,
        None => LOCAL_END,
    };
    let mut recur = Recur {
        days: days_of(parts, freq, start),
        times: times_of(parts, freq, start)?,
        start,
        end,
        by_the_clock: freq < Freq::Daily && parts.hours.is_empty(),
    };
    if let Some(count) = parts.count {
        recur.end = end_of_count(&recur, count);
    }
    Ok(recur)
}

fn set_of(numbers: &[i16]) -> u64 {
    numbers.iter().fold(0, |set, number| set | 1 << number)
}

fn numbers_of(numbers: &[i16]) -> NumberSet {
    let mut set = NumberSet::default();
    for number in numbers {
        set.insert(*number);
    }
    set
}

fn days_of(parts: &Parts, freq: Freq, start: i64) -> DayRule {
    let start_day = (start / DAY) as u32;
    let date = Date::of_days(start_day);
    let mut days = DayRule::all(freq, parts.interval, start_day);
    days.week_start = parts.week_start.unwrap_or(1);
    if !parts.months.is_empty() {
        days.months = set_of(&parts.months) as u16;
    }
    days.year_days = numbers_of(&parts.year_days);
    days.weeks = numbers_of(&parts.weeks);
    days.plain = plain_days(parts);
    let of_year = freq == Freq::Yearly && days.months == MONTHS_ALL;
    for &(weekday, nth) in parts.weekdays.iter().filter(|day| day.1 != 0) {
        match nth {
            1..=5 if !of_year => days.plain.nth |= 1 << (weekday * 5 + nth as u32 - 1),
            -1 if !of_year => days.plain.last_weekdays |= 1 << weekday,
            _ => days.nth.push(Nth { weekday, nth }),
        }
    }
    let none = parts.weeks.is_empty()
        && parts.year_days.is_empty()
        && parts.month_days.is_empty()
        && parts.weekdays.is_empty();
    match freq {
        // What the parts do not say is as on the day of DTSTART.
        Freq::Yearly | Freq::Monthly if none => {
            days.plain.dates = 1 << date.day;
            if freq == Freq::Yearly && parts.months.is_empty() {
                days.months = 1 << date.month;
            }
        }
        Freq::Weekly if none => days.plain.weekdays = 1 << weekday(start_day),
        _ => {}
    }
    days
}

/// BYMONTHDAY, and BYDAY as far as it has no numbers.
fn plain_days(parts: &Parts) -> Days {
    let mut days = Days::ALL;
    if !parts.month_days.is_empty() {
        days.dates = 0;
        for date in &parts.month_days {
            match *date {
                date @ 1.. => days.dates |= 1 << date,
                back => days.last |= 1 << (-back - 1),
            }
        }
    }
    if !parts.weekdays.is_empty() {
        let every = parts.weekdays.iter().filter(|day| day.1 == 0);
        days.weekdays = every.fold(0, |set, day| set | 1 << day.0) & WEEKDAYS_ALL;
    }
    days
}

fn times_of(parts: &Parts, freq: Freq, start: i64) -> Result<DayTimes, RuleError> {
    let second = (start % DAY) as u32;
    let set = |numbers: &[i16], coarser: bool, own: u32, all: u64| match numbers {
        [] if coarser => 1 << own,
        [] => all,
        some => set_of(some),
    };
    let times = Times {
        seconds: set(&parts.seconds, freq > Freq::Secondly, second % 60, SIXTY_ALL),
        minutes: set(&parts.minutes, freq > Freq::Minutely, second / 60 % 60, SIXTY_ALL),
        hours: set(&parts.hours, freq > Freq::Hourly, second / 3600, HOURS_ALL.into()) as u32,
    };
    let places: Vec<i32> = parts.places.iter().map(|place| i32::from(*place)).collect();
    match freq {
        Freq::Weekly | Freq::Monthly | Freq::Yearly if !places.is_empty() => {
            Ok(DayTimes::Ranked { times, places })
        }
        Freq::Daily if !places.is_empty() => {
            let chosen = chosen_of(&places, times.size().min(CHOICES_MAX));
            listed(chosen.into_iter().map(|rank| times.at_rank(rank)).collect())
        }
        Freq::Hourly | Freq::Minutely | Freq::Secondly => {
            sub_daily(times, freq, parts.interval, start, &places)
        }
        _ => Ok(DayTimes::Product(times)),
    }
}

fn listed(list: Vec<u32>) -> Result<DayTimes, RuleError> {
    if list.is_empty() {
        return Err(RuleError::never("BYSETPOS chooses none of its instances"));
    }
    Ok(DayTimes::List(list))
}

fn sub_daily(
    times: Times,
    freq: Freq,
    interval: u32,
    start: i64,
    places: &[i32],
) -> Result<DayTimes, RuleError> {
    let zero = Times { seconds: 1, minutes: 1, hours: 1 };
    let (unit, allowed, within) = match freq {
        Freq::Hourly => (3600, Times { hours: times.hours, ..zero }, Times { hours: 1, ..times }),
        Freq::Minutely => {
            (60, Times { seconds: 1, ..times }, Times { seconds: times.seconds, ..zero })
        }
        _ => (1, times, zero),
    };
    if places.is_empty()
        && let Some(times) = divided(times, freq, interval, start)
    {
        return match times {
            Times { seconds: 0, .. } | Times { minutes: 0, .. } | Times { hours: 0, .. } => {
                Err(RuleError::never("the interval never meets the times of its BY parts"))
            }
            times => Ok(DayTimes::Product(times)),
        };
    }
    let size = within.size();
    let ranks = if places.is_empty() { (0..size).collect() } else { chosen_of(places, size) };
    let offsets: Vec<u32> = ranks.into_iter().map(|rank| within.at_rank(rank)).collect();
    if offsets.is_empty() {
        return listed(offsets);
    }
    let (interval, start) = (i64::from(interval), start / i64::from(unit));
    let day_counts = Vec::new();
    let ticks = Ticks { unit, interval, start, allowed, offsets, day_counts };
    Ok(DayTimes::Ticks(ticks.counted()))
}

/// An interval that divides the next larger unit leaves a product of sets.
fn divided(times: Times, freq: Freq, interval: u32, start: i64) -> Option<Times> {
    let every = |size: u32, own: u32| {
        let fits = size.is_multiple_of(interval);
        fits.then(|| {
            (0..size).filter(|n| n % interval == own % interval).fold(0u64, |s, n| s | 1 << n)
        })
    };
    let second = (start % DAY) as u32;
    Some(match freq {
        Freq::Hourly => Times { hours: times.hours & every(24, second / 3600)? as u32, ..times },
        Freq::Minutely => Times { minutes: times.minutes & every(60, second / 60 % 60)?, ..times },
        _ => Times { seconds: times.seconds & every(60, second % 60)?, ..times },
    })
}

/// The local second after the instance with this number, or the end when there are fewer.
fn end_of_count(recur: &Recur, count: u64) -> i64 {
    let mut left = count;
    let (mut lo, mut step) = (recur.start, DAY);
    // Whole stretches, each twice as long as the one before, that do not have enough.
    loop {
        let hi = (lo + step).min(recur.end);
        let here = recur.count(lo, hi);
        if here >= left {
            step = hi - lo;
            break;
        }
        if hi == recur.end {
            return recur.end;
        }
        (lo, left, step) = (hi, left - here, step * 2);
    }
    // The last instance is in `lo..lo + step`: halve.
    while step > 1 {
        let half = step / 2;
        let here = recur.count(lo, lo + half);
        if here >= left {
            step = half;
        } else {
            (lo, left, step) = (lo + half, left - here, step - half);
        }
    }
    lo + 1
}
