//! Writing a status: only when it changed, under a field manager of its own.
//!
//! Must not: write to another object of the same name; the UID goes with the patch.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::children::is_older;
use crate::context::Context;
use crate::step::ReportError;
use crate::system::{Object, StatusType};

/// What was written last, by UID, for the time until the cache shows it.
#[derive(Debug)]
pub struct StatusMemory<T> {
    written: Mutex<HashMap<String, (String, T)>>,
}

impl<T> Default for StatusMemory<T> {
    fn default() -> Self {
        Self { written: Mutex::default() }
    }
}

impl<T: StatusType> StatusMemory<T> {
    /// The newest status known of an object: what was written if the cache is behind it, else what
    /// the cache shows.
    pub fn newest<K: Object>(&self, object: &K, shown: Option<&T>) -> Option<T> {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        let version = object.meta().resource_version.as_deref().unwrap_or_default();
        let mut written = self.lock();
        match written.get(uid) {
            Some((own, status)) if is_older(version, own) => Some(status.clone()),
            Some(_) => {
                written.remove(uid);
                shown.cloned()
            }
            None => shown.cloned(),
        }
    }

    fn remember(&self, uid: &str, version: &str, status: T) {
        self.lock().insert(uid.to_owned(), (version.to_owned(), status));
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (String, T)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes `new` unless it is what is stored. True when it was written.
pub async fn write_status<K: Object, T: StatusType>(
    ctx: &Context,
    memory: &StatusMemory<T>,
    object: &K,
    stored: Option<&T>,
    new: T,
) -> Result<bool, ReportError> {
    if stored == Some(&new) {
        return Ok(false);
    }
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    let api: Api<K> =
        Api::namespaced(ctx.client.clone(), meta.namespace.as_deref().unwrap_or_default());
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": name, "uid": meta.uid },
        "status": new,
    });
    let params = PatchParams::apply(ctx.options.status_manager).force();
    match api.patch_status(name, &params, &Patch::Apply(&patch)).await {
        Ok(written) => {
            let uid = meta.uid.as_deref().unwrap_or_default();
            let version = written.meta().resource_version.as_deref().unwrap_or_default();
            memory.remember(uid, version, new);
            Ok(true)
        }
        // Deleted meanwhile: nothing to say about it any more.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(source) => Err(ReportError::Status { source }),
    }
}
