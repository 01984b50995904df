//! The check before anything runs: are the definitions there, and may we read them?
//!
//! Must not: install anything. The operator has no right to write definitions.

use kube::Client;
use kube::api::{Api, ListParams};

use crate::system::Object;

/// What is missing, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    #[error(
        "the definition of {kind} ({plural}.{group}) is not installed; install it with \
         `helm install orrery-crds charts/orrery-crds` or `orrery crds | kubectl apply \
         --server-side -f -`"
    )]
    Missing { kind: String, plural: String, group: String },
    #[error(
        "not allowed to list {plural}.{group}: {message}; give the operator's service account that right"
    )]
    Forbidden { plural: String, group: String, message: String },
    #[error("failed to list {plural}.{group}")]
    Unreachable { plural: String, group: String, source: kube::Error },
}

/// Lists one object of the kind in each namespace that is looked after.
pub async fn check_definition<K: Object>(
    client: &Client,
    scopes: &[Option<String>],
) -> Result<(), StartupError> {
    for scope in scopes {
        let api: Api<K> = match scope {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let (plural, group) = (K::plural(&()).into_owned(), K::group(&()).into_owned());
        match api.list_metadata(&ListParams::default().limit(1)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                let kind = K::kind(&()).into_owned();
                return Err(StartupError::Missing { kind, plural, group });
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                let message = status.message.clone();
                return Err(StartupError::Forbidden { plural, group, message });
            }
            Err(source) => {
                return Err(StartupError::Unreachable { plural, group, source });
            }
        }
    }
    Ok(())
}
