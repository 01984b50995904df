//! From a valid KVCluster to every child object, one file per child.
//!
//! Must not: depend on anything but its arguments. The same input gives the same bytes.

mod certificate;
mod config_map;
mod live;
mod network_policy;
mod pdb;
pub(crate) mod pod;
mod secret;
mod services;
mod stateful_set;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orrery_api::kv::layout::CLIENTS_PORT;
use orrery_runtime::{Identity, Prepared, Resources, labels};

use super::names;
use super::validate::Validated;
use crate::labels::merged;

/// Value of `app.kubernetes.io/name`.
const SYSTEM: &str = "kv";
/// Value of `app.kubernetes.io/component`.
const COMPONENT: &str = "server";
/// Port name of the Redis protocol.
const RESP: &str = CLIENTS_PORT;
/// Port name of HTTP for clients.
const API: &str = "api";
/// Port name of metrics and probes.
const HTTP: &str = "http";
/// Port number of metrics and probes.
const HTTP_PORT: i32 = 9401;

/// Every child of a KVCluster.
pub fn build(validated: &Validated, identity: &Identity) -> Resources<Prepared> {
    let name = names::main(&identity.name);
    let mut children = Resources::default();
    children.service_accounts.push(ServiceAccount {
        metadata: metadata(validated, identity, &name),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    });
    children.secrets.push(secret::build(validated, identity));
    children.secrets.push(live::build(validated, identity));
    children.certificates.extend(certificate::build(validated, identity));
    children.config_maps.push(config_map::build(validated, identity));
    children.services.extend(services::build(validated, identity));
    children.network_policies.push(network_policy::build(validated, identity));
    children.pdbs.push(pdb::build(validated, identity));
    children.stateful_sets.push(stateful_set::build(validated, identity));
    children
}

/// Metadata of a child, with the labels and annotations the user wants on every child.
fn metadata(validated: &Validated, identity: &Identity, name: &str) -> ObjectMeta {
    let user = &validated.spec.engine.metadata;
    let labels = merged(identity.labels(SYSTEM, COMPONENT), &user.labels);
    let annotations = (!user.annotations.is_empty()).then(|| user.annotations.clone());
    ObjectMeta { annotations, ..identity.child(name, labels) }
}

/// Labels the pods are selected by.
fn selector(identity: &Identity) -> BTreeMap<String, String> {
    labels::selector(SYSTEM, &identity.name, COMPONENT)
}
