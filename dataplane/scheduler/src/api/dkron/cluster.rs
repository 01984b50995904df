//! What Dkron says of its nodes: here there is one, and it leads.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::{render, render_list, unsupported};
use crate::api::App;
use crate::api::problem::Problem;

fn member(app: &App) -> Value {
    json!({
        "id": app.node(),
        "Name": app.node(),
        "Addr": app.address.ip().to_string(),
        "Port": app.address.port(),
        "Tags": tags(app),
        "Status": 1,
        "statusText": "alive",
        "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2,
        "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
    })
}

fn tags(app: &App) -> Value {
    json!({
        "server": "true",
        "role": "dkron",
        "version": env!("CARGO_PKG_VERSION"),
        "partitions": app.engine.config.partitions.to_string(),
    })
}

/// `GET /v1/`.
pub(in super::super) async fn index(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let status = json!({
        "agent": {"name": app.node(), "version": env!("CARGO_PKG_VERSION")},
        "serf": {"members": "1", "failed": "0", "left": "0"},
        "tags": tags(&app),
    });
    render(StatusCode::OK, &uri, &status)
}

/// `GET /v1/members`.
pub(in super::super) async fn members(State(app): State<Arc<App>>, uri: Uri) -> Response {
    render_list(&uri, &[member(&app)], 1)
}

/// `GET /v1/leader`.
pub(in super::super) async fn leader(State(app): State<Arc<App>>, uri: Uri) -> Response {
    render(StatusCode::OK, &uri, &member(&app))
}

/// `GET /v1/isleader`.
pub(in super::super) async fn is_leader(uri: Uri) -> Response {
    render(StatusCode::OK, &uri, &"I am a leader")
}

/// `POST /v1/leave`.
pub(in super::super) async fn leave() -> Problem {
    unsupported("how many processes there are is for the object to say: change spec.replicas")
}

/// `GET /v1/pause`.
pub(in super::super) async fn paused(State(app): State<Arc<App>>, uri: Uri) -> Response {
    render(StatusCode::OK, &uri, &json!({"paused": app.is_paused.load(Relaxed)}))
}

/// `POST /v1/pause`.
pub(in super::super) async fn pause(State(app): State<Arc<App>>, uri: Uri) -> Response {
    app.is_paused.store(true, Relaxed);
    render(StatusCode::OK, &uri, &json!({"paused": true}))
}

/// `POST /v1/unpause`.
pub(in super::super) async fn unpause(State(app): State<Arc<App>>, uri: Uri) -> Response {
    app.is_paused.store(false, Relaxed);
    render(StatusCode::OK, &uri, &json!({"paused": false}))
}
