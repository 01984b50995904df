//! The engine as a whole: its figures, its partitions, its targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::App;
use super::input::json;
use crate::dispatch::TargetFigures;
use crate::engine::{LATENESS_BOUNDS_MS, shown_ms};

/// `GET /v1/status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    object: String,
    version: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    now: String,
    jobs: u64,
    declared: u64,
    running: u64,
    /// Jobs that are due and wait for room.
    waiting: u64,
    /// Runs that are over, by how they ended, since the process began.
    ended: BTreeMap<&'static str, u64>,
    /// Runs that were not over in time, since the process began.
    overdue: u64,
    lateness: Lateness,
    targets: Vec<Target>,
    partitions: Vec<Partition>,
    dkron_compat: bool,
}

/// How late runs were launched since the process began.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lateness {
    /// 99 of 100 were within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_milliseconds: Option<i64>,
    objective_milliseconds: i64,
    buckets: Vec<Bucket>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    /// Left out for the last, which has no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to_milliseconds: Option<i64>,
    launches: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    name: String,
    queued: u64,
    in_flight: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_since: Option<String>,
    succeeded: u64,
    failed: u64,
    refused: u64,
    timed_out: u64,
    cancelled: u64,
    expired: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p50_milliseconds: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_p99_milliseconds: Option<u128>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Partition {
    id: usize,
    works: bool,
    jobs: u64,
    running: u64,
    waiting: u64,
    /// Position of its journal that is on disk.
    durable: u64,
}

/// `GET /v1/status`.
pub(super) async fn get(State(app): State<Arc<App>>) -> Response {
    let (engine, shared) = (&app.engine, &app.engine.shared);
    let readiness = shared.health.readiness();
    let figures = shared.figures();
    let bounds = LATENESS_BOUNDS_MS.iter().copied().map(Some).chain([None]);
    let buckets = bounds.zip(shared.lateness());
    let partitions =
        shared.each().into_iter().enumerate().map(|(id, (figures, works))| Partition {
            id,
            works,
            jobs: figures.jobs,
            running: figures.running,
            waiting: figures.parked,
            durable: figures.durable,
        });
    let object = &engine.config.object;
    let status = Status {
        object: format!("{}.{}", object.namespace, object.name),
        version: env!("CARGO_PKG_VERSION"),
        ready: readiness.ready,
        reason: readiness.reason,
        message: readiness.message,
        now: shown_ms(app.now_ms()),
        jobs: figures.jobs,
        declared: figures.declared,
        running: figures.running,
        waiting: figures.parked,
        ended: shared.ended().map(|(ended, count)| (ended.as_str(), count)).collect(),
        overdue: shared.overdue(),
        lateness: Lateness {
            p99_milliseconds: shared.p99_bound_ms().filter(|bound| *bound < i64::MAX),
            objective_milliseconds: engine.config.objective.lateness_p99_milliseconds,
            buckets: buckets
                .map(|(up_to_milliseconds, launches)| Bucket { up_to_milliseconds, launches })
                .collect(),
        },
        targets: app.dispatcher.figures().iter().map(target).collect(),
        partitions: partitions.collect(),
        dkron_compat: engine.config.dkron_compat,
    };
    json(StatusCode::OK, &status)
}

fn target(figures: &TargetFigures) -> Target {
    let quantile = |part| figures.latency.quantile(part).map(|bound| bound.as_millis());
    Target {
        latency_p50_milliseconds: quantile(0.5),
        latency_p99_milliseconds: quantile(0.99),
        name: figures.target.as_str().to_owned(),
        queued: figures.queued,
        in_flight: figures.in_flight,
        throttled_since: figures.throttled_since_ms.map(|since| shown_ms(since as i64)),
        succeeded: figures.counts.succeeded,
        failed: figures.counts.failed,
        refused: figures.counts.refused,
        timed_out: figures.counts.timed_out,
        cancelled: figures.counts.cancelled,
        expired: figures.counts.expired,
    }
}

/// `GET /healthz`.
pub(super) async fn healthz(State(app): State<Arc<App>>) -> Response {
    let readiness = app.engine.shared.health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = if readiness.ready { "ready\n" } else { "not ready\n" };
    (status, [(CONTENT_TYPE, "text/plain")], text).into_response()
}
