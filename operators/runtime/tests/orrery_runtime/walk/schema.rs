//! From the schema of a kind to values worth trying: those that should be taken, and those that the
//! server must refuse.
//!
//! Must not: know a kind. What the schema cannot say is in the hints.

use serde_json::{Map, Value, json};

use super::hints::Hints;

/// A field of the spec, or a group of fields that is given as a whole.
#[derive(Debug, Clone)]
pub(super) struct Property {
    /// Names from the spec down.
    pub(super) path: Vec<String>,
    /// Values that the schema takes.
    pub(super) good: Vec<Value>,
    /// Values that the schema refuses.
    pub(super) bad: Vec<Value>,
}

impl Property {
    /// `spec.a.b`.
    pub(super) fn name(&self) -> String {
        format!("spec.{}", self.path.join("."))
    }
}

/// Every property below the spec of an OpenAPI schema.
pub(super) fn properties(schema: &Value, hints: &Hints) -> Vec<Property> {
    let mut found = Vec::new();
    walk(&schema["properties"]["spec"], &mut Vec::new(), hints, &mut found);
    found
}

fn walk(schema: &Value, path: &mut Vec<String>, hints: &Hints, found: &mut Vec<Property>) {
    let members = schema["properties"].as_object();
    let is_whole = path.is_empty() || required(schema).is_empty();
    if let (Some(members), true) = (members, is_whole) {
        for (name, member) in members {
            path.push(name.clone());
            walk(member, path, hints, found);
            path.pop();
        }
        return;
    }
    let property = Property { path: path.clone(), good: Vec::new(), bad: bad(schema) };
    let good = hints.good(&property.name()).unwrap_or_else(|| good(schema));
    found.push(Property { good, ..property });
}

fn required(schema: &Value) -> Vec<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_quantity(schema: &Value) -> bool {
    schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("Ki|Mi"))
}

/// Values that the schema takes, the first of which is small.
fn good(schema: &Value) -> Vec<Value> {
    if let Some(words) = schema["enum"].as_array() {
        return words.clone();
    }
    match schema["type"].as_str() {
        Some("boolean") => vec![json!(true), json!(false)],
        Some("integer") => {
            let (least, most) = bounds(schema);
            vec![json!(least), json!((least + 1).min(most)), json!((least + 1000).min(most))]
        }
        Some("string") if is_quantity(schema) => vec![json!("1Gi"), json!("3Gi")],
        Some("string") => vec![json!("walk"), json!("walked")],
        Some("array") => vec![json!([sample(&schema["items"])]), json!([])],
        Some("object") if schema["additionalProperties"].is_object() => {
            vec![json!({ "walk": sample(&schema["additionalProperties"]) }), json!({})]
        }
        Some("object") => objects(schema),
        // A quantity may be written as a number.
        _ => vec![json!("1"), json!(2)],
    }
}

/// One value that the schema takes.
fn sample(schema: &Value) -> Value {
    good(schema).into_iter().next().unwrap_or(Value::Null)
}

/// An object of its required members, and that with each of the others.
fn objects(schema: &Value) -> Vec<Value> {
    let Some(members) = schema["properties"].as_object() else { return vec![json!({})] };
    let needed = required(schema);
    let least: Map<String, Value> = members
        .iter()
        .filter(|(name, _)| needed.contains(&name.as_str()))
        .map(|(name, member)| (name.clone(), sample(member)))
        .collect();
    let mut all = vec![Value::Object(least.clone())];
    for (name, member) in members.iter().filter(|(name, _)| !needed.contains(&name.as_str())) {
        for value in good(member) {
            let mut more = least.clone();
            more.insert(name.clone(), value);
            all.push(Value::Object(more));
        }
    }
    all
}

fn bounds(schema: &Value) -> (i64, i64) {
    let bound = |name: &str, other: i64| schema[name].as_f64().map_or(other, |bound| bound as i64);
    let least = bound("minimum", 0);
    (least, bound("maximum", least + 1000))
}

/// Values that the schema refuses: of another type, and beyond each bound.
fn bad(schema: &Value) -> Vec<Value> {
    if schema["enum"].is_array() {
        return vec![json!("NoSuchWord"), json!(7)];
    }
    match schema["type"].as_str() {
        Some("boolean") => vec![json!("yes")],
        Some("integer") => {
            let (least, most) = bounds(schema);
            let mut values = vec![json!("seven"), json!(1.5)];
            values.extend(schema["minimum"].is_number().then(|| json!(least - 1)));
            values.extend(schema["maximum"].is_number().then(|| json!(most + 1)));
            values
        }
        Some("string") => {
            let mut values = vec![json!(7)];
            let most = schema["maxLength"].as_u64().expect("every string has a bound");
            values.push(json!("1".repeat(most as usize + 1)));
            let least = schema["minLength"].as_u64().unwrap_or(0);
            values.extend((least > 0).then(|| json!("")));
            values.extend(is_quantity(schema).then(|| json!("-1Gi")));
            values.extend(is_quantity(schema).then(|| json!("much")));
            values
        }
        Some("array") => vec![json!("a list"), json!([7])],
        Some("object") if schema["additionalProperties"].is_object() => {
            vec![json!("a map"), json!({ "walk": {} })]
        }
        Some("object") if schema["properties"].is_object() => {
            vec![json!("an object"), json!({})]
        }
        Some("object") => vec![json!("an object")],
        _ => vec![json!("-1"), json!({})],
    }
}

/// The spec with `value` at `path`.
pub(super) fn with(spec: &Value, path: &[String], value: &Value) -> Value {
    let mut spec = spec.clone();
    let mut at = &mut spec;
    for name in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = at.as_object_mut().expect("made so").entry(name.clone()).or_insert(Value::Null);
    }
    *at = value.clone();
    spec
}

/// The value at `path`; null where there is none.
pub(super) fn at(spec: &Value, path: &[String]) -> Value {
    path.iter().fold(spec.clone(), |value, name| value[name].clone())
}

#[test]
fn values_are_made_from_types_and_bounds() {
    let schema = json!({ "properties": { "spec": { "properties": {
        "count": { "type": "integer", "minimum": 1, "maximum": 5 },
        "mode": { "type": "string", "enum": ["On", "Off"] },
        "nested": { "type": "object", "properties": {
            "size": { "type": "string", "maxLength": 32, "pattern": "^[0-9]+(Ki|Mi)$" },
        }},
        "auth": { "type": "object", "required": ["ref"], "properties": {
            "ref": { "type": "string", "minLength": 1, "maxLength": 9 },
            "how": { "type": "string", "enum": ["A", "B"] },
        }},
    }}}});
    let found = properties(&schema, &super::hints::NONE);
    let names: Vec<String> = found.iter().map(Property::name).collect();
    assert_eq!(names, ["spec.auth", "spec.count", "spec.mode", "spec.nested.size"]);
    assert_eq!(found[0].good[2], json!({ "ref": "walk", "how": "B" }));
    assert_eq!(found[0].bad, [json!("an object"), json!({})]);
    assert_eq!(found[1].good, [json!(1), json!(2), json!(5)]);
    assert_eq!(found[1].bad, [json!("seven"), json!(1.5), json!(0), json!(6)]);
    assert_eq!(with(&json!({}), &found[3].path, &json!("1Gi")), json!({"nested": {"size": "1Gi"}}));
    assert_eq!(at(&json!({"nested": {"size": 7}}), &found[3].path), json!(7));
}
