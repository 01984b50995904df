//! Fills in the defaults of a structural schema, as the API server does.

use serde_json::Value as Json;

/// Schemas nested deeper than this are refused by the API server as well.
const DEPTH_MAX: usize = 64;

/// Sets missing properties that have a default, also inside of defaults just set. A `null` where
/// the schema allows none counts as missing.
pub fn apply(schema: &Json, value: &mut Json) {
    fill(schema, value, 0);
}

fn fill(schema: &Json, value: &mut Json, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Json::Object(object) => {
            let properties = schema.get("properties").and_then(Json::as_object);
            for (name, property) in properties.into_iter().flatten() {
                let nullable = property.get("nullable").and_then(Json::as_bool) == Some(true);
                let missing = match object.get(name) {
                    None => true,
                    Some(Json::Null) => !nullable,
                    Some(_) => false,
                };
                match property.get("default") {
                    Some(default) if missing => {
                        object.insert(name.clone(), default.clone());
                    }
                    None if missing && !nullable => {
                        object.remove(name);
                    }
                    _ => {}
                }
            }
            let others = schema.get("additionalProperties").filter(|schema| schema.is_object());
            for (name, child) in object {
                let property = properties.and_then(|properties| properties.get(name)).or(others);
                if let Some(property) = property {
                    fill(property, child, depth + 1);
                }
            }
        }
        Json::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    fill(schema, item, depth + 1);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_fill_in_at_every_level() {
        let schema = json!({"properties": {
            "resp": {"default": {}, "properties": {
                "port": {"default": 6379}, "databases": {"default": 16}}},
            "list": {"items": {"properties": {"n": {"default": 1}}}},
            "map": {"additionalProperties": {"properties": {"n": {"default": 2}}}},
        }});
        let mut value = json!({"list": [{}, {"n": 5}], "map": {"a": {}}});
        apply(&schema, &mut value);
        let expected = json!({
            "resp": {"port": 6379, "databases": 16},
            "list": [{"n": 1}, {"n": 5}],
            "map": {"a": {"n": 2}},
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn null_counts_as_missing_unless_it_is_allowed() {
        let schema = json!({"properties": {
            "a": {"default": 1}, "b": {"default": 1, "nullable": true}, "c": {"type": "string"}}});
        let mut value = json!({"a": null, "b": null, "c": null});
        apply(&schema, &mut value);
        assert_eq!(value, json!({"a": 1, "b": null}));
    }
}
