//! Blocks of spec fields that several kinds share, one file each.
//!
//! Conventions: no floats and no unsigned numbers; a bound on every number, string, list and map; a
//! default in the schema wherever a field may be left out; a description on every field, because
//! that is what `kubectl explain` shows.

pub mod archive;
pub mod engine;
pub mod image;
pub mod journal;
pub mod maintenance;
pub mod metadata;
pub mod moment;
pub mod network;
pub mod operation;
pub mod quantity;
pub mod reference;
pub mod release;
pub mod resources;
pub mod rollout;
pub mod storage;
pub mod tls;

pub use archive::{
    Archive, ArchiveOf, Bootstrap, Bucket, Folder, ObjectRef, RecoveredFrom, Recovery,
};
pub use engine::EngineSpec;
pub use image::{Image, PullPolicy};
pub use journal::{Journal, JournalBackend, JournalCaps};
pub use maintenance::MaintenanceWindow;
pub use metadata::ExtraMetadata;
pub use moment::Moment;
pub use network::{Clients, Network};
pub use operation::{DeletionPolicy, Operation};
pub use quantity::{Quantity, QuantityError};
pub use reference::{LocalRef, SecretKeyRef};
pub use release::Release;
pub use resources::ResourceRequirements;
pub use rollout::{Rollout, RolloutStrategy};
pub use storage::Storage;
pub use tls::{ClientCertificates, Tls};
