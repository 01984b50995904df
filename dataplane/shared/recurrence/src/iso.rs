//! Repeating intervals of ISO 8601: `R/2027-01-01T00:00:00Z/PT1H`, `R5/…`, `R/PT1H/…`.
//!
//! Hours, minutes and seconds are elapsed time; years, months, weeks and days are steps of the
//! calendar in the rule's zone. `Rn` is n runs, the one at the start included.

use crate::civil::{DAY, LOCAL_END};
use crate::every::SECONDS_MAX;
use crate::rrule::moment::{Moment, moment};
use crate::rule::Kind;
use crate::span::Span;
use crate::steps::Steps;
use crate::wall::LocalTimes;
use crate::{RuleError, Zone};

/// A duration with its two kinds of time apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Duration {
    months: u64,
    days: u64,
    /// Elapsed.
    seconds: u64,
}

/// Compiles a text that begins with `R`, at byte `at`.
pub(crate) fn parse(text: &str, at: usize, zone: &Zone) -> Result<Kind, RuleError> {
    let mut places = Vec::new();
    let mut place = at;
    for part in text.split('/') {
        places.push((part, place));
        place += part.len() + 1;
    }
    let count = repetitions(places[0].0, at)?;
    match places[1..] {
        [(duration, place)] => {
            // In phase with 1970, as `@every` is.
            let start = Moment::Local(0);
            forward(count, start, duration_of(duration, place)?, zone, true)
        }
        [(start, start_at), (end, end_at)] if end.starts_with(['P', 'p']) => {
            let start = moment("start", start, start_at)?;
            forward(count, start, duration_of(end, end_at)?, zone, false)
        }
        [(duration, place), (end, end_at)] if duration.starts_with(['P', 'p']) => backward(
            count,
            duration_of(duration, place)?,
            place,
            instant("end", end, end_at, zone)?,
        ),
        [(start, start_at), (end, end_at)] => {
            let first = instant("start", start, start_at, zone)?;
            let second = instant("end", end, end_at, zone)?;
            if second <= first {
                let message = "the interval ends before it begins";
                return Err(RuleError::syntax("end", end_at, message));
            }
            elapsed(count, first, second - first)
        }
        _ => {
            let message = "`R/start/duration` belongs here, as `R/2027-01-01T00:00:00Z/PT1H`";
            Err(RuleError::syntax("interval", at, message))
        }
    }
}

/// `R`, `R5`, `R-1` (no end).
fn repetitions(text: &str, at: usize) -> Result<Option<i64>, RuleError> {
    match &text[1..] {
        "" | "-1" => Ok(None),
        "0" => Err(RuleError::never("an interval that is repeated 0 times")),
        number => {
            let plain = number.len() <= 18 && number.bytes().all(|byte| byte.is_ascii_digit());
            let count = plain.then(|| number.parse().ok()).flatten().filter(|count| *count > 0);
            let message = "`R` or a count such as `R5` belongs here";
            count.map(Some).ok_or_else(|| RuleError::syntax("repetitions", at, message))
        }
    }
}

fn instant(field: &'static str, text: &str, at: usize, zone: &Zone) -> Result<i64, RuleError> {
    Ok(match moment(field, text, at)? {
        Moment::Utc(utc) => utc,
        other => zone.instant_of(other.local(zone)),
    })
}

fn forward(
    count: Option<i64>,
    start: Moment,
    duration: Duration,
    zone: &Zone,
    in_phase: bool,
) -> Result<Kind, RuleError> {
    if duration.months == 0 && duration.days == 0 {
        let first = match start {
            Moment::Utc(utc) => utc,
            _ if in_phase => 0,
            other => zone.instant_of(other.local(zone)),
        };
        return elapsed(count, first, duration.seconds as i64);
    }
    let seconds = duration.days as i64 * DAY + duration.seconds as i64;
    let count = count.unwrap_or(i64::MAX).min(LOCAL_END);
    let steps = Steps { start: start.local(zone), months: duration.months as u32, seconds, count };
    if steps.start < 0 || steps.first(0, LOCAL_END).is_none() {
        return Err(RuleError::never("its start lies outside of the years 1970 to 2199"));
    }
    Ok(Kind::Steps(Box::new(steps)))
}

/// The last run is at the end, the others before it.
fn backward(
    count: Option<i64>,
    duration: Duration,
    at: usize,
    end: i64,
) -> Result<Kind, RuleError> {
    if duration.months > 0 || duration.days > 0 {
        let message = "days and months are counted from a start: `R/start/duration`";
        return Err(RuleError::syntax("duration", at, message));
    }
    let step = duration.seconds as i64;
    let runs = count.unwrap_or(i64::MAX).min(end.max(0) / step + 1);
    let span = Span::bounded(step, end - (runs - 1) * step, end);
    let never = || RuleError::never("its end lies outside of the years 1970 to 2199");
    span.filter(|span| span.last == end).map(Kind::Span).ok_or_else(never)
}

fn elapsed(count: Option<i64>, first: i64, step: i64) -> Result<Kind, RuleError> {
    let until = count.map_or(LOCAL_END - 1, |count| {
        (count - 1).checked_mul(step).and_then(|size| first.checked_add(size)).unwrap_or(LOCAL_END)
    });
    let never = || RuleError::never("none of its runs lies in the years 1970 to 2199");
    Span::bounded(step, first, until).map(Kind::Span).ok_or_else(never)
}

/// `P1Y2M3W4DT5H6M7S`.
fn duration_of(text: &str, at: usize) -> Result<Duration, RuleError> {
    let wrong = |place: usize, message: &str| RuleError::syntax("duration", at + place, message);
    let mut duration = Duration::default();
    let mut in_time = false;
    // Designators must come in this order.
    let mut rank = 0;
    let bytes = text.as_bytes();
    if !text.starts_with(['P', 'p']) {
        return Err(wrong(0, "a duration such as `PT1H` or `P1D` belongs here"));
    }
    let mut place = 1;
    while place < bytes.len() {
        if !in_time && bytes[place].eq_ignore_ascii_case(&b'T') {
            (in_time, place) = (true, place + 1);
            continue;
        }
        let digits = bytes[place..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number: u64 = text[place..place + digits]
            .parse()
            .ok()
            .filter(|number| *number <= SECONDS_MAX)
            .ok_or_else(|| wrong(place, "a whole number belongs here"))?;
        let designator = bytes.get(place + digits).map_or(0, u8::to_ascii_uppercase);
        let order = match (designator, in_time) {
            (b'Y', false) => (1, &mut duration.months, 12),
            (b'M', false) => (2, &mut duration.months, 1),
            (b'W', false) => (3, &mut duration.days, 7),
            (b'D', false) => (4, &mut duration.days, 1),
            (b'H', true) => (5, &mut duration.seconds, 3600),
            (b'M', true) => (6, &mut duration.seconds, 60),
            (b'S', true) => (7, &mut duration.seconds, 1),
            _ => return Err(wrong(place + digits, "Y, M, W, D, then T, H, M and S are known")),
        };
        if order.0 <= rank {
            return Err(wrong(place, "designators come in the order Y, M, W, D, T, H, M, S"));
        }
        rank = order.0;
        *order.1 += number * order.2;
        place += digits + 1;
    }
    let seconds = duration.months * 28 * 86_400 + duration.days * 86_400 + duration.seconds;
    if seconds == 0 {
        return Err(wrong(0, "a duration must be at least one second"));
    }
    if seconds > SECONDS_MAX {
        return Err(wrong(0, "longer than the 230 years of rules"));
    }
    Ok(duration)
}
