//! `/metrics`, `/healthz` and `/readyz`, served by leader and standbys alike.
//!
//! Must not: ask the API server. Both answers come from what the watches showed lately.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::liveness::Liveness;
use crate::metrics::Metrics;

/// What the endpoint shows.
#[derive(Debug, Clone)]
pub struct Health {
    pub liveness: Arc<Liveness>,
    pub metrics: Arc<Metrics>,
    /// A watch that is silent for longer is stuck or deaf.
    pub silence_max: Duration,
}

/// The health that is served: another one when an operator begins anew in the same process.
#[derive(Debug, Clone)]
pub struct Shown(Arc<Mutex<Health>>);

impl Shown {
    pub fn new(health: Health) -> Self {
        Self(Arc::new(Mutex::new(health)))
    }

    /// Serves `health` from now on, on open connections as well.
    pub fn show(&self, health: Health) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    fn now(&self) -> Health {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The routes; the caller binds them where it likes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(self)
    }

    /// Serves until dropped.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    let health = shown.now();
    let (heard, deaf, stuck) = health.liveness.counts(health.silence_max);
    health.metrics.set_watches(heard, deaf, stuck);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.metrics.encode())
}

async fn healthz(State(shown): State<Shown>) -> impl IntoResponse {
    let health = shown.now();
    answer("stuck", &health.liveness.stuck(health.silence_max))
}

async fn readyz(State(shown): State<Shown>) -> impl IntoResponse {
    let health = shown.now();
    answer("silent", &health.liveness.deaf(health.silence_max))
}

fn answer(what: &str, paths: &[String]) -> (StatusCode, String) {
    if paths.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{what} watches: {}\n", paths.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    #[tokio::test(start_paused = true)]
    async fn the_endpoint_tells_live_from_ready() {
        let liveness = Arc::new(Liveness::default());
        liveness.expect("/pods");
        let silence_max = Duration::from_mins(3);
        let health = Health { liveness, metrics: Arc::default(), silence_max };
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a valid request");
            Shown::new(health.clone())
                .router()
                .oneshot(request)
                .await
                .expect("never fails")
                .status()
        };
        assert_eq!(ask("/metrics").await, 200);
        assert_eq!((ask("/healthz").await.as_u16(), ask("/readyz").await.as_u16()), (200, 503));
        tokio::time::advance(Duration::from_secs(181)).await;
        assert_eq!(ask("/healthz").await, 503);
    }
}
