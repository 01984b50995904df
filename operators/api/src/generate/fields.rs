//! Walks the schema of a kind and lists its fields.

use serde_json::{Map, Value};

/// One field of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Path from the root of the object, such as `spec.resp.port`; `[]` marks items of a list.
    pub path: String,
    /// Type in words: `integer 1 to 64`, `Retain, Delete or Snapshot`.
    pub type_: String,
    /// Default as JSON, if there is one.
    pub default: Option<Value>,
    /// Description of the type's documentation.
    pub description: String,
    /// CEL messages of the field.
    pub rules: Vec<String>,
    /// Whether the object is refused without it.
    pub required: bool,
}

/// All fields below `root` (`spec` or `status`) of an OpenAPI schema, parents before children.
pub fn fields(schema: &Value, root: &str) -> Vec<Field> {
    let mut found = Vec::new();
    walk(&schema["properties"][root], root, true, &mut found);
    found
}

fn walk(schema: &Value, path: &str, required: bool, found: &mut Vec<Field>) {
    found.push(Field {
        path: path.to_owned(),
        type_: type_text(schema),
        default: schema.get("default").cloned(),
        description: text(schema, "description").replace('\n', " "),
        rules: rules(schema),
        required,
    });
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let needed: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (name, property) in properties {
        let required = needed.contains(&name.as_str());
        walk(property, &format!("{path}.{name}"), required, found);
    }
    if schema["items"]["properties"].is_object() {
        let mut items = Vec::new();
        walk(&schema["items"], &format!("{path}[]"), false, &mut items);
        found.extend(items.into_iter().skip(1));
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema[key].as_str().unwrap_or_default()
}

fn rules(schema: &Value) -> Vec<String> {
    schema["x-kubernetes-validations"]
        .as_array()
        .map(|rules| rules.iter().map(|rule| text(rule, "message").to_owned()).collect())
        .unwrap_or_default()
}

fn type_text(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let words: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.join(""),
        };
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    match text(schema, "type") {
        "integer" => bounded("integer", schema, "minimum", "maximum", "to"),
        "string" if schema["pattern"].as_str() == Some(crate::spec::quantity::WHOLE_PATTERN) => {
            "quantity".to_owned()
        }
        "string" if text(schema, "format") == "date-time" => "time".to_owned(),
        "string" => match schema["maxLength"].as_i64() {
            Some(max) => format!("text up to {max} characters"),
            None => "text".to_owned(),
        },
        "array" => match schema["maxItems"].as_i64() {
            Some(max) => format!("list of up to {max}"),
            None => "list".to_owned(),
        },
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", type_text(&schema["additionalProperties"]))
        }
        other => other.to_owned(),
    }
}

fn bounded(word: &str, schema: &Value, low: &str, high: &str, between: &str) -> String {
    let number = |key: &str| schema[key].as_f64().map(|n| format!("{n}"));
    match (number(low), number(high)) {
        (Some(low), Some(high)) => format!("{word} {low} {between} {high}"),
        (Some(low), None) => format!("{word} from {low}"),
        (None, Some(high)) => format!("{word} up to {high}"),
        (None, None) => word.to_owned(),
    }
}
