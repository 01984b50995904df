//! The operator's side: one connection to one data plane, every call with a deadline.

use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tracing::{Instrument as _, Span};

use crate::changes::Changes;
use crate::errands::Errands;
use crate::error::OperandError;
use crate::progress::Finished;
use crate::secured::Caller;
use crate::server::MESSAGE_BYTES_MAX;
use crate::trace;
use crate::v1::operand_client;
use crate::v1::{
    DrainRequest, ErrandsRequest, FenceRequest, FenceResponse, FollowRequest, FollowResponse,
    Progress, PromoteRequest, PromoteResponse, RenewRequest, RenewResponse, ReportRequest,
    ReportResponse, RestoreRequest, RouteRequest, RouteResponse, SettleRequest, SnapshotRequest,
    SyncRequest, SyncResponse, WatchRequest,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Report, Promote and Fence do no long work.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A full set may have to be made durable.
const SYNC_TIMEOUT: Duration = Duration::from_secs(20);
/// A long call must show a step at least this often.
const STEP_TIMEOUT: Duration = Duration::from_mins(1);

/// A client for one data plane process. Cheap to clone; connects when first used.
#[derive(Clone)]
pub struct OperandClient {
    inner: operand_client::OperandClient<Channel>,
    token: Option<MetadataValue<Ascii>>,
    address: String,
}

impl std::fmt::Debug for OperandClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperandClient")
            .field("token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

impl OperandClient {
    /// `address` is `host:port`; `token` is what the generated Secret holds, none on loopback.
    pub fn new(address: &str, token: Option<&str>) -> Result<Self, OperandError> {
        Self::of(address, token, None)
    }

    /// The same, over mutual TLS with a caller.
    pub fn secured(
        address: &str,
        token: Option<&str>,
        caller: Caller,
    ) -> Result<Self, OperandError> {
        Self::of(address, token, Some(caller))
    }

    fn of(
        address: &str,
        token: Option<&str>,
        caller: Option<Caller>,
    ) -> Result<Self, OperandError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| OperandError::Invalid(format!("{address} is no address: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT);
        let token = token
            .map(|token| MetadataValue::try_from(format!("Bearer {token}")))
            .transpose()
            .map_err(|_| OperandError::Invalid("the management token is not ASCII text".into()))?;
        let channel = match caller {
            Some(caller) => caller.channel(&endpoint, address),
            None => endpoint.connect_lazy(),
        };
        let inner = operand_client::OperandClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { inner, token, address: address.to_owned() })
    }

    pub async fn report(&self) -> Result<ReportResponse, OperandError> {
        let (span, request) = self.request("Report", ReportRequest {});
        within(span, CALL_TIMEOUT, self.inner.clone().report(request)).await
    }

    pub async fn sync(&self, request: SyncRequest) -> Result<SyncResponse, OperandError> {
        let (span, request) = self.request("Sync", request);
        within(span, SYNC_TIMEOUT, self.inner.clone().sync(request)).await
    }

    /// Hears when declared objects fare otherwise than before.
    pub async fn watch(&self) -> Result<Changes, OperandError> {
        let (span, request) = self.request("Watch", WatchRequest {});
        let stream = within(span, CALL_TIMEOUT, self.inner.clone().watch(request)).await?;
        Ok(Changes::new(stream))
    }

    /// Hears what the process wants done.
    pub async fn errands(&self) -> Result<Errands, OperandError> {
        let (span, request) = self.request("Errands", ErrandsRequest {});
        let stream = within(span, CALL_TIMEOUT, self.inner.clone().errands(request)).await?;
        Ok(Errands::new(stream))
    }

    /// Says how an errand stands. Durable in the process when it returns.
    pub async fn settle(&self, request: SettleRequest) -> Result<(), OperandError> {
        let (span, request) = self.request("Settle", request);
        within(span, SYNC_TIMEOUT, self.inner.clone().settle(request)).await.map(drop)
    }

    pub async fn promote(&self, shard: u32, epoch: u64) -> Result<PromoteResponse, OperandError> {
        let (span, request) = self.request("Promote", PromoteRequest { shard, epoch });
        within(span, CALL_TIMEOUT, self.inner.clone().promote(request)).await
    }

    pub async fn fence(&self, shard: u32, epoch: u64) -> Result<FenceResponse, OperandError> {
        let (span, request) = self.request("Fence", FenceRequest { shard, epoch });
        within(span, CALL_TIMEOUT, self.inner.clone().fence(request)).await
    }

    pub async fn follow(
        &self,
        shard: u32,
        epoch: u64,
        address: String,
        mutual_tls: bool,
    ) -> Result<FollowResponse, OperandError> {
        let message = FollowRequest { shard, epoch, address, mutual_tls };
        let (span, request) = self.request("Follow", message);
        within(span, CALL_TIMEOUT, self.inner.clone().follow(request)).await
    }

    pub async fn renew(&self, request: RenewRequest) -> Result<RenewResponse, OperandError> {
        let (span, request) = self.request("Renew", request);
        within(span, CALL_TIMEOUT, self.inner.clone().renew(request)).await
    }

    pub async fn route(&self, request: RouteRequest) -> Result<RouteResponse, OperandError> {
        let (span, request) = self.request("Route", request);
        within(span, CALL_TIMEOUT, self.inner.clone().route(request)).await
    }

    /// Each long call tells `on_step` how far it is and returns when it is done.
    pub async fn drain(
        &self,
        seconds: u32,
        on_step: impl FnMut(&Progress),
    ) -> Result<Finished, OperandError> {
        let (span, request) = self.request("Drain", DrainRequest { timeout_seconds: seconds });
        let stream = within(span, CALL_TIMEOUT, self.inner.clone().drain(request)).await?;
        follow(stream, on_step).await
    }

    pub async fn snapshot(
        &self,
        to: &str,
        on_step: impl FnMut(&Progress),
    ) -> Result<Finished, OperandError> {
        let (span, request) = self.request("Snapshot", SnapshotRequest { to: to.to_owned() });
        let stream = within(span, CALL_TIMEOUT, self.inner.clone().snapshot(request)).await?;
        follow(stream, on_step).await
    }

    pub async fn restore(
        &self,
        from: &str,
        on_step: impl FnMut(&Progress),
    ) -> Result<Finished, OperandError> {
        let (span, request) = self.request("Restore", RestoreRequest { from: from.to_owned() });
        let stream = within(span, CALL_TIMEOUT, self.inner.clone().restore(request)).await?;
        follow(stream, on_step).await
    }

    /// The request, and the span of its call.
    fn request<M>(&self, rpc: &'static str, message: M) -> (Span, Request<M>) {
        let mut request = Request::new(message);
        let span = trace::calling(rpc, &self.address);
        if let Some(header) = span.in_scope(trace::header) {
            request.metadata_mut().insert(trace::HEADER, header);
        }
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        (span, request)
    }
}

async fn within<T>(
    span: Span,
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, OperandError> {
    match tokio::time::timeout(limit, call).instrument(span).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(OperandError::Unknown(format!("no answer within {} s", limit.as_secs()))),
    }
}

async fn follow(
    mut steps: Streaming<Progress>,
    mut on_step: impl FnMut(&Progress),
) -> Result<Finished, OperandError> {
    loop {
        let step = tokio::time::timeout(STEP_TIMEOUT, steps.next()).await.map_err(|_| {
            OperandError::Unknown(format!("no progress for {} s", STEP_TIMEOUT.as_secs()))
        })?;
        let Some(step) = step else {
            return Err(OperandError::Unknown("the data plane ended before it was done".into()));
        };
        let step = step?;
        on_step(&step);
        if step.done {
            let Progress { position, location, done_units: units, epoch, .. } = step;
            return Ok(Finished { position, location, units, epoch });
        }
    }
}
