//! The systems of this program: the one place that names them.

use orrery_local::{Kinds, Release};

/// Version of this program and of the data planes in it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every kind, engines first.
pub(crate) fn kinds() -> Kinds {
    let kinds = Kinds::default();
    #[cfg(feature = "kv")]
    let kinds =
        kinds.engine::<orrery_systems::kv::Kv>().declared::<orrery_systems::kv::Namespaces>();
    kinds
}

/// Adds every kind to an operator.
pub(crate) fn add_to(operator: &mut orrery_runtime::Operator) {
    #[cfg(feature = "kv")]
    {
        let engine = operator.engine::<orrery_systems::kv::Kv>();
        operator.declared::<orrery_systems::kv::Namespaces>(&engine);
    }
    #[cfg(not(feature = "kv"))]
    let _ = operator;
}

/// What child processes run: this very program.
pub(crate) fn release() -> Release {
    Release { image: format!("orrery:{VERSION}"), version: VERSION.to_owned() }
}
