//! What a system says about itself: pure functions from an object to its children and its status.
//!
//! Must not: hold a client, read a clock, an environment variable or a file. Both carriers (a
//! cluster, or processes on one machine) call the same functions; what one of them cannot do is a
//! [`Refusal`] from `validate`.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use orrery_api::backup::{BackupSpec, BackupStatus};
use orrery_api::spec::{ArchiveOf, EngineSpec, RecoveredFrom, Release};
use orrery_api::{CommonStatus, Reason};
use serde::{Serialize, de::DeserializeOwned};

use crate::group::Group;
use crate::labels;
use crate::observation::{Acceptance, Observation};
use crate::redacted::Redacted;
use crate::resources::{Prepared, Resources};
use crate::routes::Place;

/// Name of the engine that declared objects without a reference belong to.
pub const DEFAULT_ENGINE: &str = "default";

/// A namespaced kind of ours.
pub trait Object:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// A status that can be compared with the one stored.
pub trait StatusType:
    Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
}
impl<S> StatusType for S where
    S: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
}

/// Who carries the built resources out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A Kubernetes API server.
    Cluster,
    /// Child processes on this machine.
    Local,
}

/// What `spec.operation` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Carry the spec out.
    #[default]
    Run,
    /// Change nothing; status is still reported.
    Pause,
    /// No pods; volumes and everything else kept.
    Hibernate,
    /// Carry the spec out, with pods that refuse writes: none is replaced, and nobody takes over from a
    /// lost primary.
    Fence,
}

/// Why an object cannot be carried out until its spec or an input changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Documented reason; becomes the reason of `Stalled` and `Ready`.
    pub reason: Reason,
    /// A sentence for people: what is wrong and what to do instead.
    pub message: String,
    /// Path of the field, such as `spec.journal.backend`.
    pub field: Option<String>,
}

impl Refusal {
    /// A refusal of one field.
    pub fn field(reason: Reason, field: &str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: Some(field.to_owned()) }
    }

    /// A refusal of the object as a whole.
    pub fn object(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: None }
    }
}

/// Who an object is and what it runs, as `build` needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub namespace: String,
    /// UID of the object; none where nothing hands out UIDs.
    pub uid: Option<String>,
    /// API version and kind of the object, for owner references.
    pub api_version: String,
    pub kind: String,
    pub generation: i64,
    /// Image that runs the data plane unless the spec names another.
    pub image: String,
    /// Version of the software in that image.
    pub version: String,
    /// Release of a catalog that the spec names, as `<catalog>/<version>`.
    pub release: Option<String>,
    pub carrier: Carrier,
    /// Whether the carrier gives certificates to the pods.
    pub secured: bool,
    /// Pods that take writes, of kinds with followers: one for each shard for which one was chosen, in
    /// the order of the shards.
    pub primaries: Vec<String>,
}

impl Identity {
    /// Identity of an object of kind `K` as it is stored.
    pub fn of<K: Object>(object: &K, image: &str, version: &str, carrier: Carrier) -> Self {
        let meta = object.meta();
        Self {
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            uid: meta.uid.clone(),
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            generation: meta.generation.unwrap_or(0),
            image: image.to_owned(),
            version: version.to_owned(),
            release: None,
            carrier,
            secured: false,
            primaries: Vec::new(),
        }
    }

    /// The same object with a release of a catalog and the image that it is there.
    #[must_use]
    pub fn running(&self, release: &Release, image: String) -> Self {
        let named = Some(format!("{}/{}", release.catalog, release.version));
        Self { image, version: release.version.clone(), release: named, ..self.clone() }
    }

    /// The same object as any release would build it: certificates came with one. A release that the
    /// spec names is part of the spec.
    #[must_use]
    pub fn unreleased(&self) -> Self {
        Self { image: String::new(), version: String::new(), secured: false, ..self.clone() }
    }

