//! The pod: one container that runs the key-value data plane.

mod container;
mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use orrery_runtime::{Identity, labels};

use super::super::validate::Validated;
use super::{SYSTEM, config_map, frame};
use crate::parts::pod;

/// The template of the pods with the user's changes.
pub(crate) fn template(validated: &Validated, identity: &Identity) -> PodTemplateSpec {
    let mut annotations =
        BTreeMap::from([(labels::CONFIG_HASH.to_owned(), config_map::hash(&validated.config))]);
    if let Some(archive) = &validated.stores.archive {
        annotations.insert(labels::ARCHIVE_HASH.to_owned(), labels::archive_hash(archive));
    }
    let content = pod::Content {
        container: container::build(validated, identity),
        volumes: volumes::build(validated, identity),
        annotations,
        user: validated.pod_template.as_ref(),
    };
    pod::template(&frame(validated, identity), content)
}
