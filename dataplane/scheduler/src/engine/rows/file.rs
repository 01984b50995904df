//! The file of a template, read into rows.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt as _};
use orrery_api::scheduler::Template;
use serde_json::{Map, Value};

/// The most text of all rows, in bytes: what a ConfigMap has room for.
const ROWS_BYTES_MAX: usize = 1 << 20;
/// A key that ends so has rows separated by commas.
const CSV: &str = ".csv";
/// The column that tells rows apart.
pub(super) const ID: &str = "id";

/// Rows of one file. Every row has a cell for each column, and an id that no other has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    /// Cells of each row, in the order of the columns.
    pub(super) cells: Vec<Vec<String>>,
    /// Which column is [`ID`].
    pub(super) id: usize,
}

/// One row as it was read, and where.
struct Read {
    cells: BTreeMap<String, String>,
    place: String,
}

/// The rows of the texts, in the order of their keys; a sentence where they are none.
pub(super) fn read(template: &Template, texts: &BTreeMap<String, String>) -> Result<Rows, String> {
    let name = &template.data_ref.name;
    let bytes: usize = texts.values().map(String::len).sum();
    if bytes > ROWS_BYTES_MAX {
        return Err(format!(
            "ConfigMap {name} has {bytes} bytes of rows, and {ROWS_BYTES_MAX} are the most"
        ));
    }
    let mut found = vec![];
    for (key, text) in texts {
        // Some editors begin a file with a mark of its encoding.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let rows = if key.ends_with(CSV) { of_csv(key, text) } else { of_json(key, text) };
        found.extend(rows.map_err(|why| format!("ConfigMap {name}: {why}"))?);
    }
    let most = usize::try_from(template.max_count).unwrap_or(0);
    if found.len() > most {
        let count = found.len();
        return Err(format!(
            "ConfigMap {name} has {count} rows, and {most} are the most: raise \
             spec.template.maxCount, or shorten it"
        ));
    }
    together(found).map_err(|why| format!("ConfigMap {name}: {why}"))
}

/// A line of names, then rows (RFC 4180).
fn of_csv(key: &str, text: &str) -> Result<Vec<Read>, String> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let broken = |error: csv::Error| format!("{key}: {error}");
    let columns = reader.headers().map_err(broken)?.clone();
    let records = reader.records().map(|record| {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells =
            columns.iter().zip(&record).map(|(name, cell)| (name.to_owned(), cell.to_owned()));
        Ok(Read { cells: cells.collect(), place: format!("line {line} of {key}") })
    });
    records.collect()
}

/// An object a line; what is no text is written as JSON, and null as nothing.
fn of_json(key: &str, text: &str) -> Result<Vec<Read>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.map(|(index, line)| {
        let place = format!("line {} of {key}", index + 1);
        let row: Map<String, Value> = serde_json::from_str(line)
            .map_err(|error| format!("{place} is no object of JSON: {error}"))?;
        let cells = row.into_iter().map(|(name, value)| match value {
            Value::String(text) => (name, text),
            Value::Null => (name, String::new()),
            other => (name, other.to_string()),
        });
        Ok(Read { cells: cells.collect(), place })
    });
    rows.collect()
}

/// All rows with the columns of the first, under ids that are told apart.
fn together(found: Vec<Read>) -> Result<Rows, String> {
    let Some(first) = found.first() else {
        return Ok(Rows::default());
    };
    let columns: Vec<String> = first.cells.keys().cloned().collect();
    let mut places: HashMap<String, String> = HashMap::with_capacity(found.len());
    let mut rows = Vec::with_capacity(found.len());
    for Read { mut cells, place } in found {
        let Some(id) = cells.get(ID).filter(|id| !id.is_empty()).cloned() else {
            return Err(format!("{place} has no {ID}, which tells rows apart"));
        };
        let cells_of = columns.iter().map(|column| {
            cells
                .remove(column)
                .ok_or_else(|| format!("{place} has no {column}, as the first row has"))
        });
        let row: Vec<String> = cells_of.collect::<Result<_, _>>()?;
        if let Some(column) = cells.keys().next() {
            return Err(format!("{place} has {column}, which the first row has not"));
        }
        if let Some(other) = places.get(&id) {
            return Err(format!("{place} has the {ID} {id}, as {other} has"));
        }
        places.insert(id, place);
        rows.push(row);
    }
    let id = columns.iter().position(|column| column == ID).unwrap_or(0);
    Ok(Rows { columns, cells: rows, id })
}

#[cfg(test)]
mod tests {
    use orrery_api::spec::LocalRef;

    use super::*;

    fn read_of(values: &[(&str, &str)], max_count: i32) -> Result<Rows, String> {
        let texts = values.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        let data_ref = LocalRef { name: "customers".to_owned() };
        read(&Template { data_ref, max_count }, &texts.collect())
    }

    #[test]
    fn lines_of_json_and_of_csv_are_the_same_rows() {
        let json = "{\"id\": \"a\", \"hour\": 7, \"note\": null}\n\n{\"note\": [1], \"id\": \"b\", \"hour\": 8}\n";
        let found = read_of(&[("rows.ndjson", json)], 2).unwrap();
        assert_eq!(found.columns, ["hour", "id", "note"]);
        assert_eq!(found.cells, [["7", "a", ""], ["8", "b", "[1]"]]);
        let csv = "\u{feff}id,hour,note\na,7,\n\"b\",8,[1]\n";
        assert_eq!(read_of(&[("rows.csv", csv)], 2).unwrap(), found);
        // Values come one after the other, whatever the order of their columns.
        let both = read_of(&[("1.csv", "id,x\na,1\n"), ("2.csv", "x,id\n2,b\n")], 2).unwrap();
        assert_eq!(both.cells, [["a", "1"], ["b", "2"]]);
        assert_eq!(read_of(&[("rows.ndjson", "\n")], 1).unwrap().cells.len(), 0);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        for (key, text, says) in [
            ("a", "{\"id\": \"a\"}\nb", "line 2 of a is no object of JSON"),
            ("a", "[1]", "line 1 of a is no object of JSON"),
            ("a", "{\"x\": \"a\"}", "line 1 of a has no id"),
            ("a", "{\"id\": \"\"}", "line 1 of a has no id"),
            ("a", "{\"id\": 1, \"x\": 1}\n{\"id\": 2}", "line 2 of a has no x"),
            ("a", "{\"id\": 1}\n{\"id\": 2, \"y\": 1}", "line 2 of a has y"),
            ("a", "{\"id\": 1}\n{\"id\": \"1\"}", "line 2 of a has the id 1, as line 1 of a has"),
            ("a.csv", "id,x\na,1\nb\n", "line: 3"),
            ("a.csv", "x\n1\n", "line 2 of a.csv has no id"),
        ] {
            let why = read_of(&[(key, text)], 10).expect_err(text);
            assert!(
                why.starts_with("ConfigMap customers: ") && why.contains(says),
                "{text}: {why}"
            );
        }
    }

    #[test]
    fn a_file_that_is_too_much_is_refused() {
        let why = read_of(&[("a", "{\"id\": 1}\n{\"id\": 2}")], 1).unwrap_err();
        assert!(why.contains("has 2 rows, and 1 are the most"), "{why}");
        let text = format!("{{\"id\": \"{}\"}}", "a".repeat(ROWS_BYTES_MAX));
        let why = read_of(&[("a", &text)], 1).unwrap_err();
        assert!(why.contains("1048576 are the most"), "{why}");
    }
}
