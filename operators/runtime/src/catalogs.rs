//! Release catalogs: which image a version is, and who is looked at when that changes.
//!
//! Must not: keep what a catalog says. The image is read from the server in each round, as all that a
//! spec points to; the watch only tells whose round is due. Nor insist: an operator that may not read
//! catalogs, or whose cluster does not know them, looks after all objects that name none.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use kube::{Api, Client, Resource};
use orrery_api::Reason;
use orrery_api::catalog::ReleaseCatalog;
use orrery_api::spec::Release;
use tracing::{info, warn};

use crate::backoff::BackoffOptions;
use crate::cache::Cache;
use crate::context::Context;
use crate::controller::Guarded;
use crate::release::is_older;
use crate::startup;
use crate::step::DereferenceError;
use crate::system::Refusal;
use crate::watch::{changes, cluster_events};

/// Calls the objects of one kind that name this catalog.
pub(crate) type Callers = Arc<dyn Fn(&str) + Send + Sync>;

/// Pauses between tries to list catalogs that cannot be listed yet: a right or a definition that is
/// given later is noticed within half a minute.
const TRIES: BackoffOptions =
    BackoffOptions { first: Duration::from_secs(1), max: Duration::from_secs(30) };
/// Versions of a catalog that a message names.
const VERSIONS_TOLD_MAX: usize = 8;

/// The image of a release, or why there is none and what to do.
pub(crate) async fn image(
    client: &Client,
    asked: &Release,
) -> Result<Result<String, String>, DereferenceError> {
    let (catalog, version) = (&asked.catalog, &asked.version);
    let api: Api<ReleaseCatalog> = Api::all(client.clone());
    let found = match api.get_opt(catalog).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            return Ok(Err(format!(
                "ReleaseCatalog {catalog} does not exist; make it, or name another in spec.release"
            )));
        }
        // A path the server does not know, as in `startup`.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return Ok(Err(
                "the definition of ReleaseCatalog is not installed; upgrade the chart \
                           orrery-crds, or remove spec.release"
                    .to_owned(),
            ));
        }
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            return Ok(Err("the operator may not read ReleaseCatalogs; give its service account \
                           get, list and watch on releasecatalogs, or remove spec.release"
                .to_owned()));
        }
        Err(source) => {
            let (what, name) = ("ReleaseCatalog", catalog.clone());
            return Err(DereferenceError::Read { what, name, source });
        }
    };
    let known = || {
        let versions = found.spec.releases.iter().map(|release| release.version.as_str());
        let told: Vec<&str> = versions.clone().take(VERSIONS_TOLD_MAX).collect();
        match versions.count() {
            0 => "nothing".to_owned(),
            more if more > VERSIONS_TOLD_MAX => format!("{} and others", told.join(", ")),
            _ => told.join(", "),
        }
    };
    Ok(found.spec.image(version).map(str::to_owned).ok_or_else(|| {
        format!(
            "ReleaseCatalog {catalog} has {}, and not {version}; add it there, or name another in \
             spec.release",
            known()
        )
    }))
}

/// Why this operator does not run a release in an object whose processes were of version `ran` last.
pub(crate) fn refusal(asked: &Release, ours: &str, ran: Option<&str>) -> Option<Refusal> {
    let version = &asked.version;
    let why = if is_older(ours, version) {
        format!("{version} is newer than the operator, which is {ours}: upgrade the operator first")
    } else if let Some(ran) = ran.filter(|ran| is_older(version, ran)) {
        format!(
            "{version} is older than {ran}, which wrote the data: stay at {ran} or go on to a newer \
             one; to go back, recover a Backup into a new object"
        )
    } else {
        return None;
    };
    Some(Refusal::field(Reason::UnsupportedVersion, "spec.release.version", why))
}

/// Watches the catalogs of the cluster as soon as they can be listed. Never ends.
pub(crate) fn watch(ctx: Arc<Context>, callers: Vec<Callers>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        listable(&Api::all(ctx.client.clone())).await;
        let (client, options, liveness) = (&ctx.client, &ctx.options.watch, &ctx.liveness);
        let events = cluster_events::<Guarded<ReleaseCatalog>>(client, options, liveness).boxed();
        let mut changes = std::pin::pin!(changes(events, Cache::default()));
        while let Some(change) = changes.next().await {
            let name = change.object().and_then(|catalog| catalog.meta().name.clone());
            if let Some(name) = name.filter(|_| change.matters()) {
                for call in &callers {
                    call(&name);
                }
            }
        }
    })
}

