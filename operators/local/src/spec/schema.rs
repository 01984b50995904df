//! Checks a document against the structural schema of its kind, as the API server would, but with
//! the place of every finding: types, unknown fields, required fields, enums, bounds, patterns.
//!
//! Must not: know any kind. Validation rules in CEL are evaluated elsewhere, over the value with its
//! defaults, and only when the schema holds.

use std::collections::HashSet;

use regex::Regex;
use serde_json::Value as Json;

use super::problem::Place;
use super::suggest;
use super::yaml::{Entry, Node, Value};

/// One finding in one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub place: Place,
    pub field: String,
    pub message: String,
}

/// Findings beyond this many would only hide the first ones.
const FINDINGS_MAX: usize = 50;
/// Deeper documents than any schema of ours.
const DEPTH_MAX: usize = 64;

/// Everything in `node` that `schema` does not allow; `path` is where the node stands.
pub fn check(schema: &Json, node: &Node, path: &str) -> Vec<Finding> {
    let mut checker = Checker { findings: Vec::new() };
    checker.node(schema, node, path, 0);
    checker.findings.sort_by_key(|finding| finding.place);
    checker.findings
}

struct Checker {
    findings: Vec<Finding>,
}

impl Checker {
    fn say(&mut self, place: Place, path: &str, message: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            let (field, message) = (path.to_owned(), message.into());
            self.findings.push(Finding { place, field, message });
        }
    }

    fn node(&mut self, schema: &Json, node: &Node, path: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return self.say(node.place, path, "is nested too deeply");
        }
        if flag(schema, "x-kubernetes-preserve-unknown-fields") && schema.get("type").is_none() {
            return;
        }
        if flag(schema, "x-kubernetes-int-or-string") {
            if !matches!(&node.value, Value::Number(n) if n.is_i64())
                && !matches!(node.value, Value::String(_))
            {
                self.wrong_type("an integer or text", node, path);
            }
            return self.text_bounds(schema, node, path);
        }
        let expected = schema.get("type").and_then(Json::as_str).unwrap_or("");
        match (&node.value, expected) {
            // An empty `key:` is a missing field; what is required is said where it is required.
            (Value::Null, _) | (_, "") => return,
            (Value::Mapping(entries), "object") => self.object(schema, node, entries, path, depth),
            (Value::Sequence(items), "array") => self.array(schema, node, items, path, depth),
            (Value::String(_), "string") => self.text_bounds(schema, node, path),
            (Value::Number(number), "integer") => match number.as_i64() {
                Some(_) => self.number_bounds(schema, node, path),
                None => return self.wrong_type("a whole number", node, path),
            },
            (Value::Number(_), "number") => self.number_bounds(schema, node, path),
            (Value::Bool(_), "boolean") => {}
            (_, expected) => return self.wrong_type(described(expected), node, path),
        }
        self.one_of_names(schema, node, path);
    }

    fn wrong_type(&mut self, expected: &str, node: &Node, path: &str) {
        let quoted = matches!(&node.value, Value::String(text) if text.parse::<f64>().is_ok());
        let hint = if quoted && expected.contains("number") { "; take the quotes off" } else { "" };
        let message = format!("must be {expected}, but is {}{hint}", shown(node));
        self.say(node.place, path, message);
    }

    fn object(&mut self, schema: &Json, node: &Node, entries: &[Entry], path: &str, depth: usize) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties");
        for entry in entries {
            let field = join(path, &entry.key);
            let property = properties.and_then(|properties| properties.get(&entry.key));
            match (property, others) {
                (Some(property), _) => self.node(property, &entry.value, &field, depth + 1),
                (None, Some(others)) if others.is_object() => {
                    self.node(others, &entry.value, &field, depth + 1);
                }
                (None, Some(Json::Bool(true))) => {}
                (None, _) if flag(schema, "x-kubernetes-preserve-unknown-fields") => {}
                (None, _) if properties.is_none() && others.is_none() => {}
                (None, _) => {
                    let names = properties.into_iter().flatten().map(|(name, _)| name.as_str());
                    let hint = suggest::hint(&entry.key, names.clone());
                    let known = if hint.is_empty() { list(names) } else { String::new() };
                    let message = format!("is no field of this kind{hint}{known}");
                    self.say(entry.key_place, &field, message);
                }
            }
        }
        for name in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            let present = node.get(name).is_some_and(|node| node.value != Value::Null);
            let default = properties.and_then(|p| p.get(name)?.get("default")).is_some();
            if !present && !default {
                let place = node.entry(name).map_or(node.place, |entry| entry.key_place);
                self.say(place, &join(path, name), "is required");
            }
        }
        self.count(schema, "Properties", entries.len(), "fields", node, path);
    }

    fn array(&mut self, schema: &Json, node: &Node, items: &[Node], path: &str, depth: usize) {
        self.count(schema, "Items", items.len(), "items", node, path);
        let keys: Vec<&str> = match schema.get("x-kubernetes-list-type").and_then(Json::as_str) {
            Some("map") => schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Json::as_array)
                .map(|keys| keys.iter().filter_map(Json::as_str).collect())
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        let is_set = schema.get("x-kubernetes-list-type").and_then(Json::as_str) == Some("set");
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let field = format!("{path}[{index}]");
            if is_set && !seen.insert(item.to_json().to_string()) {
                self.say(item.place, &field, "is in the list twice");
            }
            if !keys.is_empty() {
                let identity: Vec<Option<Json>> =
                    keys.iter().map(|key| item.get(key).map(Node::to_json)).collect();
                if !seen.insert(format!("{identity:?}")) {
                    let names = keys.join(", ");
                    self.say(item.place, &field, format!("is the second with the same {names}"));
                }
            }
            if let Some(schema) = schema.get("items") {
                self.node(schema, item, &field, depth + 1);
            }
        }
    }

    fn count(&mut self, schema: &Json, of: &str, n: usize, what: &str, node: &Node, path: &str) {
        if let Some(max) = bound(schema, &format!("max{of}")).filter(|max| n as f64 > *max) {
            self.say(node.place, path, format!("has {n} {what}, more than the {max} allowed"));
        }
        if let Some(min) = bound(schema, &format!("min{of}")).filter(|min| (n as f64) < *min) {
            self.say(node.place, path, format!("has {n} {what}, fewer than the {min} needed"));
        }
    }

    fn text_bounds(&mut self, schema: &Json, node: &Node, path: &str) {
        let Some(text) = node.as_str() else { return };
        self.count(schema, "Length", text.chars().count(), "characters", node, path);
        let Some(pattern) = schema.get("pattern").and_then(Json::as_str) else { return };
        match Regex::new(pattern) {
            Ok(regex) if regex.is_match(text) => {}
            Ok(_) => {
                self.say(
                    node.place,
                    path,
                    format!("{text:?} does not match the pattern {pattern}"),
                );
            }
            Err(_) => {
                self.say(node.place, path, format!("the schema's pattern {pattern} is broken"));
            }
        }
    }

    fn number_bounds(&mut self, schema: &Json, node: &Node, path: &str) {
        let Value::Number(number) = &node.value else { return };
        let value = number.as_f64().unwrap_or(f64::NAN);
        let exclusive = |name| flag(schema, name);
        if let Some(max) = bound(schema, "maximum")
            && (value > max || (exclusive("exclusiveMaximum") && value >= max))
        {
            self.say(node.place, path, format!("{number} is above the highest value {max}"));
        }
        if let Some(min) = bound(schema, "minimum")
            && (value < min || (exclusive("exclusiveMinimum") && value <= min))
        {
            self.say(node.place, path, format!("{number} is below the lowest value {min}"));
        }
        let narrow = schema.get("format").and_then(Json::as_str) == Some("int32");
        if narrow && number.as_i64().is_some_and(|value| i32::try_from(value).is_err()) {
            self.say(node.place, path, format!("{number} does not fit into 32 bits"));
        }
    }

    fn one_of_names(&mut self, schema: &Json, node: &Node, path: &str) {
        let Some(allowed) = schema.get("enum").and_then(Json::as_array) else { return };
        if allowed.contains(&node.to_json()) {
            return;
        }
        let names = allowed.iter().filter_map(Json::as_str);
        let hint = suggest::hint(node.as_str().unwrap_or_default(), names.clone());
        let names: Vec<&str> = names.collect();
        let names = names.join(", ");
        self.say(node.place, path, format!("{} is none of {names}{hint}", shown(node)));
    }
}

