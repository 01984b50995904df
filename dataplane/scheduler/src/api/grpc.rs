//! gRPC for clients: the typed face of REST.
//!
//! Each method becomes a request of REST, in this process, and its answer a message: so limits,
//! refusals, meanings and who is let in are the same by construction.
//!
//! Must not: ask the engine itself.

mod rest;
mod service;

use axum::Router;
use tonic::service::Routes;

use self::rest::Rest;

/// Messages and service as the proto file says them.
#[allow(
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    missing_debug_implementations,
    missing_docs
)]
#[path = "grpc/generated/orrery.scheduler.v1.rs"]
pub mod v1;

/// Largest message of a client, in bytes: that of the largest body of REST.
const MESSAGE_BYTES_MAX: usize = super::input::BULK_BYTES_MAX;

/// The routes of gRPC in front of those of REST.
pub(super) fn router(rest: Router) -> Router {
    let service = v1::scheduler_server::SchedulerServer::new(Rest::new(rest))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(service).into_axum_router()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    #[test]
    fn the_code_is_made_from_the_source() {
        let source = include_bytes!("../../proto/orrery/scheduler/v1/scheduler.proto");
        let code = include_str!("grpc/generated/orrery.scheduler.v1.rs");
        let hash = orrery_operand::set_hash::hex(&Sha256::digest(source));
        let first = format!("// source sha256: {hash}\n");
        assert!(code.starts_with(&first), "run cargo run -p xtask --features protocol -- protocol");
    }
}
