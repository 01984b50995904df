//! The key-value service: engine `KVCluster`, declared objects `KVNamespace`.

pub mod build;
pub mod declared;
mod groups;
pub mod names;
mod rules;
mod spread;
pub mod status;
pub mod validate;

use crate::parts::tls::Listener;
use orrery_api::CommonStatus;
use orrery_api::backup::BackupSpec;
use orrery_api::kv::{KVCluster, KVClusterStatus};
use orrery_api::spec::{ArchiveOf, EngineSpec, Operation, RecoveredFrom};
use orrery_runtime::group::Group;
use orrery_runtime::routes::Place;
use orrery_runtime::{
    Carrier, Identity, Mode, Observation, Prepared, Reference, Referenced, Refusal, Resources,
    System,
};

pub use declared::Namespaces;
pub use rules::operator_rules;
pub use validate::Validated;

/// The system of kind `KVCluster`.
#[derive(Debug)]
pub struct Kv;

impl System for Kv {
    type Kind = KVCluster;
    type Status = KVClusterStatus;
    type Inputs = Referenced;
    type Validated = Validated;

    const NAME: &'static str = "kv";

    fn references(object: &KVCluster) -> Vec<Reference> {
        let resp = &object.spec.resp;
        let auth = resp.auth.iter().map(|auth| &auth.secret_ref);
        let tls = validate::listener(object).and_then(Listener::reference);
        let adopt = object.spec.adopt_from.iter().flat_map(|adopt| {
            let tls = adopt.tls.as_ref().map(|tls| &tls.secret_ref);
            [&adopt.secret_ref].into_iter().chain(tls)
        });
        let users = resp.users.iter().filter_map(|user| user.password_secret.as_ref());
        let users = users.map(|secret| &secret.name);
        let journal = object.spec.journal.ref_.iter();
        let names =
            auth.chain(tls).chain(adopt).chain(journal).map(|secret| &secret.name).chain(users);
        let mut secrets: Vec<Reference> = vec![];
        for name in names {
            let secret = Reference::Secret(name.clone());
            if !secrets.contains(&secret) {
                secrets.push(secret);
            }
        }
        secrets.into_iter().chain(validate::asked(object).references()).collect()
    }

    fn mode(object: &KVCluster) -> Mode {
        match object.spec.engine.operation {
            Operation::Run => Mode::Run,
            Operation::Pause => Mode::Pause,
            Operation::Hibernate => Mode::Hibernate,
            Operation::Fence => Mode::Fence,
        }
    }

    fn validate(
        object: &KVCluster,
        inputs: &Referenced,
        carrier: Carrier,
    ) -> Result<Validated, Refusal> {
        validate::validate(object, inputs, carrier)
    }

    fn build(validated: &Validated, identity: &Identity) -> Resources<Prepared> {
        build::build(validated, identity)
    }

    fn groups(validated: &Validated, identity: &Identity) -> Vec<Group> {
        validated.groups(&identity.name)
    }

    fn archive(object: &KVCluster) -> Option<ArchiveOf> {
        let meta = &object.metadata;
        let archive = object.spec.archive.as_ref()?;
        Some(archive.of(meta.namespace.as_deref()?, meta.name.as_deref()?))
    }

    fn backed_up(spec: &BackupSpec) -> Option<&str> {
        spec.cluster.as_ref().map(|cluster| cluster.name.as_str())
    }

    fn recovered_from(validated: &Validated) -> Option<&RecoveredFrom> {
        validated.stores.recovery.as_ref()
    }

    fn standing_groups(object: &KVCluster, identity: &Identity) -> Vec<Group> {
        let had_primary = Self::status(object).is_some_and(groups::had_primary);
        groups::groups(&object.spec, had_primary, &identity.name)
    }

    fn places(validated: &Validated, identity: &Identity) -> Vec<Place> {
        groups::places(&validated.spec, &identity.name, &identity.namespace)
    }

    fn standing_places(object: &KVCluster, identity: &Identity) -> Vec<Place> {
        groups::places(&object.spec, &identity.name, &identity.namespace)
    }

    fn copies_secrets(object: &KVCluster) -> bool {
        !object.spec.resp.users.is_empty()
    }

    fn engine_spec(object: &KVCluster) -> Option<&EngineSpec> {
        Some(&object.spec.engine)
    }

    fn was_granted(status: &KVClusterStatus, shard: u32) -> bool {
        groups::was_granted(status, shard)
    }

    fn status(object: &KVCluster) -> Option<&KVClusterStatus> {
        object.status.as_ref()
    }

    fn common(status: &KVClusterStatus) -> &CommonStatus {
        &status.common
    }

    fn summary(
        object: &KVCluster,
        stored: Option<&KVClusterStatus>,
        common: CommonStatus,
        seen: &Observation,
    ) -> KVClusterStatus {
        status::summary(object, stored, common, seen)
    }
}
