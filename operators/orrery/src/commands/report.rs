//! `orrery report`: what somebody else needs to understand a problem, in one file.
//!
//! Must not: hold anything secret. Secrets are listed by name; values of environment variables that
//! are not the product's own, annotations that copy whole objects, and configuration under names that
//! sound secret are replaced.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::family::{engines, family, items};
use crate::cluster::Cluster;
use crate::{cli, output, systems};

/// What stands in the place of a value that is not told.
const REDACTED: &str = "(not in the report)";
/// Annotation in which kubectl keeps a copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Newest lines of a container's log that are taken.
const LOG_LINES: usize = 5_000;
/// The most bytes of a container's log that are taken.
const LOG_BYTES: usize = 4 << 20;
/// Pods of the operator, in whatever namespace it runs.
const OPERATOR: &str = "app.kubernetes.io%2Fname%3Dorrery,app.kubernetes.io%2Fcomponent%3Doperator";

pub(crate) fn run(on: &cli::Report) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(&on.cluster)?;
    let now = Timestamp::now();
    let name = format!("orrery-report-{}", now.strftime("%Y%m%d-%H%M%S"));
    let path = on.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    let mut bundle = Bundle::new(name, now);
    bundle.json(
        "report.json",
        &json!({
            "at": now.to_string(),
            "orrery": systems::VERSION,
            "namespace": cluster.namespace,
            "server": cluster.get("/version")?,
        }),
    )?;
    for object in engines(&cluster, &on.target)? {
        collect(&mut bundle, &cluster, object)?;
    }
    let namespace = cluster.namespace.clone();
    let events = format!("/api/v1/namespaces/{namespace}/events?limit=2000");
    bundle.list("events.json", cluster.get(&events))?;
    bundle.list("nodes.json", cluster.get("/api/v1/nodes?limit=500"))?;
    match cluster.get(&format!("/api/v1/pods?labelSelector={OPERATOR}")) {
        Ok(list) => {
            for pod in items(&list) {
                pod_of(&mut bundle, &cluster, "operator", pod)?;
            }
        }
        Err(error) => bundle.left_out("operator", &error),
    }
    let (bytes, files) = bundle.finish()?;
    write_new(&path, &bytes)?;
    output::print(&format!(
        "{}: {files} files, {} KiB; Secrets are in it by name only, look through it before you pass it on\n",
        path.display(),
        bytes.len() / 1024
    ));
    Ok(ExitCode::SUCCESS)
}

/// An existing file is not replaced.
fn write_new(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    let file = std::fs::File::create_new(path);
    file.and_then(|mut file| file.write_all(bytes)).with_context(|| {
        format!("failed to write {}; another place: --output FILE", path.display())
    })
}

/// An object, its children, its pods and what they wrote.
fn collect(bundle: &mut Bundle, cluster: &Cluster, object: Json) -> anyhow::Result<()> {
    let of =
        |one: &Json, field: &str| one["metadata"][field].as_str().unwrap_or_default().to_owned();
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    let folder = format!("{kind}-{}", of(&object, "name"));
    let family = family(cluster, &object)?;
    bundle.object(&format!("{folder}/object.json"), object)?;
    for (word, child) in family.children {
        let name = of(&child, "name");
        bundle.object(&format!("{folder}/{}-{name}.json", word.to_lowercase()), child)?;
    }
    for declared in family.declared {
        let kind = declared["kind"].as_str().unwrap_or_default().to_lowercase();
        let name = of(&declared, "name");
        bundle.object(&format!("{folder}/{kind}-{name}.json"), declared)?;
    }
    for pod in family.pods {
        pod_of(bundle, cluster, &folder, pod)?;
    }
    Ok(())
}

/// A pod, with the newest lines of its containers and of those that ran before them.
fn pod_of(bundle: &mut Bundle, cluster: &Cluster, folder: &str, pod: Json) -> anyhow::Result<()> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let (name, namespace) = (text(&pod["metadata"]["name"]), text(&pod["metadata"]["namespace"]));
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    bundle.object(&format!("{folder}/pod-{name}.json"), pod)?;
    for container in containers.iter().map(|container| text(&container["name"])) {
        for (previous, ending) in [(false, "log"), (true, "previous.log")] {
            let path = format!("{folder}/pod-{name}-{container}.{ending}");
            let at = format!(
                "/api/v1/namespaces/{namespace}/pods/{name}/log?container={container}\
                 &previous={previous}&timestamps=true&tailLines={LOG_LINES}&limitBytes={LOG_BYTES}"
            );
            match cluster.get_text(&at) {
                Ok(log) => bundle.file(&path, log.as_bytes())?,
                // Most containers never ran before.
                Err(_) if previous => {}
                Err(error) => bundle.left_out(&path, &error),
            }
        }
    }
    Ok(())
}

