//! From a valid Scheduler to every child object.
//!
//! Must not: depend on anything but its arguments. The same input gives the same bytes.

pub(crate) mod pod;
mod pool;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use orrery_api::kv::config::FENCED_FILE;
use orrery_api::scheduler::config::{API_TOKEN_KEY, CONFIG_FILE};
use orrery_api::spec::Operation;
use orrery_runtime::{
    GeneratedKey, GeneratedSecret, Identity, Prepared, Redacted, Resources, labels,
};

use super::validate::Validated;
use super::{SYSTEM, groups};
use crate::parts::services::{clients, headless, port};
use crate::parts::{Frame, certificate, config_file, network, pdb, stateful_set};

/// Port name of the API for clients.
const API: &str = "api";
/// Port name of gRPC for clients.
const GRPC: &str = "grpc";
/// Characters of each generated value; about 190 bits.
const LENGTH_CHARS: usize = 32;

/// Every child of a Scheduler.
pub fn build(validated: &Validated, identity: &Identity) -> Resources<Prepared> {
    let frame = frame(validated, identity);
    let api = || -> Vec<_> {
        doors(validated).into_iter().map(|(name, number)| port(name, number)).collect()
    };
    let for_clients = frame.main();
    let mut children = Resources::default();
    children.service_accounts.push(ServiceAccount {
        metadata: frame.metadata(&frame.main()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    });
    children.secrets.push(secret(&frame));
    children.secrets.push(live(&frame));
    children.certificates.extend(certificate::build(&frame, std::slice::from_ref(&for_clients)));
    children.config_maps.push(config_map(&frame, validated));
    let owner = owner(validated, identity, &frame);
    children.services.push(clients(&frame, &for_clients, owner, api()));
    children.services.push(headless(&frame, api()));
    children.network_policies.push(network_policy(&frame, validated));
    children.pdbs.push(pdb::build(&frame));
    children.stateful_sets.push(stateful_set::build(
        &frame,
        validated.spec.replicas,
        pod::template(validated, identity),
        &validated.spec.storage,
    ));
    for pool in &validated.spec.pools {
        pool::add(&mut children, &frame, pool);
    }
    children
}

/// Which pods clients are sent to: the one that owns the jobs, where others stand by.
fn owner(
    validated: &Validated,
    identity: &Identity,
    frame: &Frame<'_>,
) -> BTreeMap<String, String> {
    let mut pods = frame.selector();
    if validated.spec.replicas > 1 {
        let owner = identity.primaries.first().cloned();
        let owner = owner.unwrap_or_else(|| groups::pod(&identity.name, 0));
        pods.insert(labels::POD_NAME.to_owned(), owner);
    }
    pods
}

/// Names and numbers of the ports for clients.
fn doors(validated: &Validated) -> Vec<(&'static str, i32)> {
    let api = &validated.spec.api;
    let grpc = api.grpc.iter().map(|grpc| (GRPC, grpc.port));
    [(API, api.http.port)].into_iter().chain(grpc).collect()
}

/// What all children have in common.
fn frame<'a>(validated: &'a Validated, identity: &'a Identity) -> Frame<'a> {
    Frame { system: SYSTEM, identity, engine: &validated.spec.engine }
}

/// The Secret the operator makes: the token of the management protocol, and that of clients.
fn secret(frame: &Frame<'_>) -> GeneratedSecret {
    let key = |name: &str| GeneratedKey { name: name.to_owned(), length_chars: LENGTH_CHARS };
    let mut keys = vec![key(labels::MANAGEMENT_TOKEN_KEY), key(API_TOKEN_KEY)];
    keys.sort();
    GeneratedSecret { metadata: frame.metadata(&frame.main()), keys, given: BTreeMap::new() }
}

/// Name of the Secret with what running processes read again when it changes.
fn live_name(frame: &Frame<'_>) -> String {
    format!("{}-live", frame.main())
}

/// Whether anything may be launched or changed: a change of it needs no other pods.
fn live(frame: &Frame<'_>) -> GeneratedSecret {
    let is_fenced = frame.engine.operation == Operation::Fence;
    let fenced = Redacted::new(is_fenced.to_string().into_bytes());
    GeneratedSecret {
        metadata: frame.metadata(&live_name(frame)),
        keys: vec![],
        given: BTreeMap::from([(FENCED_FILE.to_owned(), fenced)]),
    }
}

/// The configuration file of the processes.
fn config_map(frame: &Frame<'_>, validated: &Validated) -> ConfigMap {
    let text = config_file::text(&validated.config);
    ConfigMap {
        metadata: frame.metadata(&frame.main()),
        data: Some(BTreeMap::from([(CONFIG_FILE.to_owned(), text)])),
        ..ConfigMap::default()
    }
}

/// Clients come in at the API. Runs go out to wherever schedules say, by URL or by the name of a
/// target.
fn network_policy(frame: &Frame<'_>, validated: &Validated) -> NetworkPolicy {
    let doors = doors(validated);
    let mut ingress: Vec<_> =
        doors.iter().map(|(name, _)| network::allow(name, network::clients(frame))).collect();
    ingress.extend(network::own_ports());
    network::policy(frame, ingress, Some(vec![network::to_anywhere(), network::to_names()]))
}
