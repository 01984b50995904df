//! Kinds `Backup` and `BackupSchedule`: snapshots of an engine into its archive.
//!
//! Both belong to every engine that has an archive, whatever its system.

pub mod once;
pub mod schedule;

#[cfg(feature = "crd")]
pub use once::Backup;
pub use once::{BackupSpec, BackupStatus};
#[cfg(feature = "crd")]
pub use schedule::BackupSchedule;
pub use schedule::{BackupScheduleSpec, BackupScheduleStatus};