/// Waits until catalogs can be listed, and says once why they cannot.
async fn listable(api: &Api<ReleaseCatalog>) {
    let mut attempt = 0;
    while let Err(error) = startup::list_one(api).await {
        if attempt == 0 {
            warn!(%error, "release catalogs are not watched yet: objects that name one wait");
        }
        attempt += 1;
        tokio::time::sleep(TRIES.wait(attempt, rand::random())).await;
    }
    if attempt > 0 {
        info!("release catalogs are watched now");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// A server that gives one answer after the other, the last one again and again.
    fn server(answers: &'static [(u16, &str)]) -> (Client, Arc<AtomicUsize>) {
        let asked = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&asked);
        let service = tower::service_fn(move |_request: Request<Body>| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let (code, body) = answers[n.min(answers.len() - 1)];
            let mut response = Response::new(Body::from(body.as_bytes().to_vec()));
            *response.status_mut() = http::StatusCode::from_u16(code).expect("a code");
            std::future::ready(Ok::<_, tower::BoxError>(response))
        });
        (Client::new(service, "ns"), asked)
    }

    const UNKNOWN: (u16, &str) = (404, "404 page not found");
    const FORBIDDEN: (u16, &str) = (
        403,
        r#"{"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "m"}"#,
    );

    const GONE: &str = r#"{"kind": "Status", "status": "Failure", "code": 404,
        "reason": "NotFound", "message": "m"}"#;
    const CATALOG: &str = r#"{"apiVersion": "orrery.dev/v1alpha1", "kind": "ReleaseCatalog",
        "metadata": {"name": "default"},
        "spec": {"releases": [{"version": "0.1.0", "image": "orrery:0.1.0"}]}}"#;

    #[tokio::test]
    async fn what_is_missing_is_told_with_what_to_do() {
        let asked = Release { catalog: "default".into(), version: "0.2.0".into() };
        let cases: [(&'static [(u16, &str)], &str); 4] = [
            (&[(404, GONE)], "default does not exist; make it"),
            (&[(200, CATALOG)], "has 0.1.0, and not 0.2.0; add it"),
            (&[UNKNOWN], "upgrade the chart orrery-crds"),
            (&[FORBIDDEN], "may not read ReleaseCatalogs; give"),
        ];
        for (answers, part) in cases {
            let found = image(&server(answers).0, &asked).await.expect("no failure");
            let why = found.expect_err("there is no image");
            assert!(why.contains(part), "{why}");
        }
        let failed = image(&server(&[(500, "{}")]).0, &asked).await;
        assert!(matches!(failed, Err(DereferenceError::Read { .. })), "{failed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn catalogs_that_cannot_be_listed_are_tried_until_they_can() {
        const LIST: (u16, &str) = (200, r#"{"metadata": {}, "items": []}"#);
        let (client, asked) = server(&[UNKNOWN, FORBIDDEN, (500, "{}"), LIST]);
        listable(&Api::all(client)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn a_release_is_neither_newer_than_the_operator_nor_older_than_the_data() {
        let asked = |version: &str| Release { catalog: "a".into(), version: version.into() };
        let refused = |version: &str, ours: &str, ran: Option<&str>| {
            refusal(&asked(version), ours, ran).map(|refusal| refusal.message)
        };
        for (version, ours, ran) in [
            ("0.2.0", "0.2.0", None),
            ("0.2.0", "0.3.0", Some("0.2.0")),
            ("0.2.0", "0.3.0", Some("0.1.9")),
            ("0.2.0", "0.2.0", Some("0.2.0-rc.1")),
            // A build without a release is compared with nothing.
            ("0.2.0", "test", Some("main")),
        ] {
            assert_eq!(refused(version, ours, ran), None, "{version} {ours} {ran:?}");
        }
        let newer = refused("0.2.1", "0.2.0", None).expect("the operator does not know it");
        assert!(newer.contains("upgrade the operator first"), "{newer}");
        let older = refused("0.2.0", "0.3.0", Some("0.2.1")).expect("the data is newer");
        assert!(older.contains("0.2.0 is older than 0.2.1"), "{older}");
    }
}
