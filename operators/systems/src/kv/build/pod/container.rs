//! The container of the key-value data plane: arguments, ports, variables.

use k8s_openapi::api::core::v1::{Container, EnvVar};
use orrery_runtime::{Identity, labels};

use super::super::super::spread;
use super::super::super::validate::Validated;
use super::super::{API, RESP, config_map, frame};
use super::{SYSTEM, volumes};
use crate::parts::container::{self, HTTP, HTTP_PORT, Process};
use crate::parts::tls::TLS_FOLDER;
use crate::parts::volumes::{
    CONFIG_FOLDER, DATA_FOLDER, IDENTITY_FOLDER, LIVE_FOLDER, SECRETS_FOLDER,
};
use crate::parts::{certificate, journal};

pub(super) fn build(validated: &Validated, identity: &Identity) -> Container {
    let process = Process {
        arguments: arguments(validated, identity),
        ports: ports(validated, identity),
        variables: variables(validated),
        mounts: volumes::mounts(validated, identity),
    };
    container::build(&frame(validated, identity), process)
}

fn arguments(validated: &Validated, identity: &Identity) -> Vec<String> {
    let config = format!("{}/{}", CONFIG_FOLDER, config_map::FILE);
    let common_name = certificate::common_name(&frame(validated, identity));
    let tls = validated.spec.resp.tls.iter().flat_map(|_| ["--tls", TLS_FOLDER]);
    let shown = ["--identity", IDENTITY_FOLDER, "--identity-name", &common_name];
    let shown = identity.secured.then_some(shown).into_iter().flatten();
    let adopt = validated.spec.adopt_from.iter();
    let adopt = adopt.flat_map(|_| ["--adopt", volumes::ADOPT_FOLDER]);
    let adopt_tls = volumes::adopt_tls(validated);
    let name = adopt_tls.and_then(|tls| tls.server_name.as_deref());
    let adopt = adopt
        .chain(adopt_tls.iter().flat_map(|_| ["--adopt-tls", volumes::ADOPT_TLS_FOLDER]))
        .chain(name.iter().flat_map(|name| ["--adopt-name", *name]));
    ["serve", SYSTEM, "--config", &config, "--data", DATA_FOLDER, "--secrets"]
        .into_iter()
        .chain([SECRETS_FOLDER, "--live", LIVE_FOLDER])
        .chain(tls)
        .chain(shown)
        .chain(adopt)
        .map(str::to_owned)
        .collect()
}

fn ports(validated: &Validated, identity: &Identity) -> Vec<(String, i32)> {
    let named = |(name, number): (&str, i32)| (name.to_owned(), number);
    let shards = spread::ports(&validated.spec);
    let (resp, replication): (Vec<_>, Vec<_>) =
        shards.into_iter().map(|ports| (ports.resp, ports.replication)).unzip();
    // That of a single shard is the one for all.
    let resp = if resp.len() == 1 { vec![] } else { resp };
    [
        (RESP, validated.spec.resp.port),
        (labels::MANAGEMENT_PORT_NAME, i32::from(labels::MANAGEMENT_PORT)),
        (HTTP, HTTP_PORT),
    ]
    .into_iter()
    .map(named)
    .chain(replication.into_iter().filter(|_| identity.secured))
    .chain(validated.spec.http.open_port().map(|port| named((API, port))))
    .chain(resp)
    .collect()
}

fn variables(validated: &Validated) -> Vec<EnvVar> {
    let stores = validated.stores.variables();
    stores.chain(journal::named(&validated.spec.journal)).collect()
}
