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

use super::dkron::{self, either};
use super::problem::Problem;
use super::timed::{LONG, SHORT, within};
use super::{App, access, ahead, bulk, jobs, ledger, once, openapi, page, rules, runs, status};

/// One way in.
pub(super) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the table is read by tests"))]
    pub(super) method: Method,
    pub(super) path: &'static str,
    handler: MethodRouter<Arc<App>>,
    most: Duration,
    /// It is there only with Dkron's routes.
    pub(super) is_dkron: bool,
}

impl Route {
    fn new<H, T>(method: Method, filter: MethodFilter, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        Self { method, path, handler: on(filter, handler), most: SHORT, is_dkron: false }
    }

    /// It may take minutes.
    fn long(mut self) -> Self {
        self.most = LONG;
        self
    }

    /// Only Dkron has it.
    fn of_dkron(mut self) -> Self {
        self.is_dkron = true;
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

methods!(get GET, post POST, put PUT, patch PATCH, delete DELETE);

/// All routes.
pub(super) fn routes() -> Vec<Route> {
    let mut routes = own();
    routes.extend(of_dkron().into_iter().map(Route::of_dkron));
    routes
}

/// Routes of this API, some of which are Dkron's as well.
fn own() -> Vec<Route> {
    vec![
        get("/", page::html),
        get("/page.css", page::css),
        get("/page.js", page::js),
        get("/healthz", status::healthz),
        get("/v1/openapi.json", openapi::get),
        get("/v1/status", status::get),
        get("/v1/jobs", either(dkron::jobs::list, jobs::list)),
        post("/v1/jobs", either(dkron::jobs::create, bulk::put)).long(),
        get("/v1/jobs/{name}", either(dkron::jobs::get, jobs::get)),
        put("/v1/jobs/{name}", either(dkron::jobs::create, jobs::put)),
        delete("/v1/jobs/{name}", either(dkron::jobs::delete, jobs::delete)),
        post("/v1/jobs/{name}/run", either(dkron::jobs::run, jobs::run)),
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

/// Routes of Dkron alone.
fn of_dkron() -> Vec<Route> {
    use dkron::{cluster, executions, jobs};
    vec![
        get("/v1", cluster::index),
        get("/v1/", cluster::index),
        patch("/v1/jobs", jobs::create),
        post("/v1/jobs/{name}", jobs::run),
        post("/v1/jobs/{name}/toggle", jobs::toggle),
        get("/v1/jobs/{name}/executions", executions::list),
        delete("/v1/jobs/{name}/executions", executions::delete),
        get("/v1/jobs/{name}/executions/{execution}", executions::get),
        post("/v1/restore", dkron::restore).long(),
        get("/v1/members", cluster::members),
        get("/v1/leader", cluster::leader),
        get("/v1/isleader", cluster::is_leader),
        get("/v1/busy", executions::busy),
        post("/v1/leave", cluster::leave),
        get("/v1/pause", cluster::paused),
        post("/v1/pause", cluster::pause),
        post("/v1/unpause", cluster::unpause),
    ]
}

/// The router of everything.
pub(super) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let mut handler = route.handler.layer(from_fn_with_state(route.most, within));
        if route.is_dkron {
            handler = handler.layer(from_fn_with_state(Arc::clone(&app), dkron::admit));
        }
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
