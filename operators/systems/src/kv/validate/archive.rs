//! Where a KVCluster is archived, and what it is recovered from.
//!
//! Must not: look into a store. The processes do; here only mistakes are caught that would keep
//! every one of them from starting.

use orrery_api::Reason;
use orrery_api::condition::{ConditionStatus, ConditionType, find};
use orrery_api::kv::KVCluster;
use orrery_api::kv::config::{ArchiveFile, RecoveryFile};
use orrery_api::spec::{ArchiveOf, Bucket, RecoveredFrom, Recovery};
use orrery_runtime::{Reference, Referenced, Refusal};

use super::super::names;
use crate::archive::{Use, address, bucket_port_of, port};

/// The stores of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stores {
    pub(crate) archive: Option<ArchiveOf>,
    pub(crate) recovery: Option<RecoveredFrom>,
    /// Ports of the object stores that the pods must reach.
    pub(crate) ports: Vec<u16>,
}

fn recovery(object: &KVCluster) -> Option<&Recovery> {
    object.spec.bootstrap.as_ref()?.recovery.as_ref()
}

/// What was found when the object was recovered; later the Backup and the Secret may be gone.
fn recovered(object: &KVCluster) -> Option<&RecoveredFrom> {
    object.status.as_ref()?.recovered_from.as_ref()
}

/// What the archive and the recovery of a spec point to.
pub(crate) fn references(object: &KVCluster) -> Vec<Reference> {
    let secret = |bucket: &Bucket| Reference::Secret(bucket.secret_ref.name.clone());
    let archive = object.spec.archive.iter().flat_map(|archive| &archive.bucket);
    let mut references: Vec<Reference> = archive.map(secret).collect();
    if let Some(recovery) = recovery(object)
        && recovered(object).is_none()
    {
        references.extend(recovery.backup.iter().map(|one| Reference::Backup(one.name.clone())));
        let bucket = recovery.archive.iter().flat_map(|archive| &archive.bucket);
        references.extend(bucket.map(secret));
    }
    references
}

/// The stores, with the Backup of a recovery looked up.
pub(super) fn check(object: &KVCluster, inputs: &Referenced) -> Result<Stores, Refusal> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let archive = object.spec.archive.as_ref().map(|archive| archive.of(namespace, name));
    let recovery = match (recovery(object), recovered(object)) {
        (None, _) => None,
        (Some(_), Some(found)) => Some(found.clone()),
        (Some(recovery), None) => Some(found(recovery, inputs)?),
    };
    let own = archive.as_ref().map(|archive| address(Use::Archive, archive));
    let other = recovery.as_ref().map(|recovery| address(Use::Archive, &recovery.archive));
    let is_same_claim = match (&archive, &recovery) {
        (Some(archive), Some(recovery)) => claim(archive) == claim(&recovery.archive),
        _ => false,
    };
    if own.is_some() && own == other && is_same_claim {
        let message = "the object would be archived where it is recovered from; give `spec.archive` \
                       another folder or prefix, or the object another name";
        return Err(Refusal::field(Reason::InvalidSpec, "spec.archive", message));
    }
    let mut ports = Vec::new();
    if let Some(bucket) = archive.as_ref().and_then(|archive| archive.bucket.as_ref()) {
        ports.push(bucket_port(bucket, "spec.archive.bucket.secretRef", inputs)?);
    }
    if let Some(bucket) = recovery.as_ref().and_then(|recovery| recovery.archive.bucket.as_ref()) {
        let field = "spec.bootstrap.recovery.archive.bucket.secretRef";
        ports.push(bucket_port(bucket, field, inputs)?);
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(Stores { archive, recovery, ports })
}

fn claim(archive: &ArchiveOf) -> Option<&str> {
    archive.folder.as_ref().map(|folder| folder.claim_name.as_str())
}

/// What a recovery means by its words.
fn found(recovery: &Recovery, inputs: &Referenced) -> Result<RecoveredFrom, Refusal> {
    let target_time = recovery.target_time;
    let Some(backup) = &recovery.backup else {
        let field = "spec.bootstrap.recovery";
        let Some(archive) = recovery.archive.clone() else {
            let message = "recovery needs exactly one of backup and archive";
            return Err(Refusal::field(Reason::InvalidSpec, field, message));
        };
        return Ok(RecoveredFrom { archive, position: None, epoch: None, target_time });
    };
    let field = "spec.bootstrap.recovery.backup";
    let name = &backup.name;
    let Some(backup) = inputs.backups.get(name) else {
        let message = format!("there is no Backup {name}");
        return Err(Refusal::field(Reason::RefNotFound, field, message));
    };
    let succeeded = find(&backup.common.conditions, ConditionType::Succeeded);
    let succeeded = succeeded.filter(|succeeded| succeeded.status == ConditionStatus::True);
    let (Some(_), Some(archive)) = (succeeded, &backup.archive) else {
        let message = format!("Backup {name} has failed; name one that has succeeded");
        return Err(Refusal::field(Reason::BackupFailed, field, message));
    };
    let position = backup.position.filter(|_| target_time.is_none());
    // A failover may have left its epoch behind: what the Backup promised is there all the same.
    let epoch = position.map(|_| backup.epoch.unwrap_or(0));
    Ok(RecoveredFrom { archive: archive.clone(), position, epoch, target_time })
}

/// The port of the store of a bucket. A Secret that was read must have the credentials.
fn bucket_port(bucket: &Bucket, field: &str, inputs: &Referenced) -> Result<u16, Refusal> {
    let (name, endpoint) = (&bucket.secret_ref.name, bucket.endpoint.as_deref());
    match inputs.secrets.get(name) {
        Some(secret) => bucket_port_of(name, secret.expose(), endpoint, field),
        None => Ok(port(endpoint)),
    }
}

impl Stores {
    /// The part of the configuration file about the archive.
    pub(super) fn archive_file(&self, object: &KVCluster) -> Option<ArchiveFile> {
        let (spec, archive) = (object.spec.archive.as_ref()?, self.archive.as_ref()?);
        let bucket = archive.bucket.as_ref();
        Some(ArchiveFile {
            to: address(Use::Archive, archive),
            owner: object.metadata.uid.clone(),
            interval_seconds: Some(i64::from(spec.interval_seconds)),
            retention_seconds: spec.retention_seconds.map(i64::from),
            endpoint: bucket.and_then(|bucket| bucket.endpoint.clone()),
            region: bucket.and_then(|bucket| bucket.region.clone()),
        })
    }

    /// The part of the configuration file about the recovery.
    pub(super) fn recovery_file(&self, object: &KVCluster) -> Option<RecoveryFile> {
        // The first primary; the others copy from it.
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let member = (object.spec.followers > 0).then(|| names::pod(name, 0));
        let recovery = self.recovery.as_ref()?;
        let bucket = recovery.archive.bucket.as_ref();
        Some(RecoveryFile {
            from: address(Use::Recovery, &recovery.archive),
            target_time_us: recovery.target_time.map(orrery_api::spec::Moment::microseconds),
            target_position: recovery.position.and_then(|position| u64::try_from(position).ok()),
            target_epoch: recovery.epoch.and_then(|epoch| u64::try_from(epoch).ok()),
            member,
            endpoint: bucket.and_then(|bucket| bucket.endpoint.clone()),
            region: bucket.and_then(|bucket| bucket.region.clone()),
        })
    }
}
