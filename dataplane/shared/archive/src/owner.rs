//! Whose archive it is.
//!
//! `owner` names the first owner and is put once; `owners/<number>` names who took it over from the
//! one before, in order. Two journals in one place would destroy each other, so whoever is not the
//! last of them may not write.

use bytes::Bytes;
use orrery_blob::{Put, Store};

use crate::{Archive, ArchiveError};

const OWNER: &str = "owner";
const OWNERS: &str = "owners";
/// Characters of a foreign name that are shown.
const SHOWN_MAX: usize = 200;

/// The owner of an archive as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub name: String,
    /// How many there were before.
    number: u64,
}

fn successor(number: u64) -> String {
    format!("{OWNERS}/{number:06}")
}

fn text(object: &Bytes) -> String {
    String::from_utf8_lossy(object).into_owned()
}

impl Archive {
    /// Whose archive it is; `None` if nobody's.
    pub async fn owner(&self) -> Result<Option<Owner>, ArchiveError> {
        let successors = self.store().list(OWNERS).await?;
        let parse = |name: &str| name.strip_prefix(OWNERS)?.strip_prefix('/')?.parse().ok();
        let newest = successors.iter().filter_map(|entry| parse(&entry.name)).max();
        if let Some(number) = newest {
            let name = text(&self.store().get(&successor(number)).await?);
            return Ok(Some(Owner { name, number }));
        }
        match self.store().get(OWNER).await {
            Ok(object) => Ok(Some(Owner { name: text(&object), number: 0 })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes an archive for `owner`, or finds that it is theirs already; anything else is `Foreign`.
    pub async fn claim(store: Store, owner: &str) -> Result<Self, ArchiveError> {
        let archive = Self::new(store);
        let Some(found) = archive.owner().await? else {
            archive.claim_as(OWNER, owner).await?;
            return Ok(archive);
        };
        if found.name == owner { Ok(archive) } else { Err(foreign(&found.name, owner)) }
    }

    /// Names the one who takes it over from `from`.
    pub async fn hand_on(&self, from: &Owner, to: &str) -> Result<(), ArchiveError> {
        self.claim_as(&successor(from.number + 1), to).await
    }

    async fn claim_as(&self, object: &str, owner: &str) -> Result<(), ArchiveError> {
        if self.store().put_new(object, Bytes::from(owner.to_owned())).await? == Put::Exists {
            let found = text(&self.store().get(object).await?);
            if found != owner {
                return Err(foreign(&found, owner));
            }
        }
        Ok(())
    }
}

fn foreign(found: &str, asked: &str) -> ArchiveError {
    let found = found.chars().take(SHOWN_MAX).collect();
    ArchiveError::Foreign { found, asked: asked.to_owned() }
}
