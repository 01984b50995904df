//! Writes the pages of the kinds in Markdown.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use super::fields::{Field, fields};
use crate::Reason;
use crate::not_yet::{self, NOT_YET};

/// First lines of every generated page.
const HEADER: &str = "<!-- Made from the types by `make generate`; edit those. -->\n\n";

/// Page of one kind: how to see it, its fields, its status.
pub(super) fn kind_page(crd: &CustomResourceDefinition) -> String {
    let names = &crd.spec.names;
    let version = &crd.spec.versions[0];
    let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
    let schema = serde_json::to_value(schema).expect("a schema has string keys only");
    let about = schema["properties"]["spec"]["description"].as_str().unwrap_or_default();

    let mut page = format!("{HEADER}# {}\n\n{}\n\n", names.kind, about.replace('\n', " "));
    let short = names.short_names.clone().unwrap_or_default().join(", ");
    put(&mut page, &format!("`{}/{}`, short name `{short}`.\n", crd.spec.group, version.name));
    put(
        &mut page,
        &format!(
            "See it with `kubectl get {plural}` and `kubectl explain {singular}.spec`, or with \
         `orrery get {singular}` on one machine.\n",
            plural = names.plural,
            singular = names.singular.as_deref().unwrap_or_default(),
        ),
    );
    put(&mut page, "## Spec\n\n| field | type | default | meaning |\n|---|---|---|---|");
    for field in fields(&schema, "spec").iter().skip(1) {
        put(&mut page, &row(&names.kind, field));
    }
    rules_section(&mut page, &schema);
    if schema["properties"]["status"].is_null() {
        return page;
    }
    put(&mut page, "\n## Status\n\n| field | type | meaning |\n|---|---|---|");
    for field in fields(&schema, "status").iter().skip(1) {
        let type_ = &field.type_;
        put(&mut page, &format!("| `{}` | {type_} | {} |", field.path, cell(&field.description)));
    }
    put(&mut page, "\nReasons of conditions and events: [reasons.md](reasons.md).");
    page
}

/// Page of all reasons.
pub(super) fn reasons_page() -> String {
    let mut page = format!(
        "{HEADER}# Reasons\n\nThe words that conditions and events carry in `reason`.\n\n\
         | reason | meaning |\n|---|---|\n"
    );
    for reason in Reason::ALL {
        put(&mut page, &format!("| `{reason}` | {} |", cell(reason.doc().trim())));
    }
    page
}

/// Page of what is refused for now.
pub(super) fn not_yet_page() -> String {
    let mut page = format!(
        "{HEADER}# Not yet\n\nThese fields are part of the API, and their work is not done yet. An \
         object that uses one gets the condition\n`Stalled` with reason `NotYetSupported` and the \
         name of the field; nothing is ever ignored silently.\n\n\
         | kind | field | refused | until then |\n|---|---|---|---|\n"
    );
    for entry in NOT_YET {
        put(
            &mut page,
            &format!(
                "| {} | `{}` | {} | {} |",
                entry.kind, entry.field, entry.values, entry.instead
            ),
        );
    }
    page
}

fn row(kind: &str, field: &Field) -> String {
    let default = match (&field.default, field.required) {
        // The defaults of an object are those of its fields, which have rows of their own.
        (Some(Value::Object(_)), _) | (None, false) => String::new(),
        (Some(Value::String(text)), _) => format!("`{text}`"),
        (Some(value), _) => format!("`{value}`"),
        (None, true) => "required".to_owned(),
    };
    let mut meaning = cell(&field.description);
    if let Some(entry) = not_yet::of(kind, &field.path) {
        let _ = write!(meaning, " **Not carried out yet: {}; {}.**", entry.values, entry.instead);
    }
    format!("| `{}` | {} | {default} | {meaning} |", field.path, field.type_)
}

fn rules_section(page: &mut String, schema: &Value) {
    let fields = fields(schema, "spec");
    if fields.iter().all(|field| field.rules.is_empty()) {
        return;
    }
    put(page, "\n## Rules\n\nThe API server and `orrery check` refuse objects that break one.\n");
    for field in fields {
        for rule in &field.rules {
            put(page, &format!("- `{}`: {rule}", field.path));
        }
    }
}

/// Text that may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn put(page: &mut String, line: &str) {
    page.push_str(line);
    page.push('\n');
}
