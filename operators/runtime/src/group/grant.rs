//! The grant of a shard as it is stored: a Lease beside the object.
//!
//! Must not: be written without the version that was read. Of two operators one gets a conflict and
//! looks again.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

use super::Grant;
use crate::system::Identity;

/// Failed to read or to write the grant.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    #[error("failed to read the lease {name}")]
    Read { name: String, source: kube::Error },
    #[error("failed to write the lease {name}")]
    Write { name: String, source: kube::Error },
    #[error("the lease {name} belongs to something else; remove it")]
    Foreign { name: String },
}

/// Name of the Lease of a shard.
pub fn name(identity: &Identity, system: &str, shard: u32) -> String {
    format!("{}-{system}-{shard}", identity.name)
}

/// Reads the grant; none before the first, and none that an earlier object of the name left.
pub async fn read(
    client: &Client,
    identity: &Identity,
    system: &str,
    shard: u32,
) -> Result<Option<Grant>, GrantError> {
    let name = name(identity, system, shard);
    let api: Api<Lease> = Api::namespaced(client.clone(), &identity.namespace);
    let found = api.get_opt(&name).await;
    let Some(lease) = found.map_err(|source| GrantError::Read { name: name.clone(), source })?
    else {
        return Ok(None);
    };
    let owner = crate::children::store::controller_of(&lease.metadata).map(|o| o.uid.as_str());
    if owner != identity.uid.as_deref() {
        return Err(GrantError::Foreign { name });
    }
    Ok(grant(&lease))
}

fn grant(lease: &Lease) -> Option<Grant> {
    let spec = lease.spec.as_ref()?;
    Some(Grant {
        holder: spec.holder_identity.clone()?,
        epoch: u64::try_from(spec.lease_transitions?).ok()?,
        resource_version: lease.resource_version()?,
    })
}

/// Writes a grant over the one that was read, or as the first.
pub async fn write(
    client: &Client,
    identity: &Identity,
    system: &str,
    shard: u32,
    before: Option<&Grant>,
    holder: &str,
    epoch: u64,
) -> Result<Option<Grant>, GrantError> {
    let name = name(identity, system, shard);
    let api: Api<Lease> = Api::namespaced(client.clone(), &identity.namespace);
    let mut metadata = identity.child(&name, identity.labels(system, "grant"));
    metadata.resource_version = before.map(|grant| grant.resource_version.clone());
    let lease = Lease {
        metadata,
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_transitions: Some(i32::try_from(epoch).unwrap_or(i32::MAX)),
            ..LeaseSpec::default()
        }),
    };
    let params = PostParams::default();
    let written = match before {
        Some(_) => api.replace(&name, &params, &lease).await,
        None => api.create(&params, &lease).await,
    };
    let written = written.map_err(|source| GrantError::Write { name, source })?;
    Ok(grant(&written))
}
