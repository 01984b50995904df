//! The data plane's side: a typed trait, and the gRPC service around it.
//!
//! The service checks the bearer token (or, without one, that the peer is on loopback), bounds
//! the size of messages, and runs long calls in tasks of their own so that `Report` is always
//! answered.

use std::net::IpAddr;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{TcpConnectInfo, UdsConnectInfo};
use tonic::{Request, Response, Status};

use crate::changes::told;
use crate::errands::{self, ErrandBook};
use crate::error::OperandError;
use crate::progress::{Finished, ProgressSender};
use crate::v1::operand_server::{self, OperandServer};
use crate::v1::{
    DrainRequest, ErrandsRequest, ErrandsResponse, FenceRequest, FenceResponse, FollowRequest,
    FollowResponse, Progress, PromoteRequest, PromoteResponse, RenewRequest, RenewResponse,
    ReportRequest, ReportResponse, RestoreRequest, RouteRequest, RouteResponse, SettleRequest,
    SettleResponse, SnapshotRequest, Standing, SyncRequest, SyncResponse, WatchRequest,
    WatchResponse,
};

/// A full set of declared objects must fit one message.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Steps that may wait for a slow reader.
const PROGRESS_QUEUE: usize = 16;

/// What every data plane answers to its operator. See the proto file for the meaning of fields.
#[tonic::async_trait]
pub trait Operand: Send + Sync + 'static {
    /// Cheap and always possible, while starting and when fenced too.
    async fn report(&self) -> ReportResponse;
    /// Carries out the full set; accepted objects are durable before the answer.
    async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, OperandError>;
    /// Counts the changes of how declared objects fare. Systems whose objects have no state leave it
    /// out.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }
    /// What it wants done outside; not before it knows all of it. Systems without errands leave it out.
    fn errands(&self) -> Result<Arc<ErrandBook>, OperandError> {
        Err(OperandError::Unsupported("this system has no errands".into()))
    }
    /// Learns how an errand stands; durable before the answer. Systems without errands leave it out.
    async fn settle(&self, _request: SettleRequest) -> Result<(), OperandError> {
        Err(OperandError::Unsupported("this system has no errands".into()))
    }
    /// Stops taking work, finishes what was accepted.
    async fn drain(&self, seconds: u32, on: ProgressSender) -> Result<Finished, OperandError>;
    /// Accepts writes under `epoch`, which must be above every epoch known.
    async fn promote(&self, shard: u32, epoch: u64) -> Result<PromoteResponse, OperandError>;
    /// Refuses writes under epochs below `epoch`. Idempotent.
    async fn fence(&self, shard: u32, epoch: u64) -> Result<FenceResponse, OperandError>;
    /// Follows a primary. Systems without followers leave it out.
    async fn follow(&self, _request: FollowRequest) -> Result<FollowResponse, OperandError> {
        Err(OperandError::Unsupported("this system has no followers".into()))
    }
    /// Learns the newest epoch of a shard and what its group is. Systems without followers leave it
    /// out.
    async fn renew(&self, _request: RenewRequest) -> Result<RenewResponse, OperandError> {
        Err(OperandError::Unsupported("this system has no followers".into()))
    }
    /// Learns where every shard of the object is. Systems whose clients are not sent there leave it out.
    async fn route(&self, _request: RouteRequest) -> Result<RouteResponse, OperandError> {
        Err(OperandError::Unsupported("this system sends no clients elsewhere".into()))
    }
    /// Writes a consistent image.
    async fn snapshot(&self, to: String, on: ProgressSender) -> Result<Finished, OperandError>;
    /// Replaces all data by an image.
    async fn restore(&self, from: String, on: ProgressSender) -> Result<Finished, OperandError>;
}

/// Who may call.
#[derive(Clone)]
pub enum Access {
    /// Whoever holds the token.
    Token(Arc<str>),
    /// Peers on loopback or a Unix socket only.
    Loopback,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(redacted)",
            Self::Loopback => "Loopback",
        })
    }
}

/// The gRPC service for one data plane.
pub fn service<T: Operand>(operand: Arc<T>, access: Access) -> OperandServer<Service<T>> {
    OperandServer::new(Service { operand, access })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Adapter between the generated trait and [`Operand`].
pub struct Service<T> {
    operand: Arc<T>,
    access: Access,
}

impl<T> std::fmt::Debug for Service<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("access", &self.access).finish_non_exhaustive()
    }
}

type ProgressStream = ReceiverStream<Result<Progress, Status>>;
type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;
type ErrandsStream = ReceiverStream<Result<ErrandsResponse, Status>>;

impl<T: Operand> Service<T> {
    fn admit<M>(&self, request: Request<M>) -> Result<M, Status> {
        let allowed = match &self.access {
            Access::Token(token) => bearer(&request)
                .is_some_and(|sent| bool::from(sent.as_bytes().ct_eq(token.as_bytes()))),
            Access::Loopback => is_local(&request),
        };
        if allowed {
            return Ok(request.into_inner());
        }
        Err(OperandError::Unauthenticated.into())
    }

