//! `@hourly` and its kin, `@every 1h30m`.

use crate::RuleError;
use crate::days::Days;
use crate::every;
use crate::fields::{Fields, HOURS_ALL, MONTHS_ALL, Times};
use crate::rule::Kind;
use crate::span::Span;

/// What follows the `@`, which stands before byte `at`.
pub(crate) fn parse(name: &str, at: usize) -> Result<Kind, RuleError> {
    let lower = name.to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix("every").filter(|rest| rest.starts_with([' ', '\t'])) {
        let text = rest.trim();
        let seconds = every::parse(text, at + lower.len() - text.len())?;
        let never = || RuleError::never("no multiple of it lies in the years 1970 to 2199");
        return Ok(Kind::Span(Span::in_phase(seconds as i64, 0).ok_or_else(never)?));
    }
    let midnight = Times { seconds: 1, minutes: 1, hours: 1 };
    let daily = Fields {
        times: midnight,
        months: MONTHS_ALL,
        days: Days::ALL,
        years: None,
        by_the_clock: false,
    };
    let first = Days { dates: 1 << 1, ..Days::ALL };
    Ok(Kind::Fields(match lower.as_str() {
        "hourly" => {
            let times = Times { hours: HOURS_ALL, ..midnight };
            Fields { times, by_the_clock: true, ..daily }
        }
        "daily" | "midnight" => daily,
        "weekly" => Fields { days: Days { weekdays: 1, ..Days::ALL }, ..daily },
        "monthly" => Fields { days: first, ..daily },
        "yearly" | "annually" => Fields { days: first, months: 1 << 1, ..daily },
        "reboot" => {
            let message = "a schedule has no boot to run at; use `at` for one run";
            return Err(RuleError::syntax("nickname", at - 1, message));
        }
        _ => {
            let message = "unknown nickname: @yearly, @annually, @monthly, @weekly, @daily, \
                           @midnight, @hourly and `@every 1h30m` are known";
            return Err(RuleError::syntax("nickname", at - 1, message));
        }
    }))
}
