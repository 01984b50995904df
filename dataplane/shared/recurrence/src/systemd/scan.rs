//! Pieces of OnCalendar text: weekdays, and chains of values, ranges and repetitions.

use super::{ANY_WEEKDAY, full_year, years_set};
use crate::RuleError;
use crate::civil::{YEAR_MAX, YEAR_MIN};
use crate::fields::Years;

const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// systemd's own bound.
const LINKS_MAX: usize = 240;

/// `start`, `start..stop`, `start/repeat`, `start..stop/repeat`.
#[derive(Debug, Clone, Copy)]
struct Link {
    start: u32,
    stop: Option<u32>,
    repeat: Option<u32>,
    at: usize,
}

/// A list of links; an empty one is `*`.
#[derive(Debug, Clone)]
pub(super) struct Chain(Vec<Link>);

impl Chain {
    pub fn just(value: u32) -> Self {
        Self(vec![Link { start: value, stop: None, repeat: None, at: 0 }])
    }

    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The values as bits.
    pub fn set(
        &self,
        scan: &Scan<'_>,
        field: &'static str,
        least: u32,
        most: u32,
        all: u64,
    ) -> Result<u64, RuleError> {
        if self.is_all() {
            return Ok(all);
        }
        let mut set = 0;
        for link in &self.0 {
            let values = link.values(scan, field, least, most)?;
            set = values.fold(set, |set: u64, value| set | 1 << value);
        }
        Ok(set)
    }

    pub fn years(&self, scan: &Scan<'_>) -> Result<Years, RuleError> {
        if self.is_all() {
            return Ok(None);
        }
        let mut all = Vec::new();
        for link in &self.0 {
            let link =
                Link { start: full_year(link.start), stop: link.stop.map(full_year), ..*link };
            all.extend(link.values(scan, "year", YEAR_MIN, YEAR_MAX)?);
        }
        Ok(years_set(all.into_iter()).years())
    }

    /// Days counted from the end: bit n is n days before the last. A repetition walks towards the
    /// end of the month. As in systemd, the 28th last is the furthest.
    pub fn counted_back(&self, scan: &Scan<'_>) -> Result<u32, RuleError> {
        let mut set = 0;
        for link in &self.0 {
            let far = link.stop.unwrap_or(link.start);
            let near = if link.stop.is_none() && link.repeat.is_some() { 1 } else { link.start };
            let wrong = |message| Err(scan.wrong_at(link.at, "day of month", message));
            if link.start < 1 || far < link.start || far > 28 {
                return wrong("outside of 1 to 28 days from the end, or backwards");
            }
            let open = link.stop.is_none();
            if open && link.repeat.is_some_and(|repeat| repeat > far - near) {
                return wrong("the repetition does not fit");
            }
            for back in (0..=far - near).step_by(link.repeat.unwrap_or(1) as usize) {
                set |= 1 << (far - 1 - back);
            }
        }
        Ok(set)
    }
}

impl Link {
    fn values(
        self,
        scan: &Scan<'_>,
        field: &'static str,
        least: u32,
        most: u32,
    ) -> Result<impl Iterator<Item = u32>, RuleError> {
        let alone = if self.repeat.is_some() { most } else { self.start };
        let stop = self.stop.unwrap_or(alone);
        if self.start < least || self.start > most || stop > most {
            let message = format!("outside of {least} to {most}");
            return Err(scan.wrong_at(self.at, field, &message));
        }
        if self.start > stop {
            return Err(scan.wrong_at(self.at, field, "the range runs backwards"));
        }
        let open = self.stop.is_none();
        if open && self.repeat.is_some_and(|repeat| repeat > stop - self.start) {
            return Err(scan.wrong_at(self.at, field, "the repetition does not fit"));
        }
        Ok((self.start..=stop).step_by(self.repeat.unwrap_or(1) as usize))
    }
}

/// A place in the text.
pub(super) struct Scan<'a> {
    text: &'a str,
    /// Where the text begins in what errors speak of.
    base: usize,
    at: usize,
}

impl<'a> Scan<'a> {
    pub fn new(text: &'a str, base: usize) -> Self {
        Self { text, base, at: 0 }
    }

