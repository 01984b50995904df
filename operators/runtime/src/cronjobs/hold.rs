//! Keeps an engine that has adopted CronJobs until all are given back.

use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::context::Context;
use crate::system::Object;

/// On engines with adopted CronJobs.
const FINALIZER: &str = "orrery.dev/adopted-cron-jobs";
/// Owner of the finalizer in the engine's metadata.
const MANAGER: &str = "orrery-adoption";

/// Whether an engine is kept.
pub(crate) fn is_held<K: Object>(engine: &K) -> bool {
    engine.meta().finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Keeps the engine, or lets it go.
pub(super) async fn set<K: Object>(ctx: &Context, engine: &K, held: bool) -> kube::Result<()> {
    if is_held(engine) == held {
        return Ok(());
    }
    let meta = engine.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let api: Api<K> = Api::namespaced(ctx.client.clone(), namespace);
    let mut metadata = json!({ "name": name, "uid": meta.uid });
    if held {
        metadata["finalizers"] = json!([FINALIZER]);
    }
    // Owns the finalizer and nothing else; without it in the patch, it is taken away.
    let patch = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata,
    });
    let params = PatchParams::apply(MANAGER).force();
    match api.patch_metadata(name, &params, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
