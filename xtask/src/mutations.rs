//! Plants bugs in a crate, one at a time, and sees whether its tests notice: `cargo xtask mutations`.
//!
//! The bugs are data beside the crate, in `mutations.txt`. What they are planted in is a copy, in a
//! workspace of its own below the target folder; this repository is not touched.

mod list;
mod runner;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use list::Mutation;
use runner::Outcome;

/// The crates that have a list, with their folders.
const CRATES: &[(&str, &str)] = &[("orrery-journal", "dataplane/shared/journal")];

/// Plants every bug whose name contains `only`, or every one.
pub(crate) fn run(root: &Path, only: Option<&str>) -> Result<()> {
    let (mut caught, mut survived) = (0, 0);
    for (package, folder) in CRATES {
        let all = list::read(&root.join(folder).join("mutations.txt"))?;
        for mutation in &all {
            // Before the first build: a list that has fallen behind the code says so at once.
            mutation.apply(&root.join(folder))?;
        }
        let chosen: Vec<&Mutation> =
            all.iter().filter(|m| only.is_none_or(|only| m.name.contains(only))).collect();
        if chosen.is_empty() {
            bail!("no mutation of {package} has {:?} in its name", only.unwrap_or_default());
        }
        let scratch = Scratch::new(root, package, folder)?;
        match runner::run(&scratch.root, package, &scratch.folder)? {
            Outcome::Passed => {}
            other => bail!("the tests of {package} fail without any mutation: {other}"),
        }
        for mutation in chosen {
            let begun = Instant::now();
            let outcome = scratch.try_out(package, mutation)?;
            let seconds = begun.elapsed().as_secs();
            println!("{}: {outcome} ({seconds} s)", mutation.name);
            if let Outcome::Passed = outcome {
                survived += 1;
                println!("  a bug because {}", mutation.why);
            } else {
                caught += 1;
            }
        }
    }
    println!("{caught} caught, {survived} survived");
    if survived > 0 {
        bail!("a bug that no test catches shows a hole in the tests: write the one that does");
    }
    Ok(())
}

/// A workspace with a copy of one crate.
struct Scratch {
    root: PathBuf,
    /// Of the copy.
    folder: PathBuf,
}

impl Scratch {
    fn new(root: &Path, package: &str, folder: &str) -> Result<Self> {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let scratch = std::path::absolute(target)?.join("mutations").join(package);
        let copy = scratch.join(folder);
        if copy.exists() {
            fs::remove_dir_all(&copy)
                .with_context(|| format!("failed to empty {}", copy.display()))?;
        }
        copy_folder(&root.join(folder), &copy)?;
        let manifest =
            fs::read_to_string(root.join("Cargo.toml")).context("failed to read Cargo.toml")?;
        fs::write(scratch.join("Cargo.toml"), only_member(&manifest, folder)?)?;
        fs::copy(root.join("Cargo.lock"), scratch.join("Cargo.lock"))?;
        Ok(Self { root: scratch, folder: copy })
    }

    /// Plants one bug, runs the tests, and takes it out again.
    fn try_out(&self, package: &str, mutation: &Mutation) -> Result<Outcome> {
        let file = self.folder.join(&mutation.file);
        let whole = fs::read_to_string(&file)?;
        fs::write(&file, mutation.apply(&self.folder)?)?;
        let outcome = runner::run(&self.root, package, &self.folder);
        fs::write(&file, whole)?;
        match outcome? {
            Outcome::Unbuilt(what) => bail!("{} does not build:\n{what}", mutation.name),
            outcome => Ok(outcome),
        }
    }
}

/// The manifest of the workspace with one member.
fn only_member(manifest: &str, folder: &str) -> Result<String> {
    let (before, rest) = manifest.split_once("members = [").context("no members in Cargo.toml")?;
    let (_, after) = rest.split_once(']').context("members without an end in Cargo.toml")?;
    Ok(format!("{before}members = [{folder:?}]{after}"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
