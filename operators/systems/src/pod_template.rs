//! Merges a user's `podTemplate` into the built one, as strategic merge does: maps and objects are
//! merged, lists with a key (containers, volumes, env …) by their key, other lists replaced.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use orrery_api::Reason;
use orrery_runtime::Refusal;
use serde_json::Value;

const FIELD: &str = "spec.podTemplate";

/// The template a user wrote, checked: what is unknown to Kubernetes is refused, never dropped.
pub fn parse(value: Option<&Value>) -> Result<Option<PodTemplateSpec>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let refuse = |why: String| {
        Refusal::field(Reason::InvalidSpec, FIELD, format!("{FIELD} is not a pod template: {why}"))
    };
    let template: PodTemplateSpec =
        serde_json::from_value(value.clone()).map_err(|error| refuse(error.to_string()))?;
    let understood = serde_json::to_value(&template).map_err(|error| refuse(error.to_string()))?;
    match lost(value, &understood, FIELD) {
        Some(path) => Err(refuse(format!("{path} is not a known field"))),
        None => Ok(Some(template)),
    }
}

/// The built template with the user's changes.
pub fn merge(mut built: PodTemplateSpec, user: Option<&PodTemplateSpec>) -> PodTemplateSpec {
    if let Some(user) = user {
        built.merge_from(user.clone());
    }
    built
}

/// Path of the first thing in `written` that did not make it into `understood`.
pub(crate) fn lost(written: &Value, understood: &Value, path: &str) -> Option<String> {
    match (written, understood) {
        (Value::Object(written), understood) => written.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match understood.get(key) {
                Some(kept) => lost(value, kept, &path),
                None if is_empty(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(written), Value::Array(understood)) => written
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(index, (value, kept))| lost(value, kept, &format!("{path}[{index}]"))),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(value: &Value) -> PodTemplateSpec {
        parse(Some(value)).unwrap().unwrap()
    }

    #[test]
    fn lists_with_a_key_are_merged_by_it() {
        let built = template(&json!({"spec": {"containers": [
            {"name": "kv", "image": "a", "env": [{"name": "A", "value": "1"}]}
        ]}}));
        let user = template(&json!({"spec": {
            "containers": [
                {"name": "kv", "env": [{"name": "B", "value": "2"}]},
                {"name": "sidecar", "image": "b"}
            ],
            "nodeSelector": {"disk": "ssd"}
        }}));
        let merged = serde_json::to_value(merge(built, Some(&user))).unwrap();
        assert_eq!(
            merged,
            json!({"spec": {
                "containers": [
                    {"name": "kv", "image": "a", "env": [
                        {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
                    ]},
                    {"name": "sidecar", "image": "b"}
                ],
                "nodeSelector": {"disk": "ssd"}
            }})
        );
    }

    #[test]
    fn an_unknown_field_is_named_and_not_dropped() {
        let refusal = parse(Some(&json!({"spec": {"nodeSelektor": {"a": "b"}}}))).unwrap_err();
        assert!(refusal.message.contains("spec.podTemplate.spec.nodeSelektor"), "{refusal}");
        let refusal = parse(Some(&json!({"spec": {"containers": [{"name": "a", "x": 1}]}})));
        assert!(refusal.unwrap_err().message.contains("containers[0].x"));
    }

    #[test]
    fn a_wrong_type_is_refused() {
        assert!(parse(Some(&json!({"spec": {"tolerations": "all"}}))).is_err());
    }

    #[test]
    fn empty_parts_are_fine() {
        assert!(parse(Some(&json!({"spec": {"containers": [], "tolerations": []}}))).is_ok());
        assert_eq!(parse(None).unwrap(), None);
    }
}
