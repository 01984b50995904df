//! From what is on disk to a machine: the newest snapshot, then every record behind it.

use std::io::Read;

use orrery_journal::{Journal, Opened, Recovery};

use super::declared::DeclaredSet;
use super::{PersistenceError, image, kind};
use crate::machine::Machine;
use crate::namespaces::Class;
use crate::rdb::{Item, RdbError, Reader};
use orrery_archiving::History;

/// A machine as it was, and what else must be known.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) journal: Journal,
    pub(crate) declared: DeclaredSet,
    /// Writes under lower epochs are refused.
    pub(crate) fenced_below: u64,
    pub(crate) history: History,
    pub(crate) snapshot_position: u64,
    pub(crate) keys_loaded: u64,
    pub(crate) records_replayed: u64,
    pub(crate) bytes_replayed: u64,
}

/// Fills an empty machine from an opened journal.
pub(crate) fn recover(
    opened: Opened,
    machine: &mut Machine,
    databases: u16,
    default_class: Class,
) -> Result<Recovered, PersistenceError> {
    let Opened { journal, mut recovery } = opened;
    let mut recovered = Recovered {
        journal,
        declared: DeclaredSet::default(),
        fenced_below: 0,
        history: History::default(),
        snapshot_position: recovery.snapshot_position().0,
        keys_loaded: 0,
        records_replayed: 0,
        bytes_replayed: 0,
    };
    if let Some(snapshot) = recovery.snapshot()? {
        let position = recovered.snapshot_position;
        load_image(snapshot, machine, databases, default_class, &mut recovered)
            .map_err(|source| PersistenceError::Snapshot { position, source })?;
    }
    replay(&mut recovery, machine, databases, default_class, &mut recovered)?;
    Ok(recovered)
}

/// Loads an image.
fn load_image(
    from: impl Read,
    machine: &mut Machine,
    databases: u16,
    default_class: Class,
    recovered: &mut Recovered,
) -> Result<(), RdbError> {
    for item in Reader::new(from)? {
        match item? {
            Item::Aux { name, value } => match name.as_slice() {
                b"orrery-namespaces" => {
                    recovered.declared = serde_json::from_slice(&value)
                        .map_err(|_| RdbError::Malformed("the field orrery-namespaces"))?;
                    declare(machine, &recovered.declared, databases, default_class);
                }
                b"orrery-fenced-below" => {
                    recovered.fenced_below = std::str::from_utf8(&value)
                        .ok()
                        .and_then(|text| text.parse().ok())
                        .ok_or(RdbError::Malformed("the field orrery-fenced-below"))?;
                }
                b"orrery-history" => {
                    recovered.history = std::str::from_utf8(&value)
                        .ok()
                        .and_then(History::from_text)
                        .ok_or(RdbError::Malformed("the field orrery-history"))?;
                }
                _ => {}
            },
            Item::Key { db, key, expires_ms, value } => {
                if db >= u32::from(databases) {
                    return Err(RdbError::Malformed("a database that is not configured"));
                }
                let value = image::to_machine(value, &machine.building());
                machine.load(db as u16, &key, expires_ms, value);
                recovered.keys_loaded += 1;
            }
        }
    }
    Ok(())
}

/// Puts namespaces in force without journalling what that changes: the journal has it already.
pub(crate) fn declare(
    machine: &mut Machine,
    set: &DeclaredSet,
    databases: u16,
    default_class: Class,
) {
    machine.replay_namespaces(default_class, set.accepted(databases));
}

fn replay(
    recovery: &mut Recovery,
    machine: &mut Machine,
    databases: u16,
    default_class: Class,
    recovered: &mut Recovered,
) -> Result<(), PersistenceError> {
    while let Some(entry) = recovery.next_record()? {
        let position = entry.position.0;
        let failed = |reason: String| PersistenceError::Replay { position, reason };
        recovered.history.note(position, entry.epoch.0);
        match entry.kind {
            kind::EFFECTS => machine
                .apply(entry.time_us / 1000, entry.body)
                .map_err(|error| failed(error.to_string()))?,
            kind::NAMESPACES => {
                recovered.declared = serde_json::from_slice(entry.body)
                    .map_err(|error| failed(format!("unreadable namespaces: {error}")))?;
                declare(machine, &recovered.declared, databases, default_class);
            }
            kind::FENCE => {
                let epoch: [u8; 8] = entry
                    .body
                    .try_into()
                    .map_err(|_| failed("a fence without an epoch".to_owned()))?;
                recovered.fenced_below = recovered.fenced_below.max(u64::from_le_bytes(epoch));
            }
            other => return Err(failed(format!("unknown kind of record {other}"))),
        }
        recovered.records_replayed += 1;
        recovered.bytes_replayed += entry.body.len() as u64;
    }
    Ok(())
}