fn flag(schema: &Json, name: &str) -> bool {
    schema.get(name).and_then(Json::as_bool) == Some(true)
}

fn bound(schema: &Json, name: &str) -> Option<f64> {
    schema.get(name).and_then(Json::as_f64)
}

/// `; known here: a, b, c`.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        return String::new();
    }
    format!("; known here: {}", names.join(", "))
}

fn described(kind: &str) -> &str {
    match kind {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    }
}

/// A value in a message; collections by their kind, long text cut.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::String(text) if text.chars().count() > 40 => {
            format!("{:?} …", text.chars().take(40).collect::<String>())
        }
        _ => node.to_json().to_string(),
    }
}

/// `path.key`, with quotes where the key itself has dots.
fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains('.')) {
        (_, true) => format!("{path}[{key:?}]"),
        (true, false) => key.to_owned(),
        (false, false) => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::yaml;
    use serde_json::json;

    fn schema() -> Json {
        json!({"type": "object", "required": ["match"], "properties": {
            "match": {"type": "object", "properties": {"prefix": {"type": "string", "maxLength": 4}}},
            "class": {"type": "string", "enum": ["Cache", "Session", "Store"]},
            "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
            "size": {"type": "string", "pattern": "^[0-9]+(Mi|Gi)$"},
            "limit": {"x-kubernetes-int-or-string": true},
            "on": {"type": "boolean"},
            "list": {"type": "array", "maxItems": 2, "items": {"type": "object", "properties": {
                "name": {"type": "string"}}},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }})
    }

    fn findings(text: &str) -> Vec<String> {
        let node = &yaml::parse(text).expect("the text is YAML")[0];
        check(&schema(), node, "spec")
            .into_iter()
            .map(|f| format!("{}:{}: {}: {}", f.place.line, f.place.column, f.field, f.message))
            .collect()
    }

    #[test]
    fn a_good_document_has_no_findings() {
        let text = "match: {prefix: abc}\nclass: Store\nport: 1\nsize: 5Gi\nlimit: 3\non: true\n\
                    labels: {a.b/c: x}\nlist: [{name: a}, {name: b}]\n";
        assert_eq!(findings(text), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_name_that_was_meant() {
        assert_eq!(
            findings("match: {prefxi: a}\nclas: Store\n"),
            [
                "1:9: spec.match.prefxi: is no field of this kind; did you mean \"prefix\"?",
                "2:1: spec.clas: is no field of this kind; did you mean \"class\"?",
            ]
        );
        let text = "match: {}\nzzzzz: 1\n";
        assert!(findings(text)[0].contains("; known here: class, "), "{:?}", findings(text));
    }

    #[test]
    fn types_and_bounds_are_said_with_the_value() {
        assert_eq!(
            findings("match: {prefix: abcde}\nport: 70000\non: 'yes'\nlimit: 1.5\nsize: 5G\n"),
            [
                "1:17: spec.match.prefix: has 5 characters, more than the 4 allowed",
                "2:7: spec.port: 70000 is above the highest value 65535",
                "3:5: spec.on: must be true or false, but is \"yes\"",
                "4:8: spec.limit: must be an integer or text, but is 1.5",
                "5:7: spec.size: \"5G\" does not match the pattern ^[0-9]+(Mi|Gi)$",
            ]
        );
        assert_eq!(
            findings("match: {}\nport: '6379'\n"),
            ["2:7: spec.port: must be a whole number, but is \"6379\"; take the quotes off"]
        );
    }

    #[test]
    fn an_enum_lists_what_it_knows() {
        assert_eq!(
            findings("match: {}\nclass: Cahce\n"),
            [
                "2:8: spec.class: \"Cahce\" is none of Cache, Session, Store; did you mean \"Cache\"?"
            ]
        );
    }

    #[test]
    fn a_missing_required_field_is_named() {
        assert_eq!(findings("class: Store\n"), ["1:1: spec.match: is required"]);
        assert_eq!(findings("match:\nclass: Store\n"), ["1:1: spec.match: is required"]);
    }

    #[test]
    fn a_list_with_keys_takes_each_key_once() {
        assert_eq!(
            findings("match: {}\nlist:\n  - name: a\n  - name: a\n"),
            ["4:5: spec.list[1]: is the second with the same name"]
        );
        let long = findings("match: {}\nlist: [{name: a}, {name: b}, {name: c}]\n");
        assert_eq!(long, ["2:7: spec.list: has 3 items, more than the 2 allowed"]);
    }
}