    /// Metadata of a child: name, namespace, labels and the owner reference that makes the garbage
    /// collector remove it with the object.
    pub fn child(&self, name: &str, labels: BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            owner_references: self.owner_reference().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    /// Labels of a child of system `system`.
    pub fn labels(&self, system: &str, component: &str) -> BTreeMap<String, String> {
        labels::child(system, &self.name, component, &self.version)
    }

    /// The controller reference to this object; none without a UID.
    pub fn owner_reference(&self) -> Option<OwnerReference> {
        self.uid.as_ref().map(|uid| OwnerReference {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            uid: uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        })
    }
}

/// Something in the same namespace that a spec points to and that is read before `validate`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// A Secret of the user.
    Secret(String),
    /// A ConfigMap of the user.
    ConfigMap(String),
    /// A Backup, which is waited for until it has succeeded or failed.
    Backup(String),
}

/// What was found behind the references of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Referenced {
    /// Content of Secrets by name and key; never shown.
    pub secrets: BTreeMap<String, Redacted<BTreeMap<String, Vec<u8>>>>,
    /// Content of ConfigMaps by name and key.
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// What is said of Backups that are over, by name.
    pub backups: BTreeMap<String, BackupStatus>,
}

/// How a declared object is that its engine took over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why it does nothing, although it is Ready: it was told so.
    pub resting: Option<(Reason, String)>,
    /// Why it does less than asked.
    pub degraded: Option<(Reason, String)>,
    /// What the change that made this generation brings: told once, as an event.
    pub change: Option<(Reason, String)>,
}

/// Something that happened to a declared object without anybody changing it: told once, as an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub reason: Reason,
    /// Which one it is, in one CamelCase word: those of the same reason and action are one event.
    pub action: String,
    pub note: String,
}

/// An engine kind: an object that becomes running processes.
pub trait System: Send + Sync + Sized + 'static {
    /// The custom resource.
    type Kind: Object;
    /// Its status; embeds [`CommonStatus`].
    type Status: StatusType;
    /// What `validate` needs beside the object.
    type Inputs: From<Referenced> + Send + Sync;
    /// A spec that can be carried out.
    type Validated: Send + Sync;

    /// Short name: `kv`.
    const NAME: &'static str;

    /// Its processes tell when declared objects fare otherwise than before.
    const TELLS_CHANGES: bool = false;

    /// Its processes have errands; see [`crate::errands`].
    const HAS_ERRANDS: bool = false;

    /// What the spec points to.
    fn references(_object: &Self::Kind) -> Vec<Reference> {
        Vec::new()
    }

    /// What `spec.operation` asks for.
    fn mode(object: &Self::Kind) -> Mode;

    /// Everything schema and CEL rules could not say.
    fn validate(
        object: &Self::Kind,
        inputs: &Self::Inputs,
        carrier: Carrier,
    ) -> Result<Self::Validated, Refusal>;

    /// Every child object. The same input gives the same bytes.
    fn build(validated: &Self::Validated, identity: &Identity) -> Resources<Prepared>;

    /// The primary and its followers of each shard, in the order of the shards; empty for kinds and
    /// specs without followers.
    fn groups(_validated: &Self::Validated, _identity: &Identity) -> Vec<Group> {
        Vec::new()
    }

    /// Where the shards are, of kinds whose clients are sent from one process to another.
    fn places(_validated: &Self::Validated, _identity: &Identity) -> Vec<Place> {
        Vec::new()
    }

    /// The archive of the object; none when it has none.
    fn archive(_object: &Self::Kind) -> Option<ArchiveOf> {
        None
    }

    /// Name of the object of this kind that a Backup is of, if it is of one.
    fn backed_up(_spec: &BackupSpec) -> Option<&str> {
        None
    }

    /// What the object is recovered from, if it is.
    fn recovered_from(_validated: &Self::Validated) -> Option<&RecoveredFrom> {
        None
    }

    /// As [`System::groups`], of a spec that may be refused: what keeps groups that run alive.
    fn standing_groups(_object: &Self::Kind, _identity: &Identity) -> Vec<Group> {
        Vec::new()
    }

    /// As [`System::places`], of a spec that may be refused: a process that begins again must learn
    /// where the others are.
    fn standing_places(_object: &Self::Kind, _identity: &Identity) -> Vec<Place> {
        Vec::new()
    }

    /// Whether something of the Secrets the spec points to is written into children, so that a change
    /// has to be noticed although no watch shows it.
    fn copies_secrets(_object: &Self::Kind) -> bool {
        false
    }

    /// The fields that say how changes reach the pods.
    fn engine_spec(_object: &Self::Kind) -> Option<&EngineSpec> {
        None
    }

    /// Whether the stored status says that a primary of the shard was chosen before.
    fn was_granted(_status: &Self::Status, _shard: u32) -> bool {
        false
    }

    /// The status that is stored, if any.
    fn status(object: &Self::Kind) -> Option<&Self::Status>;

    /// The common part of a status.
    fn common(status: &Self::Status) -> &CommonStatus;

    /// The status to store: the common part as the runtime made it, and typed figures from what was
    /// seen. Figures that change all the time do not belong here.
    /// `stored` is the status that was written last; the one in `object` may be older.
    fn summary(
        object: &Self::Kind,
        stored: Option<&Self::Status>,
        common: CommonStatus,
        seen: &Observation,
    ) -> Self::Status;
}

