//! Dependency rules that a compiler cannot say: what must not be in the tree, and which crates
//! may appear twice. The rules and their reasons are in `docs/dependencies.md`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Never in the tree: a second TLS provider, C libraries, archived parsers on an input path.
const FORBIDDEN: &[&str] =
    &["aws-lc-sys", "aws-lc-rs", "openssl-sys", "native-tls", "rdkafka", "librocksdb-sys"];

/// Never below `dataplane/`: a data plane does not talk to Kubernetes.
const OPERATOR_ONLY: &[&str] = &["kube", "kube-client", "kube-core", "k8s-openapi", "chrono"];

/// What a crate may bring below a data plane all the same: what, which crate, and why.
const BROUGHT: &[(&str, &str, &str)] =
    &[("chrono", "object_store", "times in its listings; our code reads none of them")];

/// Crates that may appear in two versions, each with the reason.
const TWICE: &[(&str, &str)] = &[
    ("base64", "kube and tonic move at different times; a leaf without state"),
    ("cpufeatures", "sha2 0.10 and newer hashing crates; a leaf without state"),
    ("getrandom", "ring 0.17 stays on 0.2"),
    ("hashbrown", "indexmap and direct users move at different times"),
    ("rand", "opentelemetry_sdk stays on 0.9"),
    ("rand_core", "as rand"),
    ("syn", "procedural macros, build time only"),
    ("thiserror", "kube-side crates on 1.x"),
    ("thiserror-impl", "as thiserror"),
    ("windows-sys", "not compiled on Linux"),
    ("windows-targets", "not compiled on Linux"),
    ("darling", "procedural macros of croner and kube, build time only"),
    ("darling_core", "as darling"),
    ("darling_macro", "as darling"),
    ("foldhash", "hashbrown pins its own"),
    ("digest", "md-5 0.11 of object_store beside sha2 0.10; leaves without state"),
    ("block-buffer", "as digest"),
    ("crypto-common", "as digest"),
    ("sha2", "postgres-protocol has 0.11 beside our 0.10; a leaf without state"),
    ("tower-http", "reqwest stays on 0.6, kube has 0.7; layers of their own clients"),
];

pub fn check(root: &Path) -> Result<()> {
    let mut broken = Vec::new();
    let all = tree(root, &["--workspace", "-e", "normal,build"])?;
    for name in FORBIDDEN {
        if all.iter().any(|(crate_name, _)| crate_name == name) {
            broken.push(format!("{name} is in the tree: `cargo tree -i {name}` shows why"));
        }
    }
    for package in data_planes(root)? {
        let below = tree(root, &["-p", &package, "-e", "normal"])?;
        for name in OPERATOR_ONLY {
            let has = |wanted: &str| below.iter().any(|(crate_name, _)| crate_name == wanted);
            let is_brought = BROUGHT.iter().any(|(what, by, _)| what == name && has(by));
            if has(name) && !is_brought {
                broken.push(format!("{package} depends on {name}: a data plane must not"));
            }
        }
    }
    let product = tree(root, &["-p", "orrery", "-e", "normal"])?;
    for name in repeated(&product) {
        if !TWICE.iter().any(|(allowed, _)| *allowed == name) {
            broken.push(format!(
                "{name} is in the product in two versions: `cargo tree -d` shows why"
            ));
        }
    }
    if broken.is_empty() {
        println!("gates: {} crates in the product, all rules kept", product.len());
        return Ok(());
    }
    bail!("dependency rules broken:\n  {}", broken.join("\n  "))
}

fn repeated(crates: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    let names: Vec<&String> = crates.iter().map(|(name, _)| name).collect();
    names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect()
}

/// Packages whose manifest lies below `dataplane/`.
fn data_planes(root: &Path) -> Result<Vec<String>> {
    let output = cargo(root, &["metadata", "--no-deps", "--format-version", "1"])?;
    let metadata: serde_json::Value = serde_json::from_str(&output)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    Ok(packages
        .iter()
        .filter(|package| {
            package["manifest_path"].as_str().is_some_and(|path| path.contains("/dataplane/"))
        })
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect())
}

/// Name and version of every crate that `cargo tree` lists with these arguments.
fn tree(root: &Path, args: &[&str]) -> Result<BTreeSet<(String, String)>> {
    let mut words = vec!["tree", "--locked", "--prefix", "none", "--format", "{p}"];
    words.extend(args);
    let output = cargo(root, &words)?;
    Ok(output
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect())
}

fn cargo(root: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root).output()?;
    if !output.status.success() {
        bail!("cargo {} failed:\n{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
