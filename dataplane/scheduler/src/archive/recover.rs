//! Fills an empty data folder from the archives of all partitions, once.
//!
//! Partitions are cut at the same moment: what one was told by another is then never ahead of it, as long
//! as the clock ran forward. Where the end of the archive is the target each goes as far as it was
//! archived; what does not fit together then is mended.
//!
//! Must not: replace anything that is there.

use std::path::Path;

use orrery_archive::{ArchiveError, Target};
use orrery_archiving::config::RecoveryConfig;
use orrery_archiving::fill::{FillError, begins_at_first, engine, fill};
use orrery_archiving::recover::{RecoverError, Recovery};
use orrery_kit::health::Health;
use tokio::runtime::Runtime;

use super::card::{self, Card};
use super::mend::mend;
use super::of_partition;
use crate::partition::{Place, recover as open};

/// Fills `data/<folder>` unless that was done before.
pub(crate) fn recover(
    config: &RecoveryConfig,
    (data, folder): (&Path, &str),
    partitions: u16,
    health: &Health,
) -> Result<(), RecoverError> {
    let recovery = Recovery { from: &config.from, data, folder, health };
    recovery.run(|runtime, into, say| {
        let filling = Filling { config, partitions, runtime, say };
        filling.run(into)
    })?;
    health.set_not_ready("Recovering", "reading the journals");
    Ok(())
}

struct Filling<'a> {
    config: &'a RecoveryConfig,
    partitions: u16,
    runtime: &'a Runtime,
    say: &'a dyn Fn(String),
}

impl Filling<'_> {
    /// Makes the folders of all partitions; gives how many records their journals have come to.
    fn run(&self, folder: &Path) -> Result<u64, FillError> {
        let cards = (0..self.partitions).map(|id| self.card(id));
        let cards: Vec<Card> = cards.collect::<Result<_, _>>()?;
        let (mut reached, mut runs, mut all, mut too_early) = (0, vec![], vec![], None);
        for id in 0..self.partitions {
            let place = Place { partition: id, folder: folder.join(id.to_string()) };
            match self.journal(&place) {
                Ok(position) => reached += position,
                Err(FillError::Archive(error)) if self.is_from_nothing(id, &error)? => {
                    if matches!(error, ArchiveError::BeforeAll { .. }) {
                        too_early = Some(error);
                    }
                    // What a journal that was begun may have left.
                    _ = std::fs::remove_dir_all(place.journal());
                }
                Err(error) => return Err(error),
            }
            // So that what is there can be carried out, and which runs it has, is known before it counts.
            let failed = |error: &dyn std::fmt::Display| FillError::Engine(error.to_string());
            let opened = open(&place.folder, id).map_err(|error| failed(&error))?;
            runs.push(opened.state.newest_run());
            all.push(opened);
        }
        if let (0, Some(error)) = (reached, too_early) {
            return Err(error.into());
        }
        mend(&mut all)?;
        for mut recovered in all {
            recovered.ledger.sync().map_err(|error| FillError::Engine(error.to_string()))?;
            recovered.journal.close()?;
        }
        card::write(folder, &card::inherit(&cards, &runs))?;
        Ok(reached)
    }

    fn of(&self, id: u16) -> RecoveryConfig {
        RecoveryConfig { from: of_partition(&self.config.from, id), ..self.config.clone() }
    }

    /// What partition `id` says of itself.
    fn card(&self, id: u16) -> Result<Card, FillError> {
        let refused = |why: String| Err(FillError::Engine(why));
        let said = match self.runtime.block_on(engine(&self.of(id))) {
            Ok(said) => said,
            // The folder of a partition that was never archived is not there.
            Err(FillError::Archive(ArchiveError::Store(error)))
                if error.is_not_found() && self.has_others(id) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        let Some(said) = said else {
            return refused(format!("partition {id} was never archived there"));
        };
        let card: Card = match serde_json::from_slice(&said) {
            Ok(card) => card,
            Err(error) => return refused(format!("partition {id}: engine.json: {error}")),
        };
        let Card { partitions, partition, .. } = card;
        if partitions != usize::from(self.partitions) || partition != id {
            return refused(format!(
                "partition {id}: the archive is that of partition {partition} of {partitions}, and \
                 here are {}; jobs are spread over them, so their number must be the same",
                self.partitions
            ));
        }
        Ok(card)
    }

    /// Whether the archive can be reached at all: that of the first partition is asked for.
    fn has_others(&self, id: u16) -> bool {
        id > 0 && self.runtime.block_on(engine(&self.of(0))).is_ok_and(|said| said.is_some())
    }

    fn journal(&self, place: &Place) -> Result<u64, FillError> {
        let id = place.partition;
        let say = |how_far: String| (self.say)(format!("partition {id}: {how_far}"));
        let (config, folder) = (self.of(id), place.journal());
        self.runtime.block_on(fill(&config, place.options(), &folder, &say))
    }

    /// Whether a partition has nothing at the moment asked for because it had nothing yet.
    fn is_from_nothing(&self, id: u16, error: &ArchiveError) -> Result<bool, FillError> {
        match error {
            ArchiveError::Empty => Ok(true),
            ArchiveError::BeforeAll { .. } => {
                debug_assert!(matches!(self.config.target, Target::Time(_)), "{error}");
                self.runtime.block_on(begins_at_first(&self.of(id)))
            }
            _ => Ok(false),
        }
    }
}
