//! One call by gRPC over HTTP/2 and its answer, bounded in time and size.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;

use super::super::answer::Answer;
use super::super::client::HttpClient;
use super::super::exchange::{Trouble, exchange_by};
use super::super::note;
use super::frames::Frames;

/// Bytes of an answer that is not one of gRPC, as far as they are read.
const OTHER_BYTES_MAX: usize = 64 << 10;

/// How much of an answer is read and kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Messages; with more it is not read on.
    pub(super) messages: usize,
    /// Bytes that are read; with more it is not read on.
    pub(super) bytes: usize,
    /// Bytes of messages that are kept.
    pub(super) kept: usize,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Reply {
    Grpc(GrpcAnswer),
    /// Whoever answered does not speak gRPC.
    Other(Answer),
}

/// An answer of gRPC, as far as it was read.
#[derive(Debug)]
pub(super) struct GrpcAnswer {
    /// Those after the messages, or those of an answer that has nothing else.
    pub(super) trailers: HeaderMap,
    pub(super) frames: Frames,
    /// Why it was not read to its end.
    pub(super) cut: Option<&'static str>,
}

/// Sends a request and reads the answer.
pub(super) async fn exchange(
    client: &HttpClient,
    request: Request<Full<Bytes>>,
    deadline: Instant,
    bounds: Bounds,
) -> Result<Reply, Trouble> {
    exchange_by(client, request, deadline, async |head, body| {
        if is_grpc(&head.headers) {
            return Ok(Reply::Grpc(read(body, &head.headers, bounds).await?));
        }
        let body = super::super::exchange::read(body, note::NOTE_BYTES + 1, OTHER_BYTES_MAX);
        Ok(Reply::Other(Answer {
            status: head.status,
            body: body.await?,
            headers: head.headers.clone(),
        }))
    })
    .await
}

/// `application/grpc`, or it with a subtype.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let kind = kind.strip_prefix("application/grpc");
    kind.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';', ' ']))
}

async fn read<B>(mut body: B, head: &HeaderMap, bounds: Bounds) -> Result<GrpcAnswer, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut frames = Frames::new(bounds.messages, bounds.kept);
    let (mut seen, mut trailers, mut cut) = (0_usize, None, None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                seen = seen.saturating_add(data.len());
                frames.take(&data);
                if seen > bounds.bytes {
                    cut = Some("is too large");
                } else if frames.count() > bounds.messages {
                    cut = Some("has too many messages");
                }
                if cut.is_some() {
                    break;
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    // An answer that fails at once has its status in its only headers.
    let trailers = trailers.unwrap_or_else(|| head.clone());
    Ok(GrpcAnswer { trailers, frames, cut })
}
