//! The smallest system: an engine kind with one child of several kinds, and a kind it is given.
//! Used by the unit tests of the crate and by the tests against a real server.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, ContainerPort, PodSpec, PodTemplateSpec, Service, ServiceAccount,
    ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::CustomResource;
use orrery_api::backup::BackupSpec;
use orrery_api::kv::layout::Layout;
use orrery_api::spec::{ArchiveOf, Folder, ObjectRef};
use orrery_api::{CommonStatus, Reason};
use orrery_runtime::group::{Group, Policy};
use orrery_runtime::routes::Place;
use orrery_runtime::{
    Acceptance, Carrier, CertifiedSecret, Declared, GeneratedKey, GeneratedSecret, Identity, Mode,
    Observation, Prepared, Reference, Referenced, Refusal, Resources, System, labels,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "test.orrery.dev",
    version = "v1alpha1",
    kind = "Toy",
    namespaced,
    status = "ToyStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ToySpec {
    pub replicas: i32,
    pub text: String,
    /// Whether there is a Service.
    pub service: bool,
    /// Whether `validate` refuses.
    pub broken: bool,
    /// Run, Pause or Hibernate.
    pub operation: String,
    /// A Secret that must exist.
    pub secret_ref: Option<String>,
    /// Whether it is archived.
    pub archive: bool,
    /// Shards, each of them in two pods; 0 = there are none.
    pub shards: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ToyStatus {
    #[serde(flatten)]
    pub common: CommonStatus,
}

#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "test.orrery.dev",
    version = "v1alpha1",
    kind = "ToyItem",
    namespaced,
    status = "ToyStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ToyItemSpec {
    pub toy: Option<String>,
    pub value: i64,
    /// A ConfigMap it points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
}

#[derive(Debug)]
pub struct ToySystem;

impl System for ToySystem {
    type Kind = Toy;
    type Status = ToyStatus;
    type Inputs = Referenced;
    type Validated = ToySpec;
    const NAME: &'static str = "toy";

    fn references(toy: &Toy) -> Vec<Reference> {
        toy.spec.secret_ref.iter().cloned().map(Reference::Secret).collect()
    }

    fn mode(toy: &Toy) -> Mode {
        match toy.spec.operation.as_str() {
            "Pause" => Mode::Pause,
            "Hibernate" => Mode::Hibernate,
            _ => Mode::Run,
        }
    }

    fn validate(toy: &Toy, _: &Referenced, _: Carrier) -> Result<ToySpec, Refusal> {
        if toy.spec.broken {
            return Err(Refusal::field(Reason::InvalidSpec, "spec.broken", "must be false"));
        }
        Ok(toy.spec.clone())
    }

    fn build(spec: &ToySpec, identity: &Identity) -> Resources<Prepared> {
        let name = format!("{}-toy", identity.name);
        let labels = identity.labels("toy", "server");
        let selector = labels::selector("toy", &identity.name, "server");
        let metadata = || identity.child(&name, labels.clone());
        let mut resources = Resources::default();
        let account = ServiceAccount { metadata: metadata(), ..ServiceAccount::default() };
        resources.service_accounts.push(account);
        resources.secrets.push(GeneratedSecret {
            given: std::collections::BTreeMap::new(),
            metadata: metadata(),
            keys: vec![GeneratedKey { name: "management-token".into(), length_chars: 32 }],
        });
        if identity.secured {
            let name = format!("{name}-identity");
            resources.certificates.push(CertifiedSecret {
                metadata: identity.child(&name, labels.clone()),
                names: vec![format!("{}.svc", identity.name)],
            });
        }
        resources.config_maps.push(ConfigMap {
            metadata: metadata(),
            data: Some(BTreeMap::from([("text".to_owned(), spec.text.clone())])),
            ..ConfigMap::default()
        });
        let mut set = stateful_set(spec, metadata(), &labels, &selector, &name);
        if spec.archive {
            let archive = archive_of(Some(&identity.namespace), Some(&identity.name));
            annotate(&mut set, labels::ARCHIVE_HASH, &labels::archive_hash(&archive));
        }
        resources.stateful_sets.push(set);
        if spec.service {
            resources.services.push(Service {
                metadata: metadata(),
                spec: Some(ServiceSpec {
                    selector: Some(selector),
                    ports: Some(vec![ServicePort { port: 80, ..Default::default() }]),
                    ..Default::default()
                }),
                ..Default::default()
            });
        }
        resources
    }

    fn groups(spec: &ToySpec, identity: &Identity) -> Vec<Group> {
        places(spec, &identity.name).into_iter().map(group).collect()
    }

    fn standing_groups(toy: &Toy, identity: &Identity) -> Vec<Group> {
        Self::groups(&toy.spec, identity)
    }

    fn places(spec: &ToySpec, identity: &Identity) -> Vec<Place> {
        places(spec, &identity.name)
    }

    fn backed_up(spec: &BackupSpec) -> Option<&str> {
        spec.cluster.as_ref().map(|cluster| cluster.name.as_str())
    }