    pub fn wrong(&self, field: &'static str, message: &str) -> RuleError {
        self.wrong_at(self.at, field, message)
    }

    pub fn wrong_at(&self, at: usize, field: &'static str, message: &str) -> RuleError {
        RuleError::syntax(field, self.base + at, message)
    }

    pub fn place(&self) -> usize {
        self.at
    }

    pub fn back_to(&mut self, place: usize) {
        self.at = place;
    }

    pub fn done(&self) -> bool {
        self.at == self.text.len()
    }

    pub fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    pub fn eat(&mut self, character: u8) -> bool {
        let there = !self.done() && self.peek() == character;
        self.at += usize::from(there);
        there
    }

    fn eat_text(&mut self, text: &str) -> bool {
        let there = self.text[self.at..].starts_with(text);
        self.at += if there { text.len() } else { 0 };
        there
    }

    fn eat_blanks(&mut self) -> bool {
        let before = self.at;
        while [b' ', b'\t'].contains(&self.peek()) {
            self.at += 1;
        }
        self.at > before
    }

    /// What separates a date from a time.
    pub fn blank_or_end(&mut self, field: &'static str) -> Result<(), RuleError> {
        if self.eat_blanks() || self.done() {
            return Ok(());
        }
        Err(self.wrong(field, "this does not belong here"))
    }

    /// `Mon`, `Mon..Fri`, `Sat,Sun`; every day when the text begins otherwise.
    pub fn weekdays(&mut self) -> Result<u8, RuleError> {
        let mut set = 0;
        if !self.peek().is_ascii_alphabetic() {
            return Ok(ANY_WEEKDAY);
        }
        loop {
            let at = self.at;
            let from = self.weekday()?;
            let to = if self.eat_text("..") || self.eat(b'-') { self.weekday()? } else { from };
            // Weeks run from Monday to Sunday here.
            let (from, to) = ((from + 6) % 7, (to + 6) % 7);
            if from > to {
                return Err(self.wrong_at(at, "day of week", "the range runs backwards"));
            }
            set = (from..=to).fold(set, |set: u8, day| set | 1 << ((day + 1) % 7));
            if !self.eat(b',') {
                break;
            }
            // `Mon, Tue` and `Mon,` alone are written too.
            self.eat_blanks();
            if !self.peek().is_ascii_alphabetic() {
                break;
            }
        }
        self.blank_or_end("day of week")?;
        Ok(set)
    }

    fn weekday(&mut self) -> Result<u32, RuleError> {
        let rest = &self.text[self.at..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let name = rest[..letters].to_ascii_lowercase();
        let known = WEEKDAYS.iter().position(|known| *known == name || known[..3] == *name);
        let Some(known) = known else {
            let message = "neither a weekday nor a shorthand such as `daily`";
            return Err(self.wrong("day of week", message));
        };
        self.at += letters;
        Ok(known as u32)
    }

    fn number(&mut self, field: &'static str) -> Result<u32, RuleError> {
        let rest = &self.text[self.at..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..digits].parse().ok().filter(|number| *number <= 100_000);
        let Some(number) = number else {
            return Err(self.wrong(field, "a number belongs here"));
        };
        self.at += digits;
        let fraction = self.peek() == b'.' && !self.text[self.at..].starts_with("..");
        if fraction {
            return Err(self.wrong(field, "fractions are finer than a rule can be"));
        }
        Ok(number)
    }

    /// `*`, or links with commas between them.
    pub fn chain(&mut self, field: &'static str) -> Result<Chain, RuleError> {
        if self.eat(b'*') {
            return Ok(Chain(Vec::new()));
        }
        let mut links = Vec::new();
        loop {
            let at = self.at;
            let start = self.number(field)?;
            let stop = if self.eat_text("..") { Some(self.number(field)?) } else { None };
            let repeat = if self.eat(b'/') {
                let place = self.at;
                match self.number(field)? {
                    0 => return Err(self.wrong_at(place, field, "a step must be at least 1")),
                    repeat => Some(repeat),
                }
            } else {
                None
            };
            links.push(Link { start, stop, repeat, at });
            if links.len() > LINKS_MAX {
                return Err(self.wrong(field, "too many values"));
            }
            if !self.eat(b',') {
                return Ok(Chain(links));
            }
        }
    }
}
