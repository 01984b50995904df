//! Which route is whose. One table, so that the description of the API can be held against it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};

use super::problem::Problem;
use super::timed::{LONG, SHORT, within};
use super::{App, access, ahead, bulk, jobs, ledger, once, rules, runs, status};

/// One way in.
pub(super) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the table is read by tests"))]
    pub(super) method: Method,
    pub(super) path: &'static str,
    handler: MethodRouter<Arc<App>>,
    most: Duration,
}

impl Route {
    fn new<H, T>(method: Method, filter: MethodFilter, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        Self { method, path, handler: on(filter, handler), most: SHORT }
    }

    /// It may take minutes.
    fn long(mut self) -> Self {
        self.most = LONG;
        self
    }
}

/// Makes the constructors of routes, one for each method.
macro_rules! methods {
    ($($name:ident $method:ident),*) => {
        $(pub(super) fn $name<H, T>(path: &'static str, handler: H) -> Route
        where
            H: Handler<T, Arc<App>>,
            T: 'static,
        {
            Route::new(Method::$method, MethodFilter::$method, path, handler)
        })*
    };
}

methods!(get GET, post POST, put PUT, delete DELETE);

/// All routes of this API.
pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/healthz", status::healthz),
        get("/v1/status", status::get),
        get("/v1/jobs", jobs::list),
        post("/v1/jobs", bulk::put).long(),
        get("/v1/jobs/{name}", jobs::get),
        put("/v1/jobs/{name}", jobs::put),
        delete("/v1/jobs/{name}", jobs::delete),
        post("/v1/jobs/{name}/run", jobs::run),
        post("/v1/jobs/{name}/pause", jobs::pause),
        post("/v1/jobs/{name}/resume", jobs::resume),
        post("/v1/jobs/{name}/backfill", jobs::backfill),
        get("/v1/jobs/{name}/runs", jobs::runs),
        get("/v1/jobs/{name}/calendar.ics", rules::calendar),
        post("/v1/once", once::post),
        get("/v1/runs", runs::recent),
        post("/v1/runs/{key}/cancel", runs::cancel),
        get("/v1/upcoming", ahead::upcoming),
        get("/v1/forecast", ahead::forecast),
        post("/v1/verify", ahead::verify).long(),
        get("/v1/ledger", ledger::get).long(),
        get("/v1/explain", rules::explain_cron),
        post("/v1/explain", rules::explain_spec),
        post("/v1/what-if", rules::what_if),
    ]
}

/// The router of everything.
pub(super) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let handler = route.handler.layer(from_fn_with_state(route.most, within));
        router = router.route(route.path, handler);
    }
    router
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "NoSuchRoute", "there is nothing at this path")
        })
        .method_not_allowed_fallback(|| async {
            let detail = "this path does not have this method";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "NoSuchMethod", detail)
        })
        .layer(from_fn_with_state(Arc::clone(&app), access::admit))
        .layer(from_fn(|request, next: axum::middleware::Next| async move {
            sealed(next.run(request).await)
        }))
        .with_state(app)
}

/// Headers of every answer: nothing of it is kept, or taken for something else.
fn sealed(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}
