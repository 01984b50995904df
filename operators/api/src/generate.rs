//! Everything that is written from the types: definitions, documentation.
//!
//! Must not: touch a disk. Callers write the files or compare them with what is committed; the
//! same types give the same bytes.

mod docs;
mod fields;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::backup::{Backup, BackupSchedule};
use crate::catalog::ReleaseCatalog;
use crate::kv::{KVCluster, KVNamespace};
use crate::scheduler::{Schedule, Scheduler};

pub use fields::{Field, fields};

/// First line of every generated YAML file.
const HEADER: &str = "# Made from the types by `make generate`; edit those.\n";

/// The definitions of all kinds, engines before what is declared on them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        KVCluster::crd(),
        KVNamespace::crd(),
        Scheduler::crd(),
        Schedule::crd(),
        Backup::crd(),
        BackupSchedule::crd(),
        ReleaseCatalog::crd(),
    ]
}

/// `crds/<plural>.yaml` for every kind: relative path and content.
pub fn crd_files() -> Vec<(String, String)> {
    crds()
        .iter()
        .map(|crd| {
            let path = format!("crds/{}.yaml", crd.spec.names.plural);
            (path, crd_yaml(crd))
        })
        .collect()
}

/// One definition as YAML.
pub fn crd_yaml(crd: &CustomResourceDefinition) -> String {
    // Through a JSON value, so that maps come out sorted whatever order the types have.
    let mut json = serde_json::to_value(crd).expect("a definition has string keys only");
    join_descriptions(&mut json);
    let yaml = serde_yaml::to_string(&json).expect("JSON is YAML");
    let lines = yaml.lines().map(quoted).collect::<Vec<_>>().join("\n");
    format!("{HEADER}{lines}\n")
}

/// Makes one line of each description: its line breaks are those of the source code.
fn join_descriptions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                if let (true, Value::String(text)) = (key == "description", &mut *field) {
                    *text = text.replace('\n', " ");
                }
                join_descriptions(field);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(join_descriptions),
        _ => {}
    }
}

/// Words that YAML 1.1, which kubectl reads, takes for booleans when they are not quoted.
const BOOLEANS: [&str; 16] = [
    "on", "On", "ON", "off", "Off", "OFF", "yes", "Yes", "YES", "no", "No", "NO", "y", "Y", "n",
    "N",
];

/// The line with its value quoted where YAML 1.1 would read a boolean.
fn quoted(line: &str) -> String {
    let content = line.trim_start().trim_start_matches("- ");
    let word = content.split_once(": ").map_or(content, |(_, value)| value);
    if BOOLEANS.contains(&word) {
        format!("{}'{word}'", &line[..line.len() - word.len()])
    } else {
        line.to_owned()
    }
}

/// Pages below `docs/`: one per kind, the reasons, and what is not carried out yet.
pub fn doc_files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = crds()
        .iter()
        .map(|crd| {
            let path = format!("docs/kinds/{}.md", crd.spec.names.kind.to_lowercase());
            (path, docs::kind_page(crd))
        })
        .collect();
    files.push(("docs/kinds/reasons.md".to_owned(), docs::reasons_page()));
    files.push(("docs/not-yet.md".to_owned(), docs::not_yet_page()));
    files
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn committed_files_are_those_the_types_make() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let update = std::env::var_os("UPDATE").is_some();
        for (path, content) in crd_files().into_iter().chain(doc_files()) {
            let file = root.join(&path);
            if update {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, &content).unwrap();
            }
            let committed = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                committed == content,
                "{path} differs from the types: run `UPDATE=1 cargo test -p orrery-api --features crd`"
            );
        }
    }

    #[test]
    fn words_that_older_yaml_reads_as_booleans_are_quoted() {
        assert_eq!(quoted("  default: Off"), "  default: 'Off'");
        assert_eq!(quoted("  - On"), "  - 'On'");
        assert_eq!(quoted("  - name: y"), "  - name: 'y'");
        for kept in ["  description: turn it: Off", "  description: Off or On", "  default: Offset"]
        {
            assert_eq!(quoted(kept), kept);
        }
    }

    #[test]
    fn the_same_types_give_the_same_bytes() {
        assert_eq!(crd_files(), crd_files());
        assert_eq!(doc_files(), doc_files());
    }
}
