//! One field of a cron text: a list of values, ranges, steps and the day forms.

use crate::civil::{YEAR_MAX, YEAR_MIN};
use crate::cron::{Hash, Word};
use crate::fields::Years;
use crate::{Dialect, Hashing, RuleError};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Which field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Second,
    Minute,
    Hour,
    Date,
    Month,
    Weekday,
    Year,
}

impl Field {
    pub fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Date => "day of month",
            Self::Month => "month",
            Self::Weekday => "day of week",
            Self::Year => "year",
        }
    }

    /// Least and greatest value as written.
    fn bounds(self, dialect: Dialect) -> (u32, u32) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Date => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday if dialect == Dialect::Quartz => (1, 7),
            Self::Weekday => (0, 7),
            Self::Year => (YEAR_MIN, YEAR_MAX),
        }
    }

    /// Place in the order of croniter's hash.
    fn place(self) -> u32 {
        match self {
            Self::Minute => 0,
            Self::Hour => 1,
            Self::Date => 2,
            Self::Month => 3,
            Self::Weekday => 4,
            Self::Second => 5,
            Self::Year => 6,
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::Weekday => &WEEKDAYS,
            _ => &[],
        }
    }
}

/// A set of values: bits, for years from 1970 on, for weekdays from Sunday = 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set([u64; 4]);

impl Set {
    pub fn empty() -> Self {
        Self([0; 4])
    }

    pub fn insert(&mut self, bit: u32) {
        self.0[bit as usize / 64] |= 1 << (bit % 64);
    }

    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// Values below 64.
    pub fn low(&self) -> u64 {
        self.0[0]
    }

    /// As years; all of them is `None`.
    pub fn years(self) -> Years {
        let count: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        (count != YEAR_MAX - YEAR_MIN + 1).then(|| Box::new(self.0))
    }
}

/// One element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Values(Set),
    /// `L`, `L-3`.
    Last {
        back: u32,
    },
    /// `LW`, `L-3W`.
    NearestLast {
        back: u32,
    },
    /// `15W`.
    Nearest {
        date: u32,
    },
    /// `5L`, `FRIL`.
    LastWeekday {
        weekday: u32,
    },
    /// `2#5`, `MON-FRI#1`.
    NthWeekdays {
        weekdays: Set,
        nth: u32,
    },
}

/// Reads the elements of a field one after the other.
pub(crate) struct Scan<'a> {
    field: Field,
    word: Word<'a>,
    dialect: Dialect,
    hash: &'a Hash<'a>,
    at: usize,
    done: bool,
}

impl<'a> Scan<'a> {
    pub fn new(field: Field, word: Word<'a>, dialect: Dialect, hash: &'a Hash<'a>) -> Self {
        Self { field, word, dialect, hash, at: 0, done: false }
    }

    fn wrong<T>(&self, at: usize, message: impl Into<String>) -> Result<T, RuleError> {
        Err(RuleError::syntax(self.field.name(), self.word.at + at, message))
    }

    fn peek(&self) -> u8 {
        self.word.text.as_bytes().get(self.at).map_or(0, u8::to_ascii_lowercase)
    }

    /// Steps over a character if it is there.
    fn eat(&mut self, character: u8) -> bool {
        let there = self.peek() == character;
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, character: u8) -> Result<(), RuleError> {
        if self.eat(character) {
            return Ok(());
        }
        self.wrong(self.at, format!("`{}` belongs here", char::from(character)))
    }

