//! From a valid KVCluster to every child object, one file per child.
//!
//! Must not: depend on anything but its arguments. The same input gives the same bytes.

mod config_map;
mod live;
mod network_policy;
pub(crate) mod pod;
mod secret;
mod services;
mod stateful_set;

use k8s_openapi::api::core::v1::ServiceAccount;
use orrery_api::kv::layout::CLIENTS_PORT;
use orrery_runtime::{Identity, Prepared, Resources};

use super::names::{self, SYSTEM};
use super::validate::Validated;
use crate::parts::{Frame, certificate, pdb};

/// Port name of the Redis protocol.
const RESP: &str = CLIENTS_PORT;
/// Port name of HTTP for clients.
const API: &str = "api";
/// Every child of a KVCluster.
pub fn build(validated: &Validated, identity: &Identity) -> Resources<Prepared> {
    let frame = frame(validated, identity);
    let mut children = Resources::default();
    children.service_accounts.push(ServiceAccount {
        metadata: frame.metadata(&frame.main()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    });
    children.secrets.push(secret::build(validated, identity));
    children.secrets.push(live::build(validated, identity));
    let for_clients = [names::read_write(&identity.name), names::read_only(&identity.name)];
    children.certificates.extend(certificate::build(&frame, &for_clients));
    children.config_maps.push(config_map::build(validated, identity));
    children.services.extend(services::build(validated, identity));
    children.network_policies.push(network_policy::build(validated, identity));
    children.pdbs.push(pdb::build(&frame));
    children.stateful_sets.push(stateful_set::build(validated, identity));
    children
}

/// What all children have in common.
fn frame<'a>(validated: &'a Validated, identity: &'a Identity) -> Frame<'a> {
    Frame { system: SYSTEM, identity, engine: &validated.spec.engine }
}