/// The file in the making.
struct Bundle {
    tar: tar::Builder<GzEncoder<Vec<u8>>>,
    folder: String,
    time: u64,
    files: usize,
    /// What could not be asked for, a line each.
    left_out: Vec<String>,
}

impl Bundle {
    fn new(folder: String, now: Timestamp) -> Self {
        let tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        let time = now.as_second().try_into().unwrap_or(0);
        Self { tar, folder, time, files: 0, left_out: Vec::new() }
    }

    fn file(&mut self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.time);
        let path = format!("{}/{path}", self.folder);
        self.tar.append_data(&mut header, path, content)?;
        self.files += 1;
        Ok(())
    }

    fn json(&mut self, path: &str, value: &Json) -> anyhow::Result<()> {
        self.file(path, &serde_json::to_vec_pretty(value)?)
    }

    fn object(&mut self, path: &str, mut object: Json) -> anyhow::Result<()> {
        redact(&mut object);
        self.json(path, &object)
    }

    /// A list, or a line that says why it is missing: a user may not see everything.
    fn list(&mut self, path: &str, list: anyhow::Result<Json>) -> anyhow::Result<()> {
        match list {
            Ok(list) => self.object(path, json!({ "items": items(&list) })),
            Err(error) => {
                self.left_out(path, &error);
                Ok(())
            }
        }
    }

    fn left_out(&mut self, path: &str, error: &anyhow::Error) {
        self.left_out.push(format!("{path}: {error:#}\n"));
    }

    /// The bytes, and how many files are in them.
    fn finish(mut self) -> anyhow::Result<(Vec<u8>, usize)> {
        if !self.left_out.is_empty() {
            let left_out = self.left_out.concat();
            self.file("left-out.txt", left_out.as_bytes())?;
        }
        let bytes = self.tar.into_inner()?.finish()?;
        Ok((bytes, self.files))
    }
}

/// Takes out of an object what may be secret, and what only fills pages.
fn redact(value: &mut Json) {
    match value {
        Json::Object(fields) => {
            fields.remove("managedFields");
            if let Some(annotations) = fields.get_mut("annotations").and_then(Json::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
            if let Some(variables) = fields.get_mut("env").and_then(Json::as_array_mut) {
                for variable in variables {
                    let is_ours =
                        variable["name"].as_str().is_some_and(|name| name.starts_with("ORRERY_"));
                    if !is_ours && variable.get("value").is_some() {
                        variable["value"] = json!(REDACTED);
                    }
                }
            }
            for (name, field) in fields {
                if field.is_string() && sounds_secret(name) {
                    *field = json!(REDACTED);
                }
                redact(field);
            }
        }
        Json::Array(list) => list.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Whether a field's own text may be a secret. References (`secretRef`, `passwordSecret`) are
/// objects or names and stay.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "token", "apikey", "api_key", "privatekey", "secretkey", "credential"]
        .iter()
        .any(|word| name.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_taken_out_and_the_rest_stays() {
        let mut object = json!({
            "metadata": {
                "name": "a",
                "managedFields": [{}],
                "annotations": { LAST_APPLIED: "{\"password\": \"x\"}", "mine": "kept" },
            },
            "spec": {
                "auth": { "passwordSecret": { "name": "s", "key": "password" } },
                "template": { "containers": [{ "env": [
                    { "name": "ORRERY_LOG", "value": "json" },
                    { "name": "LICENSE", "value": "abc" },
                    { "name": "OTHER", "valueFrom": { "secretKeyRef": { "name": "s" } } },
                ] }] },
            },
            "data": { "dbPassword": "hunter2", "kv.yaml": "memory: {}" },
        });
        redact(&mut object);
        let expected = json!({
            "metadata": { "name": "a", "annotations": { "mine": "kept" } },
            "spec": {
                "auth": { "passwordSecret": { "name": "s", "key": "password" } },
                "template": { "containers": [{ "env": [
                    { "name": "ORRERY_LOG", "value": "json" },
                    { "name": "LICENSE", "value": REDACTED },
                    { "name": "OTHER", "valueFrom": { "secretKeyRef": { "name": "s" } } },
                ] }] },
            },
            "data": { "dbPassword": REDACTED, "kv.yaml": "memory: {}" },
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn a_bundle_is_a_folder_with_what_is_missing_named() {
        let mut bundle = Bundle::new("r".to_owned(), Timestamp::UNIX_EPOCH);
        bundle.json("a/b.json", &json!({})).expect("it is taken");
        bundle.list("nodes.json", Err(anyhow::anyhow!("forbidden"))).expect("it is noted");
        let (bytes, files) = bundle.finish().expect("it is whole");
        assert_eq!(files, 2);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let mut found = Vec::new();
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).expect("text");
            found.push((entry.path().expect("a path").display().to_string(), text));
        }
        assert_eq!(found[0], ("r/a/b.json".to_owned(), "{}".to_owned()));
        assert_eq!(found[1], ("r/left-out.txt".to_owned(), "nodes.json: forbidden\n".to_owned()));
    }
}