    fn number(&mut self) -> Result<u32, RuleError> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        match self.word.text[start..self.at].parse() {
            Ok(number) => Ok(number),
            Err(_) if self.at == start => self.wrong(start, "a number belongs here"),
            Err(_) => self.wrong(start, "the number is too large"),
        }
    }

    /// A number or a name, within the bounds of the field.
    fn value(&mut self) -> Result<u32, RuleError> {
        let start = self.at;
        let (least, most) = self.field.bounds(self.dialect);
        if self.peek().is_ascii_alphabetic() {
            return self.named(start, least);
        }
        let number = self.number()?;
        if number < least || number > most {
            return self.wrong(start, format!("{number} is outside of {least} to {most}"));
        }
        Ok(number)
    }

    /// Three letters that are a month or a weekday; of a weekday an `L` may follow.
    fn named(&mut self, start: usize, least: u32) -> Result<u32, RuleError> {
        let rest = &self.word.text[start..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let word = rest[..letters].to_ascii_lowercase();
        let names = self.field.names();
        let name = match word.strip_suffix('l') {
            Some(name) if self.field == Field::Weekday && name.len() == 3 => name,
            _ => &word,
        };
        match names.iter().position(|known| *known == name) {
            Some(known) => {
                self.at += 3;
                Ok(known as u32 + least)
            }
            None if names.is_empty() => self.wrong(start, "a number belongs here"),
            None => self.wrong(start, format!("unknown name `{word}`")),
        }
    }

    /// `/n`, if it is there.
    fn step(&mut self) -> Result<Option<u32>, RuleError> {
        if !self.eat(b'/') {
            return Ok(None);
        }
        let start = self.at;
        match self.number()? {
            0 => self.wrong(start, "a step must be at least 1"),
            step => Ok(Some(step)),
        }
    }

    /// Bit of a value that was written.
    fn bit(&self, value: u32) -> u32 {
        match self.field {
            Field::Weekday if self.dialect == Dialect::Quartz => value - 1,
            Field::Weekday => value % 7,
            Field::Year => value - YEAR_MIN,
            _ => value,
        }
    }

    /// `from..=to` by `step`, over the end of the field when `from` is the greater.
    fn range(&self, from: u32, to: u32, step: u32) -> Set {
        let (least, most) = self.field.bounds(self.dialect);
        // 0 and 7 are one day.
        let size = if self.field == Field::Weekday { 7 } else { most - least + 1 };
        let end = if from <= to { to } else { to + size };
        let mut set = Set::empty();
        for value in (from..=end).step_by(step as usize) {
            let value = if value > most { value - size } else { value };
            set.insert(self.bit(value));
        }
        set
    }

    fn item(&mut self) -> Result<Item, RuleError> {
        let (least, most) = self.field.bounds(self.dialect);
        // Weekdays: what `*` walks over has no second Sunday.
        let top = if self.field == Field::Weekday { least + 6 } else { most };
        let start = self.at;
        match self.peek() {
            b'*' | b'?' => {
                let question = self.peek() == b'?';
                self.at += 1;
                if question
                    && self.dialect == Dialect::Quartz
                    && !matches!(self.field, Field::Date | Field::Weekday)
                {
                    return self.wrong(start, "`?` is for day of month and day of week alone");
                }
                let step = self.step()?.unwrap_or(1);
                Ok(Item::Values(self.range(least, top, step)))
            }
            b'/' if self.dialect == Dialect::Quartz => {
                let step = self.step()?.unwrap_or(1);
                Ok(Item::Values(self.range(least, top, step)))
            }
            b'h' => self.hashed(),
            b'l' if self.field == Field::Date => self.last_date(),
            b'l' if self.field == Field::Weekday => self.last_weekday(),
            _ => self.valued(least, top),
        }
    }

    /// What begins with a value.
    fn valued(&mut self, least: u32, top: u32) -> Result<Item, RuleError> {
        let start = self.at;
        let from = self.value()?;
        match (self.peek(), self.field) {
            (b'w', Field::Date) => {
                self.at += 1;
                Ok(Item::Nearest { date: from })
            }
            (b'l', Field::Weekday) => {
                self.at += 1;
                Ok(Item::LastWeekday { weekday: self.bit(from) })
            }
            (b'#', Field::Weekday) => {
                self.at += 1;
                let weekdays = self.range(from, from, 1);
                self.nth(weekdays)
            }
            (b'-', _) => {
                self.at += 1;
                let to = self.value()?;
                if from > to && self.field == Field::Year {
                    return self.wrong(start, "years do not wrap around");
                }
                if self.field == Field::Weekday && self.eat(b'#') {
                    let weekdays = self.range(from, to, 1);
                    return self.nth(weekdays);
                }
                let step = self.step()?.unwrap_or(1);
                Ok(Item::Values(self.range(from, to, step)))
            }
            _ => match self.step()? {
                // From the second name of Sunday a week is as long as from the first.
                Some(step) if from > top => Ok(Item::Values(self.range(least, top, step))),
                Some(step) => Ok(Item::Values(self.range(from, top, step))),
                None => Ok(Item::Values(self.range(from, from, 1))),
            },
        }
    }

    /// The number after `#`.
    fn nth(&mut self, weekdays: Set) -> Result<Item, RuleError> {
        let place = self.at;
        match self.number()? {
            nth @ 1..=5 => Ok(Item::NthWeekdays { weekdays, nth }),
            nth => self.wrong(place, format!("a month has no weekday number {nth}")),
        }
    }

    /// `L`, `L-3`, `LW`, `L-3W`.
    fn last_date(&mut self) -> Result<Item, RuleError> {
        self.at += 1;
        let mut back = 0;
        if self.eat(b'-') {
            let start = self.at;
            back = self.number()?;
            if back > 30 {
                return self.wrong(start, "no month has that many days before its last");
            }
        }
        Ok(if self.eat(b'w') { Item::NearestLast { back } } else { Item::Last { back } })
    }

    /// `L` alone is Saturday in Quartz; `L5` is the last Friday as `5L` is.
    fn last_weekday(&mut self) -> Result<Item, RuleError> {
        let start = self.at;
        self.at += 1;
        if self.peek().is_ascii_digit() {
            let weekday = self.value()?;
            return Ok(Item::LastWeekday { weekday: self.bit(weekday) });
        }
        if self.dialect == Dialect::Quartz {
            return Ok(Item::Values(self.range(7, 7, 1)));
        }
        self.wrong(start, "`L` needs a weekday, as in `5L`")
    }

    /// `H`, `H(0-29)`, `H/15`, `H(0-29)/10`.
    fn hashed(&mut self) -> Result<Item, RuleError> {
        self.at += 1;
        let (mut least, mut most) = match (self.field, self.field.bounds(self.dialect)) {
            // Every month has a 28th, and a week has one Sunday.
            (Field::Date, _) if self.hash.hashing == Hashing::Spread => (1, 28),
            // The years that croniter knows.
            (Field::Year, _) if self.hash.hashing != Hashing::Spread => (YEAR_MIN, 2099),
            (Field::Weekday, (least, _)) => (least, least + 6),
            (_, bounds) => bounds,
        };
        let start = self.at;
        if self.eat(b'(') {
            least = self.value()?;
            self.expect(b'-')?;
            most = self.value()?;
            self.expect(b')')?;
            if least > most {
                return self.wrong(start, "the range of `H` runs backwards");
            }
        }
        let step = self.step()?;
        let choices = most - least + 1;
        let Hash { seed, hashing } = self.hash;
        let pick = |choices| hashing.pick(seed, self.field.name(), self.field.place(), choices);
        let from = least + pick(step.map_or(choices, |step| choices.min(step)));
        let set =
            step.map_or_else(|| self.range(from, from, 1), |step| self.range(from, most, step));
        Ok(Item::Values(set))
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Item, RuleError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.item();
        let end = self.word.text.len();
        self.done = item.is_err() || self.at == end;
        if self.done || self.eat(b',') {
            return Some(item);
        }
        self.done = true;
        let rest: String = self.word.text[self.at..].chars().take(8).collect();
        Some(self.wrong(self.at, format!("`{rest}` does not belong here")))
    }
}
