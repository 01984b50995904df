//! What would change, and what is wrong, if files were carried out: without a cluster and without a
//! running `orrery up`.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::folder::Folder;
use crate::kinds::{Kinds, Release};
use crate::objects::{Change, Key, Objects, ObjectsError};
use crate::spec::{Declaration, Problem, Sources, load};

/// The outcome of a check.
#[derive(Debug)]
pub enum Checked {
    Wrong(Vec<Problem>),
    /// What would change against what was accepted last, object by object.
    Right {
        objects: usize,
        changes: Vec<Change>,
        /// What changes of declared objects bring, in words.
        outlooks: Vec<(Key, Vec<String>)>,
        /// Objects that one machine does not carry out, and why.
        elsewhere: Vec<(Key, &'static str)>,
    },
}

/// Checks `sources`. The comparison is with the objects of the data folder, if there is one; objects
/// that were declared in files not named here are left out of it.
pub fn check(
    sources: Vec<PathBuf>,
    data: Option<&Folder>,
    kinds: &Kinds,
    release: &Release,
) -> Result<Checked, ObjectsError> {
    let old = data.map(Objects::read).transpose()?.unwrap_or_default();
    let sources = Sources::new(sources);
    let files = match sources.read() {
        Ok(files) => files,
        Err(problems) => return Ok(Checked::Wrong(problems)),
    };
    let manifest = match load(&files, kinds, release, &old.by_key()) {
        Ok(manifest) => manifest,
        Err(problems) => return Ok(Checked::Wrong(problems)),
    };
    let canonical = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let named: Vec<PathBuf> = files.iter().map(|file| canonical(&file.path)).collect();
    let declared = |key| manifest.objects.iter().any(|object| object.key == key);
    // Objects of other files stay as they are.
    let others = old.iter().filter(|stored| {
        let elsewhere =
            stored.source.as_ref().is_some_and(|source| !named.contains(&canonical(source)));
        elsewhere && !declared(stored.key.clone())
    });
    let others: Vec<Declaration> = others
        .map(|stored| Declaration {
            key: stored.key.clone(),
            object: stored.object.clone(),
            source: stored.source.clone(),
        })
        .collect();
    let objects = manifest.objects.len();
    let why = |key: &Key| kinds.elsewhere_of(&key.kind).map(|kind| kind.why);
    let keys = manifest.objects.iter().map(|object| &object.key);
    let elsewhere = keys.filter_map(|key| Some((key.clone(), why(key)?))).collect();
    let given = manifest.given;
    let all: Vec<Declaration> = manifest.objects.into_iter().chain(others).collect();
    let now = Timestamp::now();
    let (_, changes) = old.accept(&all, now);
    let outlooks = changes.iter().filter_map(|change| {
        let (Change::Created(key) | Change::Changed(key, _)) = change else { return None };
        let outlook = kinds.outlooks.get(&key.kind)?;
        let before = old.get(key).and_then(|stored| {
            let inputs = manifest.references.of_declared(
                kinds.declared_of(&key.kind)?,
                &key.namespace,
                &[&stored.object],
            );
            kinds.declared_of(&key.kind)?.validate(&[&stored.object], &inputs).pop()?.ok()
        });
        let words = outlook(&key.name, before.as_ref(), given.get(key)?, now).ok()?;
        Some((key.clone(), words))
    });
    let outlooks = outlooks.collect();
    Ok(Checked::Right { objects, changes, outlooks, elsewhere })
}
