//! Step 1: read what the spec points to.
//!
//! Must not: judge the content; that is `validate`. References are read from the server each round,
//! never from a cache, and Secret content is not kept.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use orrery_api::backup::Backup;

use crate::backup;
use crate::context::Context;
use crate::redacted::Redacted;
use crate::step::DereferenceError;
use crate::system::{Reference, Referenced};

/// Reads all references; the first missing one is what the object waits for.
pub async fn dereference(
    ctx: &Context,
    namespace: &str,
    references: &[Reference],
) -> Result<Referenced, DereferenceError> {
    let mut found = Referenced::default();
    for reference in references {
        match reference {
            Reference::Secret(name) => {
                let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
                let secret = existing("Secret", name, api.get_opt(name).await)?;
                let data = secret.data.unwrap_or_default();
                let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
                found.secrets.insert(name.clone(), Redacted::new(data));
            }
            Reference::ConfigMap(name) => {
                let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
                let map = existing("ConfigMap", name, api.get_opt(name).await)?;
                found.config_maps.insert(name.clone(), map.data.unwrap_or_default());
            }
            Reference::Backup(name) => {
                let api: Api<Backup> = Api::namespaced(ctx.client.clone(), namespace);
                let backup = existing("Backup", name, api.get_opt(name).await)?;
                let status = backup.status.unwrap_or_default();
                if !backup::is_over(&status) {
                    return Err(DereferenceError::Unfinished { name: name.clone() });
                }
                found.backups.insert(name.clone(), status);
            }
        }
    }
    Ok(found)
}

fn existing<K>(
    what: &'static str,
    name: &str,
    read: kube::Result<Option<K>>,
) -> Result<K, DereferenceError> {
    let name = name.to_owned();
    match read {
        Ok(Some(object)) => Ok(object),
        Ok(None) => Err(DereferenceError::Missing { what, name }),
        Err(source) => Err(DereferenceError::Read { what, name, source }),
    }
}