    /// Runs `work` in a task of its own; its end is the last message of the stream.
    fn long<F, W>(&self, work: F) -> Response<ProgressStream>
    where
        F: FnOnce(Arc<T>, ProgressSender) -> W,
        W: Future<Output = Result<Finished, OperandError>> + Send + 'static,
    {
        let (to, from) = mpsc::channel(PROGRESS_QUEUE);
        let running = work(Arc::clone(&self.operand), ProgressSender::new(to.clone()));
        tokio::spawn(async move {
            let last = running.await.map(Progress::from).map_err(Status::from);
            // The receiver is gone when the caller is: there is nobody left to tell.
            let _ = to.send(last).await;
        });
        Response::new(ReceiverStream::new(from))
    }
}

fn bearer<M>(request: &Request<M>) -> Option<&str> {
    request.metadata().get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}

fn is_local<M>(request: &Request<M>) -> bool {
    if request.extensions().get::<UdsConnectInfo>().is_some() {
        return true;
    }
    let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    peer.is_some_and(|address| match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
    })
}

#[tonic::async_trait]
impl<T: Operand> operand_server::Operand for Service<T> {
    type WatchStream = WatchStream;
    type ErrandsStream = ErrandsStream;
    type DrainStream = ProgressStream;
    type SnapshotStream = ProgressStream;
    type RestoreStream = ProgressStream;

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        self.admit(request)?;
        Ok(Response::new(self.operand.report().await))
    }

    async fn sync(&self, request: Request<SyncRequest>) -> Result<Response<SyncResponse>, Status> {
        let request = self.admit(request)?;
        Ok(Response::new(self.operand.sync(request).await?))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.admit(request)?;
        let Some(changes) = self.operand.changes() else {
            let none = "the declared objects of this system have no state";
            return Err(OperandError::Unsupported(none.into()).into());
        };
        Ok(Response::new(told(changes)))
    }

    async fn errands(
        &self,
        request: Request<ErrandsRequest>,
    ) -> Result<Response<Self::ErrandsStream>, Status> {
        self.admit(request)?;
        Ok(Response::new(errands::told(self.operand.errands()?)))
    }

    async fn settle(
        &self,
        request: Request<SettleRequest>,
    ) -> Result<Response<SettleResponse>, Status> {
        let request = self.admit(request)?;
        if request.standing() == Standing::Unspecified {
            return Err(OperandError::Invalid("how the errand stands must be said".into()).into());
        }
        self.operand.settle(request).await?;
        Ok(Response::new(SettleResponse {}))
    }

    async fn drain(
        &self,
        request: Request<DrainRequest>,
    ) -> Result<Response<Self::DrainStream>, Status> {
        let seconds = self.admit(request)?.timeout_seconds;
        Ok(self.long(|operand, on| async move { operand.drain(seconds, on).await }))
    }

    async fn promote(
        &self,
        request: Request<PromoteRequest>,
    ) -> Result<Response<PromoteResponse>, Status> {
        let PromoteRequest { shard, epoch } = self.admit(request)?;
        if epoch == 0 {
            return Err(OperandError::Invalid("epoch 0 grants nothing".into()).into());
        }
        Ok(Response::new(self.operand.promote(shard, epoch).await?))
    }

    async fn fence(
        &self,
        request: Request<FenceRequest>,
    ) -> Result<Response<FenceResponse>, Status> {
        let FenceRequest { shard, epoch } = self.admit(request)?;
        Ok(Response::new(self.operand.fence(shard, epoch).await?))
    }

    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<FollowResponse>, Status> {
        let request = self.admit(request)?;
        if request.epoch == 0 || request.address.is_empty() {
            return Err(OperandError::Invalid("epoch and address must be given".into()).into());
        }
        Ok(Response::new(self.operand.follow(request).await?))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let request = self.admit(request)?;
        Ok(Response::new(self.operand.renew(request).await?))
    }

    async fn route(
        &self,
        request: Request<RouteRequest>,
    ) -> Result<Response<RouteResponse>, Status> {
        let request = self.admit(request)?;
        if request.hash.is_empty() {
            return Err(OperandError::Invalid("the hash of the routes must be given".into()).into());
        }
        Ok(Response::new(self.operand.route(request).await?))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let to = self.admit(request)?.to;
        Ok(self.long(|operand, on| async move { operand.snapshot(to, on).await }))
    }

    async fn restore(
        &self,
        request: Request<RestoreRequest>,
    ) -> Result<Response<Self::RestoreStream>, Status> {
        let from = self.admit(request)?.from;
        Ok(self.long(|operand, on| async move { operand.restore(from, on).await }))
    }
}
