//! Everything that is written from the types: definitions, documentation.
//!
//! Must not: touch a disk. Callers write the files or compare them with what is committed; the
//! same types give the same bytes.

mod docs;
mod fields;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::kv::{KVCluster, KVNamespace};

pub use fields::{Field, fields};

/// First line of every generated YAML file.
const HEADER: &str = "# Made from the types by `make generate`; edit those.\n";

/// The definitions of all kinds, engines before what is declared on them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![KVCluster::crd(), KVNamespace::crd()]
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
    let json = serde_json::to_value(crd).expect("a definition has string keys only");
    let yaml = serde_yaml::to_string(&json).expect("JSON is YAML");
    format!("{HEADER}{yaml}")
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
    fn the_same_types_give_the_same_bytes() {
        assert_eq!(crd_files(), crd_files());
        assert_eq!(doc_files(), doc_files());
    }
}
