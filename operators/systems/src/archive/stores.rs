//! Where an object is archived, and what it is recovered from: the same for every engine.
//!
//! Must not: look into a store. The processes do; here only mistakes are caught that would keep
//! every one of them from starting.

use k8s_openapi::api::core::v1::{EnvVar, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orrery_api::Reason;
use orrery_api::condition::{ConditionStatus, ConditionType, find};
use orrery_api::kv::config::{ARCHIVE_SECRET, ArchiveFile, RECOVERY_SECRET, RecoveryFile};
use orrery_api::spec::{Archive, ArchiveOf, Bootstrap, Bucket, Moment, RecoveredFrom, Recovery};
use orrery_runtime::{Reference, Referenced, Refusal};

use super::{Mounted, Use, address, bucket_port_of, port};

/// The stores of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stores {
    pub(crate) archive: Option<ArchiveOf>,
    pub(crate) recovery: Option<RecoveredFrom>,
    /// Ports of the object stores that the pods must reach.
    pub(crate) ports: Vec<u16>,
}

/// What a spec says of archives, and what was found before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Kind of the object, and its metadata.
    pub(crate) kind: &'static str,
    pub(crate) meta: &'a ObjectMeta,
    pub(crate) archive: Option<&'a Archive>,
    pub(crate) bootstrap: Option<&'a Bootstrap>,
    /// What was found when the object was recovered; later the Backup and the Secret may be gone.
    pub(crate) recovered: Option<&'a RecoveredFrom>,
    /// What the position of a Backup is.
    pub(crate) position: Position,
}

/// What the position of a Backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// That of a record in the one journal there is.
    Record,
    /// A moment, in microseconds since the Unix epoch.
    Moment,
}

impl<'a> Asked<'a> {
    fn recovery(&self) -> Option<&'a Recovery> {
        self.bootstrap?.recovery.as_ref()
    }

    /// What the archive and the recovery point to.
    pub(crate) fn references(&self) -> Vec<Reference> {
        let secret = |bucket: &Bucket| Reference::Secret(bucket.secret_ref.name.clone());
        let archive = self.archive.iter().flat_map(|archive| &archive.bucket);
        let mut references: Vec<Reference> = archive.map(secret).collect();
        if let Some(recovery) = self.recovery()
            && self.recovered.is_none()
        {
            let backup = recovery.backup.iter();
            references.extend(backup.map(|one| Reference::Backup(one.name.clone())));
            let bucket = recovery.archive.iter().flat_map(|archive| &archive.bucket);
            references.extend(bucket.map(secret));
        }
        references
    }
}

/// The stores, with the Backup of a recovery looked up.
pub(crate) fn check(asked: &Asked<'_>, inputs: &Referenced) -> Result<Stores, Refusal> {
    let namespace = asked.meta.namespace.as_deref().unwrap_or_default();
    let name = asked.meta.name.as_deref().unwrap_or_default();
    let archive = asked.archive.map(|archive| archive.of(namespace, name));
    let recovery = match (asked.recovery(), asked.recovered) {
        (None, _) => None,
        (Some(_), Some(found)) => Some(found.clone()),
        (Some(recovery), None) => Some(found(asked, recovery, inputs)?),
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
fn found(
    asked: &Asked<'_>,
    recovery: &Recovery,
    inputs: &Referenced,
) -> Result<RecoveredFrom, Refusal> {
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
    // An earlier release does not say: it backed up KVClusters alone.
    let engine = backup.engine.as_deref().unwrap_or("KVCluster");
    if engine != asked.kind {
        let message = format!("Backup {name} is that of a {engine}, and this is a {}", asked.kind);
        return Err(Refusal::field(Reason::InvalidSpec, field, message));
    }
    if asked.position == Position::Moment {
        let taken = backup.position.and_then(Moment::from_microseconds);
        let target_time = target_time.or(taken);
        let (archive, position, epoch) = (archive.clone(), None, None);
        return Ok(RecoveredFrom { archive, position, epoch, target_time });
    }
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
    pub(crate) fn archive_file(&self, asked: &Asked<'_>) -> Option<ArchiveFile> {
        let (spec, archive) = (asked.archive?, self.archive.as_ref()?);
        let bucket = archive.bucket.as_ref();
        Some(ArchiveFile {
            to: address(Use::Archive, archive),
            owner: asked.meta.uid.clone(),
            interval_seconds: Some(i64::from(spec.interval_seconds)),
            retention_seconds: spec.retention_seconds.map(i64::from),
            endpoint: bucket.and_then(|bucket| bucket.endpoint.clone()),
            region: bucket.and_then(|bucket| bucket.region.clone()),
        })
    }

    /// The part of the configuration file about the recovery. `member`: the one pod that is recovered,
    /// where others copy from it.
    pub(crate) fn recovery_file(&self, member: Option<String>) -> Option<RecoveryFile> {
        let recovery = self.recovery.as_ref()?;
        let bucket = recovery.archive.bucket.as_ref();
        Some(RecoveryFile {
            from: address(Use::Recovery, &recovery.archive),
            target_time_us: recovery.target_time.map(Moment::microseconds),
            target_position: recovery.position.and_then(|position| u64::try_from(position).ok()),
            target_epoch: recovery.epoch.and_then(|epoch| u64::try_from(epoch).ok()),
            member,
            endpoint: bucket.and_then(|bucket| bucket.endpoint.clone()),
            region: bucket.and_then(|bucket| bucket.region.clone()),
        })
    }

    fn mounted(&self) -> impl Iterator<Item = Mounted> {
        let archive = self.archive.iter().map(|archive| Mounted::new(Use::Archive, archive));
        let recovery = self.recovery.iter();
        archive.chain(recovery.map(|from| Mounted::new(Use::Recovery, &from.archive)))
    }

    /// The volumes of the archive and of what is recovered from.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = Volume> {
        self.mounted().filter_map(|store| store.volume())
    }

    /// Where these are mounted.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = VolumeMount> {
        self.mounted().filter_map(|store| store.mount())
    }

    /// Variables that name the folders of the Secrets of buckets.
    pub(crate) fn variables(&self) -> impl Iterator<Item = EnvVar> {
        let name = |store: &Mounted| match store.purpose() {
            Use::Archive => ARCHIVE_SECRET,
            Use::Recovery => RECOVERY_SECRET,
        };
        self.mounted().filter_map(move |store| store.variable(name(&store)))
    }
}
