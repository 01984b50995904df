//! One attempt of a run at a target that speaks gRPC: a unary method, called with a message that is
//! written as JSON.
//!
//! What the fields of a message are, the target says by server reflection. A message without fields
//! needs no such knowledge. Lanes, limits, credentials and deadlines are those of every target.
//!
//! Must not: call a method that streams. One whose kind is not known here is known by its answer.

use bytes::Bytes;
use jiff::Timestamp;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::time::Instant;

use super::answer::Report;
use super::attempt::{Attempt, now_s};
use super::client::HttpClient;
use super::target::is_same_origin;
use super::{GrpcAction, note, request};
use crate::run::Outcome;

mod exchange;
mod frames;
mod message;
mod methods;
mod reflection;
mod status;

use exchange::{Bounds, Reply};
use frames::framed;
use methods::Methods;
use status::Code;

/// Bytes of an answer that are read: what clients of gRPC take unless told otherwise.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of an answer that are kept for the note.
const ANSWER_BYTES_KEPT: usize = 16 << 10;

/// What a target is called by, and what is known of its methods.
pub(super) struct GrpcReach {
    pub(super) client: HttpClient,
    methods: Methods,
}

impl GrpcReach {
    pub(super) fn new(client: HttpClient) -> Self {
        Self { client, methods: Methods::default() }
    }
}

/// Calls the method once.
pub(super) async fn run(attempt: &Attempt, action: &GrpcAction) -> Report {
    let refused = |note: &str| Outcome::Refused { note: note.to_owned() }.into();
    let Some(reach) = &attempt.reach.grpc else {
        return refused("only named targets are called by gRPC");
    };
    let own = attempt.reach.origin.as_ref();
    if own.is_some_and(|own| !is_same_origin(own, &action.uri)) {
        return refused("the address is not one of the target");
    }
    let (message, method) = match message(attempt, reach, action).await {
        Ok(found) => found,
        Err(outcome) => return outcome.into(),
    };
    let request = request::grpc(
        &attempt.call,
        &action.uri,
        (framed(&message), &message),
        &attempt.credentials,
        now_s(),
        attempt.deadline.saturating_duration_since(Instant::now()),
    );
    // A second message shows that the method streams.
    let bounds = Bounds { messages: 2, bytes: ANSWER_BYTES_MAX, kept: ANSWER_BYTES_KEPT };
    let reply = match exchange::exchange(&reach.client, request, attempt.deadline, bounds).await {
        Ok(reply) => reply,
        Err(trouble) => return Outcome::from(trouble).into(),
    };
    if let Reply::Grpc(answer) = &reply
        && matches!(answer.code(), Some(Code::INVALID_ARGUMENT | Code::UNIMPLEMENTED))
    {
        reach.methods.doubt(&action.service).await;
    }
    let said = |answer: &[u8]| said(method.as_ref(), answer);
    reply.judge(&action.uri, Timestamp::now(), said)
}

/// The message to send, and what is known of the method; an outcome where it cannot be written.
async fn message(
    attempt: &Attempt,
    reach: &GrpcReach,
    action: &GrpcAction,
) -> Result<(Bytes, Option<MethodDescriptor>), Outcome> {
    if message::is_empty(&action.body) {
        return Ok((Bytes::new(), None));
    }
    let methods = &reach.methods;
    let (known, is_new) = methods.of(&action.service, attempt, &action.uri, false).await?;
    let written = message::write(&known, action);
    let written = match written {
        // The target may have changed since it was asked.
        Err(_) if !is_new => {
            let (known, _) = methods.of(&action.service, attempt, &action.uri, true).await?;
            message::write(&known, action)
        }
        written => written,
    };
    let (message, method) = written.map_err(|note| Outcome::Refused { note })?;
    Ok((message, Some(method)))
}

/// What an answer says, as JSON, where it is known what it may say.
fn said(method: Option<&MethodDescriptor>, answer: &[u8]) -> String {
    let Some(method) = method else { return String::new() };
    let json = DynamicMessage::decode(method.output(), answer)
        .ok()
        .and_then(|message| serde_json::to_vec(&message).ok())
        .filter(|json| json != b"{}");
    json.map(|json| note::of_bytes(&json)).unwrap_or_default()
}
