//! Asks a target what the messages of a service are, by server reflection (`grpc.reflection.v1`, and
//! `v1alpha` where there is no other).
//!
//! Must not: believe what it is told. What comes back is bounded, and everything goes that the library
//! that reads it takes on trust; see `plain`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use http::Uri;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use tokio::time::Instant;

use super::super::attempt::{Attempt, now_s};
use super::super::exchange::Trouble;
use super::super::{note, request};
use super::exchange::{Bounds, Reply, exchange};
use super::frames;
use super::status::Code;
use crate::run::Outcome;

mod plain;
mod wire;

/// Bytes of one answer, and of all descriptors of a service.
const BYTES_MAX: usize = 4 << 20;
/// Files of a service with all that they import.
const FILES_MAX: usize = 512;
/// How often it is asked for what is imported: as deep as imports may go where a target gives each file
/// alone.
const ROUNDS_MAX: usize = 32;
/// Methods that are asked, the newer first.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Why there are no descriptors.
enum Miss {
    /// The target does not know the method that was asked.
    NoReflection,
    Other(Outcome),
}

/// The descriptors of a service and of all that it needs.
pub(super) async fn ask(
    attempt: &Attempt,
    uri: &Uri,
    service: &str,
) -> Result<DescriptorPool, Outcome> {
    for path in PATHS {
        let Some(uri) = at(uri, path) else { break };
        match gather(attempt, &uri, service).await {
            Ok(files) => {
                return plain::compile(files).map_err(|why| {
                    let note = format!("the target describes {service} wrongly: {why}");
                    Outcome::Refused { note }
                });
            }
            Err(Miss::NoReflection) => {}
            Err(Miss::Other(outcome)) => return Err(outcome),
        }
    }
    let note = "the target has no server reflection (grpc.reflection.v1), which says how its \
                messages are written: only calls without a body can be made";
    Err(Outcome::Refused { note: note.to_owned() })
}

fn at(uri: &Uri, path: &'static str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(path));
    Uri::from_parts(parts).ok()
}

/// All files that are needed, by name.
async fn gather(
    attempt: &Attempt,
    uri: &Uri,
    service: &str,
) -> Result<BTreeMap<String, FileDescriptorProto>, Miss> {
    let known = DescriptorPool::global();
    let mut files = BTreeMap::new();
    // Names of files that were asked for.
    let mut asked = BTreeSet::new();
    let mut wanted = vec![wire::Request::symbol(service)];
    let mut bytes = 0_usize;
    for number in 0..ROUNDS_MAX {
        let (responses, is_whole) = round(attempt, uri, &wanted, service, number == 0).await?;
        // The one behind the last answer is not there, if not all were answered.
        let count = if is_whole { wanted.len() } else { responses.len() + 1 };
        asked.extend(wanted.drain(..).take(count).map(wire::Request::into_name));
        for file in
            responses.into_iter().flat_map(|response| response.files.unwrap_or_default().file)
        {
            bytes = bytes.saturating_add(file.len());
            let file = FileDescriptorProto::decode(&*file).map_err(|error| {
                let why = note::of_error(&error);
                refused(&format!("the target describes {service} malformed: {why}"))
            })?;
            files.entry(file.name().to_owned()).or_insert(file);
        }
        if bytes > BYTES_MAX || files.len() > FILES_MAX {
            break;
        }
        let imports = files.values().flat_map(|file: &FileDescriptorProto| &file.dependency);
        let missing: BTreeSet<String> = imports
            .filter(|name| !files.contains_key(*name) && known.get_file_by_name(name).is_none())
            .cloned()
            .collect();
        let new = missing.iter().filter(|name| !asked.contains(*name)).take(FILES_MAX);
        wanted.extend(new.map(|name| wire::Request::file(name)));
        if wanted.is_empty() {
            // What cannot be had may be imported for options alone, which nobody reads here.
            files.extend(missing.into_iter().map(|name| {
                let empty = FileDescriptorProto { name: Some(name.clone()), ..Default::default() };
                (name, empty)
            }));
            return Ok(files);
        }
    }
    Err(refused(&format!("the target describes {service} by too many files")))
}

/// One call with one request for each of what is wanted, and whether all were answered: some servers end
/// the call at the first that they do not have, others answer that with an error. In the first one
/// either is the end.
async fn round(
    attempt: &Attempt,
    uri: &Uri,
    wanted: &[wire::Request],
    service: &str,
    is_first: bool,
) -> Result<(Vec<wire::Response>, bool), Miss> {
    let Some(reach) = &attempt.reach.grpc else { return Err(Miss::NoReflection) };
    let (mut body, mut signed) = (BytesMut::new(), BytesMut::new());
    for request in wanted {
        let request = request.encode_to_vec();
        frames::put(&mut body, &request);
        signed.extend_from_slice(&request);
    }
    let deadline = attempt.deadline.min(Instant::now() + attempt.reach.timeout);
    let left = deadline.saturating_duration_since(Instant::now());
    let body: (Bytes, &[u8]) = (body.freeze(), &signed);
    let request = request::grpc(&attempt.call, uri, body, &attempt.credentials, now_s(), left);
    let bounds = Bounds { messages: FILES_MAX, bytes: BYTES_MAX, kept: BYTES_MAX };
    let reply = exchange(&reach.client, request, deadline, bounds).await;
    let answer = match reply {
        // A run whose target does not say how to write to it was not sent.
        Err(Trouble::TimedOut(note)) => {
            let note = format!("asked for its methods, the target gave {note}");
            return Err(Miss::Other(Outcome::Failed { note }));
        }
        Err(trouble) => return Err(Miss::Other(trouble.into())),
        Ok(Reply::Grpc(answer)) => answer,
        Ok(Reply::Other(answer)) if answer.status == http::StatusCode::NOT_FOUND => {
            return Err(Miss::NoReflection);
        }
        Ok(other) => return Err(Miss::Other(other.judge_alone(uri).outcome)),
    };
    if answer.cut.is_some() {
        return Err(refused("the target describes its methods by too many bytes"));
    }
    let is_whole = match answer.code() {
        Some(Code::OK) => true,
        Some(Code::UNIMPLEMENTED) => return Err(Miss::NoReflection),
        Some(Code::NOT_FOUND) if is_first => return Err(no_service(service)),
        Some(Code::NOT_FOUND) => false,
        _ => return Err(Miss::Other(Reply::Grpc(answer).judge_alone(uri).outcome)),
    };
    let messages = answer.frames.messages().unwrap_or_default();
    let read = |message: &frames::Message| {
        let is_usable = message.is_whole && !message.is_compressed;
        is_usable.then(|| wire::Response::decode(&*message.bytes).ok()).flatten()
    };
    let responses: Option<Vec<_>> = messages.iter().map(read).collect();
    let responses = responses
        .filter(|responses| !is_whole || !responses.is_empty())
        .ok_or_else(|| refused("the target answers server reflection malformed"))?;
    if is_first && let Some(error) = responses.iter().find_map(|response| response.error.as_ref()) {
        if error.error_code == i32::from(Code::NOT_FOUND.0) {
            return Err(no_service(service));
        }
        let (code, message) = (error.error_code, note::of_bytes(error.error_message.as_bytes()));
        let note = format!("the target does not describe {service}: {code}: {message}");
        return Err(Miss::Other(Outcome::Failed { note }));
    }
    Ok((responses, is_whole))
}

fn no_service(service: &str) -> Miss {
    refused(&format!("the target has no service {service}"))
}

fn refused(note: &str) -> Miss {
    Miss::Other(Outcome::Refused { note: note.to_owned() })
}
