//! YAML documents as trees that remember where each value stands.
//!
//! Must not: know any kind. Parsing is serde-saphyr's, with its limits on depth, anchors and
//! replayed aliases, so that a hostile file is an error and not a full memory.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};
use serde_saphyr::{Location, Spanned};

use super::problem::Place;

/// A value and the place it starts at.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// What a YAML node can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One `key: value` line.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub value: Node,
}

/// Why a file is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    pub place: Place,
    pub message: String,
}

/// Parses all documents of a file; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options::<Node>(text, options).map_err(|error| {
        let place = error.location().map(place_of).unwrap_or_default();
        let formatter = serde_saphyr::UserMessageFormatter;
        let message = error.render_with_formatter(&formatter);
        YamlError { place, message: without_location(&message) }
    })
}

/// The place is said by the problem; the parser's own mention of it would say it twice.
fn without_location(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    let cut = first.find(" at line ").or_else(|| first.find(" (line "));
    first[..cut.unwrap_or(first.len())].to_owned()
}

fn place_of(location: Location) -> Place {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: narrow(location.line()), column: narrow(location.column()) }
}

impl Node {
    /// The same value without places.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(value) => Json::Number(value.clone()),
            Value::String(value) => Json::String(value.clone()),
            Value::Sequence(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Mapping(entries) => {
                let entry = |entry: &Entry| (entry.key.clone(), entry.value.to_json());
                Json::Object(entries.iter().map(entry).collect::<Map<_, _>>())
            }
        }
    }

    /// The entry called `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value called `key`.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Where the field at `path` (`spec.entries[2].key`, `metadata.labels["a.b/c"]`) stands; where
    /// it is not in the file, the nearest field around it that is.
    pub fn locate(&self, path: &str) -> Place {
        let mut node = self;
        let mut place = self.place;
        for step in steps(path) {
            let found = match (&node.value, &step) {
                (Value::Mapping(_), Step::Key(key)) => {
                    node.entry(key).map(|entry| (entry.key_place, &entry.value))
                }
                (Value::Sequence(items), Step::Index(index)) => {
                    items.get(*index).map(|item| (item.place, item))
                }
                _ => None,
            };
            let Some((at, next)) = found else { return place };
            (place, node) = (at, next);
        }
        place
    }
}

enum Step {
    Key(String),
    Index(usize),
}

/// Splits a field path; what is in brackets is an index or a quoted key.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let end = inside.find(']').unwrap_or(inside.len());
            let text = &inside[..end];
            steps.push(match text.parse() {
                Ok(index) => Step::Index(index),
                Err(_) => Step::Key(text.trim_matches(['"', '\'']).to_owned()),
            });
            rest = inside.get(end + 1..).unwrap_or("");
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start_matches('.');
    }
    steps
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: place_of(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom("numbers must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Value::Sequence(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value()?;
            entries.push(Entry { key_place: place_of(key.referenced), key: key.value, value });
        }
        Ok(Value::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
apiVersion: orrery.dev/v1alpha1
kind: KVCluster
metadata:
  name: default
  labels: {\"a.b/c\": x}
spec:
  resp:
    port: 6379
  entries:
    - key: one
    - key: two
---
---
kind: Other
";

    #[test]
    fn documents_keep_the_place_of_every_field() {
        let documents = parse(TEXT).expect("the text is YAML");
        assert_eq!(documents.len(), 2, "empty documents are left out");
        let place = |path: &str| {
            let place = documents[0].locate(path);
            (place.line, place.column)
        };
        assert_eq!(place("spec.resp.port"), (8, 5));
        assert_eq!(place("spec.entries[1].key"), (11, 7));
        assert_eq!(place("metadata.labels[\"a.b/c\"]").0, 5);
        assert_eq!(place("spec.resp.tls.secretRef"), (7, 3), "the nearest field around it");
        assert_eq!(documents[1].locate("kind").line, 14);
    }

    #[test]
    fn the_json_form_has_the_same_values() {
        let text = "a: 1\nb: [true, null, 1.5, 'x', yes]\nc: {d: 6379}\n";
        let json = parse(text).expect("the text is YAML")[0].to_json();
        let expected = serde_json::json!({
            "a": 1, "b": [true, null, 1.5, "x", "yes"], "c": {"d": 6379}
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_syntax_error_has_line_and_column() {
        let error = parse("a: 1\nb: [1, 2\nc: 3\n").expect_err("the bracket is open");
        assert!(error.place.line >= 2, "{error:?}");
        assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error:?}");
    }

    #[test]
    fn a_key_that_comes_twice_is_refused_where_it_stands() {
        let error = parse("a: 1\nb: 2\na: 3\n").expect_err("a comes twice");
        assert_eq!(error.place.line, 3, "{error:?}");
    }

    #[test]
    fn an_anchor_bomb_is_an_error() {
        let mut text = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
        for (from, to) in ('a'..='h').zip('b'..='i') {
            let items = vec![format!("*{from}"); 10].join(", ");
            text = format!("{text}{to}: &{to} [{items}]\n");
        }
        parse(&text).expect_err("the aliases grow without bound");
    }
}