/// A config kind: an object that an engine carries out as data.
pub trait Declared: Send + Sync + Sized + 'static {
    /// The custom resource.
    type Kind: Object;
    /// The engine it belongs to.
    type Engine: System;
    /// Its status; embeds [`CommonStatus`].
    type Status: StatusType;

    /// Whether the engine keeps what it has of an object while its newest spec is refused. Not where one
    /// object may take what another has.
    const STAYS_WHEN_REFUSED: bool = false;

    /// Name of the engine the spec names; none when it names none, then it is
    /// [`DEFAULT_ENGINE`], and the operator creates that engine when it is absent.
    fn engine_ref(object: &Self::Kind) -> Option<&str>;

    /// Name of the engine the object belongs to.
    fn engine_name(object: &Self::Kind) -> &str {
        Self::engine_ref(object).unwrap_or(DEFAULT_ENGINE)
    }

    /// What the spec points to.
    fn references(_object: &Self::Kind) -> Vec<Reference> {
        Vec::new()
    }

    /// What the engine is to get, as JSON. `siblings` are all objects of the same engine, this one
    /// among them, oldest first, so that of two that exclude each other the younger is refused;
    /// `inputs` is what its references lead to.
    fn validate(
        object: &Self::Kind,
        siblings: &[&Self::Kind],
        inputs: &Referenced,
    ) -> Result<serde_json::Value, Refusal>;

    /// Refuses what one machine without Kubernetes cannot do; asked there before `validate`.
    fn on_one_machine(_object: &Self::Kind) -> Result<(), Refusal> {
        Ok(())
    }

    /// What is worth saying of an object that its engine took over, beside that it did.
    fn standing(_object: &Self::Kind, _acceptance: &Acceptance) -> Standing {
        Standing::default()
    }

    /// The engine that is created when it is needed and absent; its name and namespace are set by
    /// the caller.
    fn default_engine() -> <Self::Engine as System>::Kind;

    /// The status that is stored, if any.
    fn status(object: &Self::Kind) -> Option<&Self::Status>;

    /// The common part of a status.
    fn common(status: &Self::Status) -> &CommonStatus;

    /// The status to store: the common part and what the engine said about the object.
    fn summary(
        object: &Self::Kind,
        common: CommonStatus,
        acceptance: Option<&Acceptance>,
    ) -> Self::Status;

    /// What the status that is to be stored has that the one that is stored lacks, where people should
    /// hear of it. Since it is in the status, it is told once, whoever restarts.
    fn news(_before: Option<&Self::Status>, _after: &Self::Status) -> Option<News> {
        None
    }
}
