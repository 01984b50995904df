//! The systems of this program: the one place that names them.

#[cfg(feature = "scheduler")]
mod outlook;

use orrery_api::backup::{Backup, BackupSchedule};
use orrery_api::catalog::ReleaseCatalog;
use orrery_local::{Kinds, Release};

/// Version of this program and of the data planes in it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a user of one machine does instead of a Backup.
const BACKUP: &str = "Backups are taken by the operator in a cluster; on one machine `spec.archive` \
                      of the object keeps every change, and `spec.bootstrap.recovery.archive` of \
                      another brings them back";

/// What a user of one machine does instead of naming a release.
const CATALOG: &str = "releases are looked up by the operator in a cluster; on one machine this \
                       program itself runs, whatever `spec.release` says";

/// Every kind, engines first.
pub(crate) fn kinds() -> Kinds {
    let kinds = Kinds::default();
    #[cfg(feature = "kv")]
    let kinds =
        kinds.engine::<orrery_systems::kv::Kv>().declared::<orrery_systems::kv::Namespaces>();
    #[cfg(feature = "scheduler")]
    let kinds = kinds
        .engine::<orrery_systems::scheduler::Jobs>()
        .declared::<orrery_systems::scheduler::Schedules>()
        .outlook::<orrery_systems::scheduler::Schedules>(outlook::of_schedule);
    kinds
        .elsewhere::<Backup>(BACKUP)
        .elsewhere::<BackupSchedule>(BACKUP)
        .elsewhere::<ReleaseCatalog>(CATALOG)
}

/// Adds every kind to an operator.
pub(crate) fn add_to(operator: &mut orrery_runtime::Operator) {
    #[cfg(feature = "kv")]
    {
        let engine = operator.engine::<orrery_systems::kv::Kv>();
        operator.declared::<orrery_systems::kv::Namespaces>(&engine);
        operator.backups(&engine);
    }
    #[cfg(feature = "scheduler")]
    {
        let engine = operator.engine::<orrery_systems::scheduler::Jobs>();
        let schedules = operator.declared::<orrery_systems::scheduler::Schedules>(&engine);
        operator.backups(&engine);
        operator.errands(&schedules);
        operator.adoption(&engine, &schedules);
    }
    #[cfg(not(any(feature = "kv", feature = "scheduler")))]
    let _ = operator;
}

/// What child processes run: this very program.
pub(crate) fn release() -> Release {
    Release { image: format!("orrery:{VERSION}"), version: VERSION.to_owned() }
}
