//! Random cron expressions that several implementations read, and moments to ask about.

use orrery_e2e_tests::random::Random;
use orrery_recurrence::{Seconds, Zone};

/// Zones with every kind of change: half hours, negative summer time, a skipped day, Ramadan.
pub const ZONES: &[&str] = &[
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "America/St_Johns",
    "Asia/Kolkata",
    "America/Santiago",
    "Asia/Tehran",
    "Antarctica/Troll",
    "Pacific/Chatham",
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The words of an expression.
#[derive(Debug, Clone)]
pub struct Expression {
    pub second: Option<String>,
    pub minute: String,
    pub hour: String,
    pub date: String,
    pub month: String,
    pub weekday: String,
}

impl Expression {
    /// One that peers read; `nearest` is whether they know `15W` and `LW`. Ranges do not wrap
    /// around, because peers refuse that.
    pub fn random(random: &mut Random, nearest: bool) -> Self {
        let second = random.chance(150).then(|| field(random, 0, 59, &[]));
        Self {
            second,
            minute: field(random, 0, 59, &[]),
            // Night hours meet the changes of the clock.
            hour: if random.chance(500) {
                field(random, 0, 4, &[])
            } else {
                field(random, 0, 23, &[])
            },
            date: date(random, nearest),
            month: field(random, 1, 12, &MONTHS),
            weekday: weekday(random),
        }
    }

    pub fn text(&self) -> String {
        let Self { second, minute, hour, date, month, weekday } = self;
        let seconds = second.as_ref().map_or_else(String::new, |second| format!("{second} "));
        format!("{seconds}{minute} {hour} {date} {month} {weekday}")
    }

    /// Whether second, minute and hour have one value each, by no step and no star.
    pub fn is_fixed(&self) -> bool {
        let one = |word: &str| {
            let mut values = word.split([',', '-']);
            let first = values.next();
            !word.contains(['*', '/']) && values.all(|value| Some(value) == first)
        };
        one(&self.minute) && one(&self.hour) && self.second.as_deref().is_none_or(one)
    }

    /// The same without stars that begin a longer field of days: `*/2` as `1-31/2`.
    pub fn without_day_stars(&self) -> Self {
        let replaced = |word: &str, whole: &str| match word.strip_prefix('*') {
            Some(rest) if !rest.is_empty() => format!("{whole}{rest}"),
            _ => word.to_owned(),
        };
        Self {
            date: replaced(&self.date, "1-31"),
            weekday: replaced(&self.weekday, "0-6"),
            ..self.clone()
        }
    }
}

/// A value, by its name now and then.
fn named(random: &mut Random, value: u32, least: u32, names: &[&str]) -> String {
    match names.get((value - least) as usize) {
        Some(name) if random.chance(300) => (*name).to_owned(),
        _ => value.to_string(),
    }
}

fn field(random: &mut Random, least: u32, most: u32, names: &[&str]) -> String {
    let size = (most - least + 1) as usize;
    let value = |random: &mut Random| least + random.below(size) as u32;
    match random.below(10) {
        0..=2 => "*".to_owned(),
        3 => format!("*/{}", 1 + random.below(size.min(30))),
        4 | 5 => {
            let count = 1 + random.below(4);
            let items: Vec<String> = (0..count)
                .map(|_| {
                    let value = value(random);
                    named(random, value, least, names)
                })
                .collect();
            items.join(",")
        }
        6 | 7 => {
            let (mut from, mut to) = (value(random), value(random));
            if from > to {
                (from, to) = (to, from);
            }
            let (from, to) = (named(random, from, least, names), named(random, to, least, names));
            let step = 1 + random.below(size / 2);
            if random.chance(300) { format!("{from}-{to}/{step}") } else { format!("{from}-{to}") }
        }
        _ => {
            let value = value(random);
            named(random, value, least, names)
        }
    }
}

fn date(random: &mut Random, nearest: bool) -> String {
    let day = 1 + random.below(31);
    match random.below(20) {
        0 => "L".to_owned(),
        1 if nearest => format!("{day}W"),
        2 if nearest => "LW".to_owned(),
        3..=10 => "*".to_owned(),
        _ => field(random, 1, 31, &[]),
    }
}

fn weekday(random: &mut Random) -> String {
    let day = random.below(7);
    match random.below(20) {
        0 => format!("{}#{}", day, 1 + random.below(5)),
        1 => format!("{day}L"),
        2 => format!("{}#{}", WEEKDAYS[day], 1 + random.below(4)),
        3 => "7".to_owned(),
        4..=11 => "*".to_owned(),
        _ => field(random, 0, 6, &WEEKDAYS),
    }
}

/// A moment of 2020 to 2037, often within a day of a change of the clock.
pub fn moment(random: &mut Random, zone: &Zone) -> Seconds {
    const FROM: Seconds = 1_577_836_800;
    const TO: Seconds = 2_145_916_800;
    let any = FROM + random.below((TO - FROM) as usize) as Seconds;
    if random.chance(400) {
        return any;
    }
    // Bisect for a change within the year that follows.
    let before = zone.offset_at(any);
    let (mut lo, mut hi) = (any, any + 366 * 86_400);
    let Some(other) =
        (0..366).map(|day| any + day * 86_400).find(|at| zone.offset_at(*at) != before)
    else {
        return any;
    };
    hi = hi.min(other);
    while hi - lo > 1 {
        let middle = lo + (hi - lo) / 2;
        if zone.offset_at(middle) == before { lo = middle } else { hi = middle }
    }
    hi - 86_400 + random.below(2 * 86_400) as Seconds
}
