//! The class of a key: what is journalled, when a reply leaves, what may be evicted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Class of the keys of a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Class {
    /// Not journalled, replies leave at once, may be evicted; empty after a restart.
    Cache,
    /// Journalled, replies leave after fsync, every key has a time to live and stays until then.
    Session,
    /// Journalled, replies leave after fsync, nothing is evicted. What Redis users expect.
    #[default]
    Store,
    /// As Store, with old versions of each key readable, and linearizable reads.
    Config,
    /// As Config, for values of feature flags.
    Flag,
}

impl Class {
    /// The word as it stands in a spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "Cache",
            Self::Session => "Session",
            Self::Store => "Store",
            Self::Config => "Config",
            Self::Flag => "Flag",
        }
    }
}
