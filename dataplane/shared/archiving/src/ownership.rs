//! Whether this process may write an archive.
//!
//! | owner of the archive | who may |
//! |---|---|
//! | the object of the configuration | every member of its group; alone, the volume that wrote it before |
//! | whom the file `archive-owner` of this volume names | this volume; the archive is handed on to the object |
//! | anyone else | nobody here |
//!
//! Without a name in the configuration the volume makes one up, and is the only one that has it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use orrery_archive::{Archive, ArchiveError};
use orrery_blob::Store;
use orrery_kit::env::{Env, SystemEnv};

use super::WriteError;
use super::writer::Source;

const IDENTITY: &str = "archive-owner";

/// Opens the archive to write to it, or says whose it is.
pub(crate) async fn claim(source: &Source, store: Store) -> Result<Archive, WriteError> {
    let archive = take(source, store).await?;
    if let Some(engine) = &source.config.engine {
        archive.describe(engine.clone().into()).await?;
    }
    Ok(archive)
}

async fn take(source: &Source, store: Store) -> Result<Archive, WriteError> {
    let (data, config) = (&source.data, &source.config);
    let kept = read(data).map_err(WriteError::Identity)?;
    let keep = |owner: &str| write(data, owner).map_err(WriteError::Identity);
    let Some(asked) = owner(source) else {
        let owner = if let Some(kept) = kept {
            kept
        } else {
            let env = SystemEnv::default();
            let owner = format!("{} {:016x}{:016x}", config.object, env.random(), env.random());
            keep(&owner)?;
            owner
        };
        return Ok(Archive::claim(store, &owner).await?);
    };
    let archive = Archive::new(store.clone());
    match archive.owner().await? {
        None => {}
        Some(found) if found.name == asked && kept.is_none() && !source.is_grouped => {
            return Err(WriteError::OtherVolume);
        }
        Some(found) if found.name == asked => {}
        Some(found) if kept.as_ref() == Some(&found.name) => {
            archive.hand_on(&found, &asked).await?;
        }
        Some(found) => return Err(ArchiveError::Foreign { found: found.name, asked }.into()),
    }
    // Before the archive says so: whoever claimed it must be able to go on.
    if kept.as_ref() != Some(&asked) {
        keep(&asked)?;
    }
    Ok(Archive::claim(store, &asked).await?)
}

fn owner(source: &Source) -> Option<String> {
    let uid = source.config.owner.as_ref()?;
    Some(format!("{} {uid}", source.config.object))
}

/// A member of a group may be the one that is left of it.
pub(crate) fn prepare(source: &Source) -> io::Result<()> {
    match owner(source) {
        Some(owner) if source.is_grouped && read(&source.data)?.is_none() => {
            write(&source.data, &owner)
        }
        _ => Ok(()),
    }
}

fn read(data: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(data.join(IDENTITY)) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(data: &Path, owner: &str) -> io::Result<()> {
    let temporary = data.join(format!("{IDENTITY}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(owner.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, data.join(IDENTITY))?;
    File::open(data)?.sync_all()
}
