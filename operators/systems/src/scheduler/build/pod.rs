//! The pod: one container that runs the scheduler data plane.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec, Volume, VolumeMount};
use orrery_api::scheduler::config::CONFIG_FILE;
use orrery_runtime::{Identity, labels};

use super::super::targets::{self, TARGETS, TARGETS_FOLDER};
use super::{SYSTEM, Validated, doors, frame, live_name};
use crate::parts::container::{self, HTTP, HTTP_PORT, Process};
use crate::parts::tls::{self, TLS_FOLDER};
use crate::parts::volumes::{
    self, CONFIG, CONFIG_FOLDER, DATA, DATA_FOLDER, IDENTITY, IDENTITY_FOLDER, LIVE, LIVE_FOLDER,
    SECRETS, SECRETS_FOLDER, mount, secret,
};
use crate::parts::{certificate, config_file, journal, pod};

/// The template of the pods with the user's changes.
pub(crate) fn template(validated: &Validated, identity: &Identity) -> PodTemplateSpec {
    let hash = config_file::hash(&config_file::text(&validated.config));
    let mut annotations = BTreeMap::from([(labels::CONFIG_HASH.to_owned(), hash)]);
    if let Some(archive) = &validated.stores.archive {
        annotations.insert(labels::ARCHIVE_HASH.to_owned(), labels::archive_hash(archive));
    }
    let content = pod::Content {
        container: container(validated, identity),
        volumes: volumes(validated, identity),
        annotations,
        user: validated.pod_template.as_ref(),
    };
    pod::template(&frame(validated, identity), content)
}

fn container(validated: &Validated, identity: &Identity) -> Container {
    let own =
        [(labels::MANAGEMENT_PORT_NAME, i32::from(labels::MANAGEMENT_PORT)), (HTTP, HTTP_PORT)];
    let process = Process {
        arguments: arguments(validated, identity),
        ports: doors(validated)
            .into_iter()
            .chain(own)
            .map(|(name, number)| (name.to_owned(), number))
            .collect(),
        variables: journal::named(&validated.spec.journal)
            .into_iter()
            .chain(validated.stores.variables())
            .collect(),
        mounts: mounts(validated, identity),
    };
    container::build(&frame(validated, identity), process)
}

fn arguments(validated: &Validated, identity: &Identity) -> Vec<String> {
    let config = format!("{CONFIG_FOLDER}/{CONFIG_FILE}");
    let common_name = certificate::common_name(&frame(validated, identity));
    let shown = ["--identity", IDENTITY_FOLDER, "--identity-name", &common_name];
    let shown = identity.secured.then_some(shown).into_iter().flatten();
    let targets = (!validated.files.is_empty()).then_some(["--targets", TARGETS_FOLDER]);
    let tls = validated.spec.api.tls.iter().flat_map(|_| ["--tls", TLS_FOLDER]);
    ["serve", SYSTEM, "--config", &config, "--data", DATA_FOLDER, "--secrets", SECRETS_FOLDER]
        .into_iter()
        .chain(["--live", LIVE_FOLDER])
        .chain(tls)
        .chain(shown)
        .chain(targets.into_iter().flatten())
        .map(str::to_owned)
        .collect()
}

fn volumes(validated: &Validated, identity: &Identity) -> Vec<Volume> {
    let frame = frame(validated, identity);
    // New content reaches the folder, and the process, without a restart.
    let live = secret(LIVE, &live_name(&frame));
    let own = [volumes::config(&frame), secret(SECRETS, &frame.main()), live];
    own.into_iter()
        .chain(volumes::identity(&frame))
        .chain(validated.spec.api.tls.as_ref().map(tls::volume))
        .chain(targets::volume(&validated.files))
        .chain(validated.stores.volumes())
        .chain(journal::volume(&validated.spec.journal))
        .collect()
}

fn mounts(validated: &Validated, identity: &Identity) -> Vec<VolumeMount> {
    let shown = identity.secured.then(|| mount(IDENTITY, IDENTITY_FOLDER, true));
    let has_files = !validated.files.is_empty();
    let targets = has_files.then(|| mount(TARGETS, TARGETS_FOLDER, true));
    [
        mount(CONFIG, CONFIG_FOLDER, true),
        mount(SECRETS, SECRETS_FOLDER, true),
        mount(LIVE, LIVE_FOLDER, true),
        mount(DATA, DATA_FOLDER, false),
    ]
    .into_iter()
    .chain(validated.spec.api.tls.as_ref().map(|_| tls::mounted()))
    .chain(shown)
    .chain(targets)
    .chain(validated.stores.mounts())
    .chain(journal::mounted(&validated.spec.journal))
    .collect()
}
