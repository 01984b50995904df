//! Hands runs to their targets and says how they ended. See [`Dispatcher`].
//!
//! One dispatcher per process, on threads of its own: whoever hands over never waits. Every target
//! has a lane with its own queue, pace and connections, so that a slow target grows its own queue
//! and delays nobody else.
//!
//! Must not: decide whether a run is launched, nor whether it is tried again. What is handed over
//! is durable already; what is settled is made durable by the caller. A process that ends before
//! has its calls handed over again as resumed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

mod answer;
mod attempt;
mod bucket;
mod client;
mod codes;
mod deadlines;
mod dispatcher;
mod event_loop;
mod exchange;
mod executor;
mod figures;
mod flight;
mod grpc;
mod guard;
mod lane;
mod lanes;
mod note;
mod options;
mod outside;
mod pool;
mod pooled;
mod queue;
mod request;
mod resolve;
mod secret;
mod sign;
mod status;
mod target;

pub use codes::{CodesError, SuccessCodes};
pub use dispatcher::{Dispatcher, Settled};
pub use figures::{Counts, Latency, TargetFigures};
pub use options::Options;
pub use pool::PoolMembers;
pub use pooled::PooledAction;
pub use secret::{Auth, SigningKey};
pub use target::{AdHoc, Target, TargetName};

/// What a run does, resolved: every name looked up, every text parsed.
#[derive(Debug)]
pub enum Action {
    /// A request to a target.
    Http(HttpAction),
    /// A method of a target, called by gRPC.
    Grpc(GrpcAction),
    /// A command in a pod that is warm already.
    Pooled(PooledAction),
    /// Something outside of this process, which the operator does.
    Errand(orrery_operand::v1::Errand),
    /// Counts and succeeds at once, in process. For benchmarks and simulations: no API leads here.
    Sink,
}

/// A request, as it is sent for each attempt.
///
/// Delivery is at least once: a process that ends between sending and the answer leaves a call that
/// its successor sends again with the same `Idempotency-Key`. With `status_uri` the successor asks
/// first, and sends only what the target does not know.
#[derive(Clone)]
pub struct HttpAction {
    pub target: TargetName,
    pub method: Method,
    /// Absolute: scheme, host, path.
    pub uri: Uri,
    /// Those of the user. Headers that this crate or the connection sets are left out.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Where the target says how the run stands; the key of the run is in it already.
    pub status_uri: Option<Uri>,
    pub success: SuccessCodes,
    /// From the first request to the outcome, asking for the state included.
    pub timeout: Duration,
}

// Headers and body may carry tokens of the user.
impl fmt::Debug for HttpAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAction")
            .field("target", &self.target)
            .field("method", &self.method)
            .field("host", &self.uri.host())
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A call of a unary method by gRPC, as it is made for each attempt.
///
/// Delivery is at least once, as for requests: a successor calls again with the same key.
#[derive(Clone)]
pub struct GrpcAction {
    /// Of the configuration.
    pub target: TargetName,
    /// Scheme and host of the target, and `/package.Service/Method`.
    pub uri: Uri,
    /// The service with its package.
    pub service: Arc<str>,
    /// The method alone.
    pub method: Box<str>,
    /// The message as JSON; empty for one without fields.
    pub body: Bytes,
    /// From the first request to the outcome, asking for the methods included.
    pub timeout: Duration,
}

// The message may have secrets of the user.
impl fmt::Debug for GrpcAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcAction")
            .field("target", &self.target)
            .field("method", &self.uri.path())
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
