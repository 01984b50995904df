//! Jobs that a Schedule with a template makes, one of each row. Every text of the spec may have columns
//! in it, as `{{column}}`: where a row is put in, it is escaped as the place asks for.
//!
//! | place | a cell is written |
//! |---|---|
//! | `url` behind its host, `path`, `statusPath` | percent-encoded but for letters, digits and `-._~` (RFC 3986, 2.3) |
//! | body that is JSON | as within quotes of JSON (RFC 8259, 7) |
//! | everything else | as it is |
//!
//! What two braces begin that is no name of a column in two braces stays as it is; a name that no
//! column has is refused.

use orrery_api::scheduler::{Calendars, DeclaredSchedule, ScheduleSpec};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::check::{Refusal, RefusalReason};
use file::Rows;

mod file;

/// Stands between the name of an object, which cannot have it, and the id of a row.
const SEPARATOR: char = ':';
/// What is written as it is in an address.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The object that a declared job is of.
pub(super) fn object_of(job: &str) -> &str {
    job.split_once(SEPARATOR).map_or(job, |(object, _)| object)
}

/// Whether a declared job is made of a row.
pub(super) fn is_of_row(job: &str) -> bool {
    job.contains(SEPARATOR)
}

/// What is said of a job where its object is spoken of: with the row, if it has one.
fn said_of(job: &str, what: &str) -> String {
    match job.split_once(SEPARATOR) {
        Some((_, id)) => format!("row {id}: {what}"),
        None => what.to_owned(),
    }
}

/// The refusal of a job as its object shows it.
pub(super) fn refusal_of(job: &str, mut refusal: Refusal) -> Refusal {
    refusal.message = said_of(job, &refusal.message);
    refusal
}

/// A Schedule with a template, and its rows.
#[derive(Debug)]
pub(super) struct Expansion<'a> {
    object: &'a str,
    rows: Rows,
    exclusions: &'a [String],
    spec: Value,
}

impl<'a> Expansion<'a> {
    /// Nothing where the schedule is one job.
    pub(super) fn of(
        object: &'a str,
        declared: &'a DeclaredSchedule,
    ) -> Result<Option<Self>, Refusal> {
        let (Some(template), Some(texts)) = (&declared.spec.template, &declared.rows) else {
            return Ok(None);
        };
        let rows = file::read(template, texts).map_err(refuse)?;
        // Its calendars are in the exclusions, and none of its jobs has a template.
        let spec = ScheduleSpec {
            template: None,
            calendars: Calendars::default(),
            ..declared.spec.clone()
        };
        let spec = serde_json::to_value(spec).map_err(|error| refuse(error.to_string()))?;
        Ok(Some(Self { object, rows, exclusions: &declared.exclusions, spec }))
    }

    fn name(&self, cells: &[String]) -> String {
        let id = cells.get(self.rows.id).map(String::as_str).unwrap_or_default();
        format!("{}{SEPARATOR}{id}", self.object)
    }

    /// The names of all its jobs.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.rows.cells.iter().map(|cells| self.name(cells))
    }

    /// The job of each row, by name; of a row that nothing can be made of, why.
    pub(super) fn jobs(
        &self,
    ) -> impl Iterator<Item = Result<(String, DeclaredSchedule), Refusal>> + '_ {
        self.rows.cells.iter().map(|cells| {
            let row = Row { columns: &self.rows.columns, cells };
            let name = self.name(cells);
            let of_row = |why: String| refuse(said_of(&name, &why));
            let mut spec = self.spec.clone();
            row.fill_in(&mut spec).map_err(of_row)?;
            let spec: ScheduleSpec =
                serde_json::from_value(spec).map_err(|error| of_row(error.to_string()))?;
            // The API server saw the texts with columns in them.
            super::rules::check(&spec).map_err(|refusal| of_row(refusal.message))?;
            let declared = DeclaredSchedule { exclusions: self.exclusions.to_vec(), ..spec.into() };
            Ok((name, declared))
        })
    }
}

fn refuse(message: String) -> Refusal {
    Refusal::new(RefusalReason::InvalidSpec, message)
}

/// How a cell is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Plain,
    Json,
    /// Percent-encoded behind so many bytes of the text.
    Address(usize),
}

struct Row<'a> {
    columns: &'a [String],
    cells: &'a [String],
}

impl Row<'_> {
    /// Puts the row into every text.
    fn fill_in(&self, value: &mut Value) -> Result<(), String> {
        match value {
            Value::String(text) => self.fill_in_text(text, Writing::Plain),
            Value::Array(values) => values.iter_mut().try_for_each(|value| self.fill_in(value)),
            Value::Object(map) => {
                let says_json = map
                    .get("contentType")
                    .and_then(Value::as_str)
                    .is_some_and(|kind| kind.contains("json"));
                map.iter_mut().try_for_each(|(name, value)| match value {
                    Value::String(text) => {
                        let writing = writing(name, text, says_json);
                        self.fill_in_text(text, writing)
                    }
                    other => self.fill_in(other),
                })
            }
            _ => Ok(()),
        }
    }

    fn fill_in_text(&self, text: &mut String, writing: Writing) -> Result<(), String> {
        if text.contains("{{") {
            *text = self.filled(text, writing)?;
        }
        Ok(())
    }

    fn filled(&self, text: &str, writing: Writing) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find("{{") {
            let (before, behind) = rest.split_at(begin);
            out.push_str(before);
            let at = text.len() - behind.len();
            let inner = &behind[2..];
            let found = inner.find("}}").map(|end| (inner[..end].trim(), &inner[end + 2..]));
            let Some((column, behind)) = found.filter(|(column, _)| is_name(column)) else {
                // Only one of them: another may begin with the second.
                out.push('{');
                rest = &behind[1..];
                continue;
            };
            self.write(&mut out, column, at, writing)?;
            rest = behind;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn write(
        &self,
        out: &mut String,
        column: &str,
        at: usize,
        writing: Writing,
    ) -> Result<(), String> {
        let index = self.columns.iter().position(|known| known == column);
        let cell = index.and_then(|index| self.cells.get(index)).ok_or_else(|| {
            format!("there is no column {column}: the rows have {}", self.columns.join(", "))
        })?;
        match writing {
            Writing::Address(host) if at >= host => {
                out.extend(utf8_percent_encode(cell, RESERVED));
            }
            Writing::Json => {
                let quoted = Value::String(cell.clone()).to_string();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
            Writing::Plain | Writing::Address(_) => out.push_str(cell),
        }
        Ok(())
    }
}

/// How cells are written in the text of this name.
fn writing(name: &str, text: &str, says_json: bool) -> Writing {
    match name {
        "path" | "statusPath" => Writing::Address(0),
        "url" => {
            let host = text.find("://").map_or(0, |scheme| scheme + 3);
            let path = text[host..].find(['/', '?', '#']);
            Writing::Address(path.map_or(text.len(), |path| host + path))
        }
        "body" if says_json || is_json(text) => Writing::Json,
        _ => Writing::Plain,
    }
}

/// Whether a body begins as JSON does: two braces begin a column.
fn is_json(body: &str) -> bool {
    let body = body.trim_start();
    body.starts_with(['{', '[', '"']) && !body.starts_with("{{")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
}

#[cfg(test)]
mod tests;
