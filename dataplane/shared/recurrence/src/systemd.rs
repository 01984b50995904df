//! `OnCalendar=` of systemd: `Mon..Fri *-*-* 07:00:00`.
//!
//! Source of the grammar: systemd.time(7), “Calendar Events”, and `src/shared/calendarspec.c`.
//! Fractions of seconds are refused: a rule fires on whole seconds.

mod scan;

use crate::cron::{Set, check_fires};
use crate::days::{DATES_ALL, Days, WEEKDAYS_ALL};
use crate::error::check_text;
use crate::fields::{Fields, HOURS_ALL, MONTHS_ALL, Times};
use crate::{RuleError, civil};

use scan::{Chain, Scan};

/// Compiles OnCalendar text without its zone; `at` is where it begins.
pub(crate) fn parse(text: &str, at: usize) -> Result<Fields, RuleError> {
    check_text(text, "text")?;
    if let Some(fields) = shorthand(text) {
        return Ok(fields);
    }
    let mut scan = Scan::new(text, at);
    let weekdays = scan.weekdays()?;
    let mut fields = Fields {
        times: Times { seconds: 1, minutes: 1, hours: 1 },
        months: MONTHS_ALL,
        days: Days { weekdays, ..Days::ALL },
        years: None,
        by_the_clock: false,
    };
    if !scan.done() {
        read_date(&mut scan, &mut fields)?;
    }
    if !scan.done() {
        read_time(&mut scan, &mut fields)?;
    }
    if !scan.done() {
        return Err(scan.wrong("text", "this does not belong here"));
    }
    check_fires(&fields)?;
    Ok(fields)
}

fn shorthand(text: &str) -> Option<Fields> {
    let midnight = Times { seconds: 1, minutes: 1, hours: 1 };
    let daily = Fields {
        times: midnight,
        months: MONTHS_ALL,
        days: Days::ALL,
        years: None,
        by_the_clock: false,
    };
    let hourly = Times { hours: HOURS_ALL, ..midnight };
    let months = |months: u16| {
        let days = Days { dates: 1 << 1, ..Days::ALL };
        Fields { months, days, ..daily.clone() }
    };
    Some(match text.to_ascii_lowercase().as_str() {
        "minutely" => {
            let times = Times { minutes: crate::fields::SIXTY_ALL, ..hourly };
            Fields { times, by_the_clock: true, ..daily }
        }
        "hourly" => Fields { times: hourly, by_the_clock: true, ..daily },
        "daily" => daily,
        "weekly" => Fields { days: Days { weekdays: 1 << 1, ..Days::ALL }, ..daily },
        "monthly" => months(MONTHS_ALL),
        "quarterly" => months(1 << 1 | 1 << 4 | 1 << 7 | 1 << 10),
        "semiannually" | "semi-annually" | "biannually" | "bi-annually" => months(1 << 1 | 1 << 7),
        "yearly" | "annually" | "anually" => months(1 << 1),
        _ => return None,
    })
}

/// `2027-*-01`, `*-02~03`, `05-01`; nothing when a time follows.
fn read_date(scan: &mut Scan<'_>, fields: &mut Fields) -> Result<(), RuleError> {
    let before = scan.place();
    let first = scan.chain("date")?;
    if scan.eat(b':') {
        // It was the hours of a time.
        scan.back_to(before);
        return Ok(());
    }
    let first_ends = scan.place();
    let (year, month, month_ends) = if scan.eat(b'-') {
        let second = scan.chain("date")?;
        if scan.peek() == b'-' || scan.peek() == b'~' {
            (Some(first), second, scan.place())
        } else {
            scan.back_to(first_ends);
            (None, first, first_ends)
        }
    } else {
        (None, first, first_ends)
    };
    scan.back_to(month_ends);
    let from_end = scan.eat(b'~');
    if !from_end && !scan.eat(b'-') {
        return Err(scan.wrong("date", "`-` and a day belong here"));
    }
    let day = scan.chain("day of month")?;
    if let Some(year) = year {
        fields.years = year.years(scan)?;
    }
    fields.months = month.set(scan, "month", 1, 12, MONTHS_ALL.into())? as u16;
    if from_end {
        if !day.is_all() {
            (fields.days.dates, fields.days.last) = (0, day.counted_back(scan)?);
        }
    } else {
        fields.days.dates = day.set(scan, "day of month", 1, 31, DATES_ALL.into())? as u32;
    }
    scan.blank_or_end("date")
}

/// `07:00`, `*:0/15`, `12:00:30`.
fn read_time(scan: &mut Scan<'_>, fields: &mut Fields) -> Result<(), RuleError> {
    let hour = scan.chain("hour")?;
    if !scan.eat(b':') {
        return Err(scan.wrong("time", "`:` and minutes belong here"));
    }
    let minute = scan.chain("minute")?;
    let second = if scan.eat(b':') { scan.chain("second")? } else { Chain::just(0) };
    let sixty = crate::fields::SIXTY_ALL;
    fields.by_the_clock = hour.is_all();
    fields.times = Times {
        seconds: second.set(scan, "second", 0, 59, sixty)?,
        minutes: minute.set(scan, "minute", 0, 59, sixty)?,
        hours: hour.set(scan, "hour", 0, 23, HOURS_ALL.into())? as u32,
    };
    scan.blank_or_end("time")
}

/// Every weekday, when none is named.
const ANY_WEEKDAY: u8 = WEEKDAYS_ALL;

/// Two digits are a year of this century before 70, of the last one from 70 on.
fn full_year(year: u32) -> u32 {
    match year {
        0..70 => 2000 + year,
        70..100 => 1900 + year,
        year => year,
    }
}

fn years_set(values: impl Iterator<Item = u32>) -> Set {
    let mut set = Set::empty();
    for year in values {
        set.insert(year - civil::YEAR_MIN);
    }
    set
}