    fn archive(toy: &Toy) -> Option<ArchiveOf> {
        let meta = &toy.metadata;
        toy.spec.archive.then(|| archive_of(meta.namespace.as_deref(), meta.name.as_deref()))
    }

    fn status(toy: &Toy) -> Option<&ToyStatus> {
        toy.status.as_ref()
    }

    fn common(status: &ToyStatus) -> &CommonStatus {
        &status.common
    }

    fn summary(_: &Toy, _: Option<&ToyStatus>, common: CommonStatus, _: &Observation) -> ToyStatus {
        ToyStatus { common }
    }
}

/// Where the shards are: each is at home in one pod, and another follows.
fn places(spec: &ToySpec, name: &str) -> Vec<Place> {
    let pods = spec.replicas.max(1) as u32;
    let layout = Layout { shards: spec.shards, pods, copies: pods.min(2) };
    let place = |shard: u32| Place {
        shard,
        pods: layout.pods_of(shard).iter().map(|pod| format!("{name}-toy-{pod}")).collect(),
        port: 7000 + shard as u16,
        domain: None,
    };
    (0..spec.shards).map(place).collect()
}

fn group(place: Place) -> Group {
    Group {
        shard: place.shard,
        followers: place.pods.len() as u32 - 1,
        synchronous: 0,
        carried: false,
        tailed: false,
        policy: Policy::AllowLoss,
        wished: None,
        client_port: place.port,
        replication_port: place.port,
        home: place.pods.first().cloned(),
        pods: place.pods,
    }
}

fn annotate(set: &mut StatefulSet, key: &str, value: &str) {
    let template = set.spec.as_mut().and_then(|spec| spec.template.metadata.as_mut());
    let annotations = template.and_then(|metadata| metadata.annotations.as_mut());
    if let Some(annotations) = annotations {
        annotations.insert(key.to_owned(), value.to_owned());
    }
}

fn archive_of(namespace: Option<&str>, name: Option<&str>) -> ArchiveOf {
    let folder = Folder { claim_name: "backups".into(), path: None };
    let object = ObjectRef {
        namespace: namespace.unwrap_or_default().into(),
        name: name.unwrap_or_default().into(),
    };
    ArchiveOf { folder: Some(folder), bucket: None, object }
}

fn stateful_set(
    spec: &ToySpec,
    metadata: ObjectMeta,
    labels: &BTreeMap<String, String>,
    selector: &BTreeMap<String, String>,
    name: &str,
) -> StatefulSet {
    let container = Container {
        name: "toy".into(),
        image: Some("toy:1".into()),
        env: None,
        ports: Some(vec![ContainerPort {
            name: spec.archive.then(|| labels::MANAGEMENT_PORT_NAME.into()),
            container_port: if spec.archive { i32::from(labels::MANAGEMENT_PORT) } else { 80 },
            ..Default::default()
        }]),
        ..Default::default()
    };
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(spec.replicas.max(1)),
            service_name: Some(name.to_owned()),
            selector: LabelSelector { match_labels: Some(selector.clone()), ..Default::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels.clone()),
                    annotations: Some(BTreeMap::from([(
                        labels::CONFIG_HASH.to_owned(),
                        orrery_runtime::resources::content_hash(&spec.text),
                    )])),
                    ..Default::default()
                }),
                spec: Some(PodSpec { containers: vec![container], ..Default::default() }),
            },
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[derive(Debug)]
pub struct ToyItems;

impl Declared for ToyItems {
    type Kind = ToyItem;
    type Engine = ToySystem;
    type Status = ToyStatus;

    fn engine_ref(item: &ToyItem) -> Option<&str> {
        item.spec.toy.as_deref()
    }

    fn references(item: &ToyItem) -> Vec<Reference> {
        item.spec.map.iter().cloned().map(Reference::ConfigMap).collect()
    }

    fn validate(
        item: &ToyItem,
        siblings: &[&ToyItem],
        inputs: &Referenced,
    ) -> Result<serde_json::Value, Refusal> {
        let first = siblings.iter().find(|sibling| sibling.spec.value == item.spec.value);
        match first {
            Some(first) if first.metadata.name != item.metadata.name => {
                Err(Refusal::field(Reason::Conflict, "spec.value", "taken by an older object"))
            }
            _ if item.spec.map.is_some() => Ok(serde_json::json!({ "maps": inputs.config_maps })),
            _ => Ok(serde_json::json!({ "value": item.spec.value })),
        }
    }

    fn default_engine() -> Toy {
        Toy::new("default", ToySpec::default())
    }

    fn status(item: &ToyItem) -> Option<&ToyStatus> {
        item.status.as_ref()
    }

    fn common(status: &ToyStatus) -> &CommonStatus {
        &status.common
    }

    fn summary(_: &ToyItem, common: CommonStatus, _: Option<&Acceptance>) -> ToyStatus {
        ToyStatus { common }
    }
}
