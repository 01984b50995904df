//! The check before anything runs: are the definitions there, and may we read them?
//!
//! Must not: install anything. The operator has no right to write definitions.

use std::collections::BTreeSet;
use std::fmt::Debug;

use kube::api::{Api, ListParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::backoff::BackoffOptions;
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

/// How often a server that does not answer is asked, with growing pauses: about 15 seconds.
const TRIES: u32 = 5;

/// Lists one object of the kind in each namespace that is looked after.
pub async fn check_definition<K: Object>(
    client: &Client,
    scopes: &[Option<String>],
) -> Result<(), StartupError> {
    for scope in scopes {
        let mut attempt = 1;
        while let Err(error) = check_scope::<K>(client, scope.as_deref()).await {
            if attempt == TRIES || !matches!(error, StartupError::Unreachable { .. }) {
                return Err(error);
            }
            warn!(%error, attempt, "start-up check");
            tokio::time::sleep(BackoffOptions::default().wait(attempt, rand::random())).await;
            attempt += 1;
        }
    }
    Ok(())
}

/// Systems that are not installed here: none of their definitions is. An error where a definition of
/// an installed system is missing, where nothing is installed, and where one could not be looked at.
pub(crate) fn left_out(
    checked: Vec<(&'static str, Result<(), StartupError>)>,
) -> Result<BTreeSet<&'static str>, StartupError> {
    let installed: BTreeSet<&str> = checked
        .iter()
        .filter(|(_, result)| !matches!(result, Err(StartupError::Missing { .. })))
        .map(|(system, _)| *system)
        .collect();
    let mut left_out = BTreeSet::new();
    for (system, result) in checked {
        let Err(error) = result else { continue };
        let is_absent = !installed.is_empty() && !installed.contains(system);
        if !is_absent {
            return Err(error);
        }
        if left_out.insert(system) {
            warn!(system, %error, "a system is left out until its kinds are installed and the operator starts anew");
        }
    }
    Ok(left_out)
}

async fn check_scope<K: Object>(client: &Client, scope: Option<&str>) -> Result<(), StartupError> {
    let api: Api<K> = match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    list_one(&api).await
}

/// Lists one object, to see whether that can be done.
pub(crate) async fn list_one<K>(api: &Api<K>) -> Result<(), StartupError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let (plural, group) = (K::plural(&()).into_owned(), K::group(&()).into_owned());
    match api.list_metadata(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(()),
        // A path the server does not know is answered in plain text, which kube turns into a
        // status without the usual reason: only the code tells.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Err(StartupError::Missing { kind: K::kind(&()).into_owned(), plural, group })
        }
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            Err(StartupError::Forbidden { plural, group, message: status.message.clone() })
        }
        Err(source) => Err(StartupError::Unreachable { plural, group, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;
    use http::{Request, Response};
    use kube::client::Body;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    async fn check(codes: &'static [u16]) -> (Result<(), StartupError>, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |_request: Request<Body>| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let code = codes[n.min(codes.len() - 1)];
            let body = match code {
                200 => r#"{"metadata": {}, "items": []}"#.to_owned(),
                // What a real server says about a path it does not know.
                404 => "404 page not found".to_owned(),
                _ => format!(r#"{{"kind": "Status", "code": {code}, "message": "m"}}"#),
            };
            let mut response = Response::new(Body::from(body.into_bytes()));
            *response.status_mut() = http::StatusCode::from_u16(code).expect("a code");
            std::future::ready(Ok::<_, tower::BoxError>(response))
        });
        let result = check_definition::<Toy>(&Client::new(service, "ns"), &[None]).await;
        (result, asked.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_definition_is_told_with_what_to_do() {
        let (result, asked) = check(&[404]).await;
        let error = result.expect_err("missing");
        let text = error.to_string();
        assert!(
            text.contains("toys.test.orrery.dev") && text.contains("helm install"),
            "{error:?}"
        );
        assert_eq!(asked, 1);
    }

    #[test]
    fn a_system_is_left_out_when_none_of_its_kinds_is_there_and_another_is() {
        let missing = |system| {
            let (kind, plural, group) = ("K".into(), "ks".into(), "g".into());
            (system, Err(StartupError::Missing { kind, plural, group }))
        };
        let denied = |system| {
            let (plural, group, message) = ("ks".into(), "g".into(), "m".into());
            (system, Err(StartupError::Forbidden { plural, group, message }))
        };
        let there = |system| (system, Ok(()));
        let of = |checked| left_out(checked).map(|out| out.into_iter().collect::<Vec<_>>()).ok();
        assert_eq!(of(vec![there("a"), there("a"), there("b")]), Some(vec![]));
        assert_eq!(of(vec![there("a"), missing("b"), missing("b")]), Some(vec!["b"]));
        assert_eq!(of(vec![there("a"), missing("a"), there("b")]), None, "half of a system");
        assert_eq!(of(vec![missing("a"), missing("b")]), None, "nothing at all");
        assert_eq!(of(vec![there("a"), denied("b")]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_not_up_yet_is_asked_again_but_not_forever() {
        let (result, asked) = check(&[503, 410, 200]).await;
        assert!(result.is_ok() && asked == 3);
        let (result, asked) = check(&[500]).await;
        assert!(matches!(result, Err(StartupError::Unreachable { .. })));
        assert_eq!(asked, TRIES as usize);
    }
}
