//! Structured calendars to fields.

use crate::civil::{YEAR_MAX, YEAR_MIN};
use crate::cron::{Set, check_fires};
use crate::days::{DATES_ALL, Days, WEEKDAYS_ALL};
use crate::fields::{Fields, HOURS_ALL, MONTHS_ALL, Times};
use crate::rule::Kind;
use crate::union::{Joined, Union};
use crate::{CalendarSpec, Range, RuleError};

/// Calendars of one rule.
const CALENDARS_MAX: usize = 64;
/// Ranges of one field.
const RANGES_MAX: usize = 256;

/// The union of the calendars; `at` of an error is the place of the calendar in the list.
pub(crate) fn build(specs: &[CalendarSpec]) -> Result<Kind, RuleError> {
    if specs.is_empty() || specs.len() > CALENDARS_MAX {
        let message = format!("1 to {CALENDARS_MAX} calendars make a rule");
        return Err(RuleError::syntax("calendar", 0, message));
    }
    let fields: Result<Vec<Fields>, RuleError> =
        specs.iter().enumerate().map(|(at, spec)| fields_of(spec, at)).collect();
    Ok(match Union::of(fields?)? {
        Joined::One(fields) => Kind::Fields(fields),
        Joined::Several(union) => Kind::Union(Box::new(union)),
    })
}

fn fields_of(spec: &CalendarSpec, at: usize) -> Result<Fields, RuleError> {
    let low = |name, ranges: &[Range], least, most, default: u64| match ranges {
        [] => Ok(default),
        some => set_of(name, some, least, most, 0, at).map(|set| set.low()),
    };
    let weekdays = low("day of week", &spec.day_of_week, 0, 7, WEEKDAYS_ALL.into())
        .map(|set| set | set >> 7)?;
    let hours = low("hour", &spec.hour, 0, 23, 1)? as u32;
    let years = match &spec.year[..] {
        [] => None,
        some => set_of("year", some, YEAR_MIN, YEAR_MAX, YEAR_MIN, at)?.years(),
    };
    let fields = Fields {
        times: Times {
            seconds: low("second", &spec.second, 0, 59, 1)?,
            minutes: low("minute", &spec.minute, 0, 59, 1)?,
            hours,
        },
        months: low("month", &spec.month, 1, 12, MONTHS_ALL.into())? as u16,
        days: Days {
            dates: low("day of month", &spec.day_of_month, 1, 31, DATES_ALL.into())? as u32,
            weekdays: weekdays as u8 & WEEKDAYS_ALL,
            ..Days::ALL
        },
        years,
        by_the_clock: hours == HOURS_ALL,
    };
    check_fires(&fields)?;
    Ok(fields)
}

fn set_of(
    name: &'static str,
    ranges: &[Range],
    least: u32,
    most: u32,
    base: u32,
    at: usize,
) -> Result<Set, RuleError> {
    let wrong = |message: String| Err(RuleError::syntax(name, at, message));
    if ranges.len() > RANGES_MAX {
        return wrong(format!("{RANGES_MAX} ranges are the most"));
    }
    let mut set = Set::empty();
    for &Range { start, end, step } in ranges {
        let last = end.unwrap_or(if step.is_some() { most } else { start });
        if start < least || last > most {
            return wrong(format!("{start} to {last} is outside of {least} to {most}"));
        }
        if start > last {
            return wrong(format!("{start} to {last} runs backwards"));
        }
        if step == Some(0) {
            return wrong("a step must be at least 1".to_owned());
        }
        for value in (start..=last).step_by(step.unwrap_or(1) as usize) {
            set.insert(value - base);
        }
    }
    Ok(set)
}
