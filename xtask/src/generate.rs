//! Committed files that are made from the types: CRDs, the chart's copy of them, the pages of
//! the kinds. `write` makes them, `check` fails when one differs.

use std::path::Path;

use anyhow::{Context, Result, bail};

pub fn write(root: &Path) -> Result<()> {
    for (path, content) in files() {
        let file = root.join(&path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, content).with_context(|| format!("failed to write {path}"))?;
        println!("wrote {path}");
    }
    Ok(())
}

pub fn check(root: &Path) -> Result<()> {
    let stale: Vec<String> = files()
        .into_iter()
        .filter(|(path, content)| {
            std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(content)
        })
        .map(|(path, _)| path)
        .collect();
    if !stale.is_empty() {
        bail!("these files differ from the types; run `make generate`:\n  {}", stale.join("\n  "));
    }
    Ok(())
}

/// Relative path and content of every generated file.
fn files() -> Vec<(String, String)> {
    let mut files = orrery_api::generate::crd_files();
    files.extend(orrery_api::generate::doc_files());
    files
}
