//! The description of the API for programs: OpenAPI 3.1. Its parts are files beside this one, kept by
//! hand and held against the table of routes by a test; the schemas of specs are put in from the types
//! that read them.

use std::sync::OnceLock;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use orrery_api::scheduler::{Action, Retry, ScheduleSpec};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

const DOCUMENT: &str = include_str!("openapi/document.json");
/// Operations by path and method; paths may be in several.
const PATHS: [&str; 3] = [
    include_str!("openapi/jobs.json"),
    include_str!("openapi/others.json"),
    include_str!("openapi/dkron.json"),
];
const SCHEMAS: &str = include_str!("openapi/schemas.json");

/// `GET /v1/openapi.json`.
pub(super) async fn get() -> Response {
    static WRITTEN: OnceLock<Bytes> = OnceLock::new();
    let written = WRITTEN.get_or_init(|| document().to_string().into());
    ([(CONTENT_TYPE, "application/json")], written.clone()).into_response()
}

/// The whole document.
fn document() -> Value {
    let mut document = read(DOCUMENT);
    let mut paths = Map::new();
    for part in PATHS.map(read) {
        let Value::Object(part) = part else { continue };
        for (path, item) in part {
            let Value::Object(item) = item else { continue };
            let known = paths.entry(path).or_insert_with(|| Value::Object(Map::new()));
            if let Some(known) = known.as_object_mut() {
                known.extend(item);
            }
        }
    }
    document["paths"] = Value::Object(paths);
    document["components"]["schemas"] = read(SCHEMAS);
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    generator.subschema_for::<ScheduleSpec>();
    generator.subschema_for::<Action>();
    generator.subschema_for::<Retry>();
    let types = generator.take_definitions(true);
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        for (name, schema) in types {
            schemas.entry(name).or_insert(schema);
        }
    }
    document
}

fn read(part: &str) -> Value {
    serde_json::from_str(part).expect("the file is JSON: a test reads it")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::document;
    use crate::api::routes::routes;

    const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let paths = document["paths"].as_object().unwrap();
        let each = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            let methods = methods.filter(|(method, _)| METHODS.contains(&method.as_str()));
            methods.map(|(method, op)| (path.clone(), method.clone(), op.clone()))
        });
        each.collect()
    }

    #[test]
    fn every_route_is_described_and_everything_described_is_a_route() {
        let described: BTreeSet<(String, String, bool)> = operations(&document())
            .into_iter()
            .map(|(path, method, op)| (path, method, op["tags"][0] == "dkron"))
            .collect();
        let routes: BTreeSet<(String, String, bool)> = routes()
            .iter()
            .map(|route| {
                (route.path.to_owned(), route.method.as_str().to_lowercase(), route.is_dkron)
            })
            .collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn what_is_open_to_all_is_described_as_open() {
        for (path, _, op) in operations(&document()) {
            let is_open = op["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(is_open, crate::api::access::OPEN.contains(&path.as_str()), "{path}");
        }
    }

    #[test]
    fn every_operation_is_whole() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        let mut ids = BTreeSet::new();
        for (path, method, op) in operations(&document) {
            let id = op["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} is there twice");
            let item = &document["paths"][&path];
            let parameters = [&item["parameters"], &op["parameters"]];
            let parameters = parameters.into_iter().filter_map(Value::as_array).flatten();
            let parameters: Vec<Value> = parameters.map(|p| resolved(&document, p)).collect();
            let in_path: BTreeSet<&str> = parameters
                .iter()
                .filter(|p| p["in"] == "path")
                .map(|p| p["name"].as_str().unwrap())
                .collect();
            let named: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(in_path, named, "{method} {path}");
            for parameter in &parameters {
                assert!(parameter["schema"].is_object(), "{method} {path}: {parameter}");
                let is_required = parameter["required"] == true;
                assert!(is_required || parameter["in"] != "path", "{method} {path}");
            }
            let answers = op["responses"].as_object().unwrap();
            assert!(answers.len() > 1 && answers.contains_key("default"), "{method} {path}");
            for (status, answer) in answers {
                assert!(status == "default" || status.parse::<u16>().is_ok());
                assert!(resolved(&document, answer)["description"].is_string());
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut left = vec![&document];
        let mut count = 0;
        while let Some(value) = left.pop() {
            if let Some(object) = value.as_object() {
                if object.get("$ref").is_some_and(Value::is_string) {
                    count += 1;
                    resolved(&document, value);
                }
                left.extend(object.values());
            }
            left.extend(value.as_array().into_iter().flatten());
        }
        assert!(count > 100, "{count}");
        assert!(
            document["components"]["schemas"]["ScheduleSpec"]["properties"]["when"].is_object()
        );
    }

    fn resolved(document: &Value, value: &Value) -> Value {
        let Some(reference) = value["$ref"].as_str() else { return value.clone() };
        let at = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is elsewhere"));
        let found = document.pointer(at);
        found.unwrap_or_else(|| panic!("{reference} leads nowhere")).clone()
    }
}
