//! What the container finds on its file system: configuration, secrets, certificates, data.

use k8s_openapi::api::core::v1::{
    ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume, VolumeMount,
    VolumeProjection,
};
use orrery_api::kv::AdoptTls;
use orrery_runtime::{Carrier, Identity, labels};

use super::super::super::names;
use super::super::super::validate::{PASSWORD_KEY, Validated};
use super::super::frame;
use crate::parts::volumes::{
    self, CONFIG, CONFIG_FOLDER, DATA, DATA_FOLDER, IDENTITY, IDENTITY_FOLDER, LIVE, LIVE_FOLDER,
    SECRET_MODE, SECRETS, SECRETS_FOLDER, item, mount, secret, whole,
};
use crate::parts::{journal, tls};

const ADOPT: &str = "adopt";
const ADOPT_TLS: &str = "adopt-tls";

/// Folder of the Redis to take over.
pub(super) const ADOPT_FOLDER: &str = "/run/orrery/adopt";
/// Folder of what its certificate is checked with.
pub(super) const ADOPT_TLS_FOLDER: &str = "/run/orrery/adopt-tls";

pub(super) fn build(validated: &Validated, identity: &Identity) -> Vec<Volume> {
    let frame = frame(validated, identity);
    let tls = validated.spec.resp.tls.iter().map(tls::volume);
    // Read at every attempt to connect, so a new password needs no restart.
    let adopt = validated.spec.adopt_from.iter();
    let adopt = adopt.map(|adopt| secret(ADOPT, &adopt.secret_ref.name));
    let adopt_tls = adopt_tls(validated).map(|tls| secret(ADOPT_TLS, &tls.secret_ref.name));
    let adopt = adopt.chain(adopt_tls);
    let stores = validated.stores.volumes();
    let shown = volumes::identity(&frame);
    // New content reaches the folder, and the process, without a restart.
    let live = secret(LIVE, &names::live(&identity.name));
    let journal = journal::volume(&validated.spec.journal);
    let own = [volumes::config(&frame), secrets(validated, identity), live];
    own.into_iter().chain(tls).chain(shown).chain(adopt).chain(stores).chain(journal).collect()
}

/// What the certificate of the Redis to take over is checked with.
pub(super) fn adopt_tls(validated: &Validated) -> Option<&AdoptTls> {
    validated.spec.adopt_from.as_ref().and_then(|adopt| adopt.tls.as_ref())
}

/// The generated Secret; with a password of the user's own, both Secrets in one folder.
fn secrets(validated: &Validated, identity: &Identity) -> Volume {
    let generated = names::main(&identity.name);
    let empty = Volume { name: SECRETS.to_owned(), ..Volume::default() };
    let Some(auth) = &validated.spec.resp.auth else {
        return Volume { secret: Some(whole(generated)), ..empty };
    };
    let user = &auth.secret_ref.name;
    if identity.carrier == Carrier::Local {
        // On one machine nothing is generated, so the user's Secret is all there is.
        let items = Some(vec![item(PASSWORD_KEY)]);
        return Volume {
            secret: Some(SecretVolumeSource { items, ..whole(user.clone()) }),
            ..empty
        };
    }
    let source = |name: &str, key: &str| VolumeProjection {
        secret: Some(SecretProjection {
            name: name.to_owned(),
            items: Some(vec![item(key)]),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    Volume {
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(SECRET_MODE),
            sources: Some(vec![
                source(&generated, labels::MANAGEMENT_TOKEN_KEY),
                source(user, PASSWORD_KEY),
            ]),
        }),
        ..empty
    }
}

pub(super) fn mounts(validated: &Validated, identity: &Identity) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount(CONFIG, CONFIG_FOLDER, true),
        mount(SECRETS, SECRETS_FOLDER, true),
        mount(LIVE, LIVE_FOLDER, true),
        mount(DATA, DATA_FOLDER, false),
    ];
    if validated.spec.resp.tls.is_some() {
        mounts.push(tls::mounted());
    }
    if identity.secured {
        mounts.push(mount(IDENTITY, IDENTITY_FOLDER, true));
    }
    if validated.spec.adopt_from.is_some() {
        mounts.push(mount(ADOPT, ADOPT_FOLDER, true));
    }
    if adopt_tls(validated).is_some() {
        mounts.push(mount(ADOPT_TLS, ADOPT_TLS_FOLDER, true));
    }
    mounts.extend(journal::mounted(&validated.spec.journal));
    mounts.extend(validated.stores.mounts());
    mounts
}
