//! Three Services: for reading and writing, for reading, and one that gives each pod a name.
//!
//! With followers the first selects the one pod that is primary, by its name, so that moving the
//! primary is one write. Of several shards every pod has some, and sends clients on: it selects all.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_runtime::{Identity, labels};

use super::super::validate::Validated;
use super::super::{names, spread};
use super::{API, HTTP, HTTP_PORT, RESP, metadata, selector};

pub(super) fn build(validated: &Validated, identity: &Identity) -> Vec<Service> {
    let resp = || port(RESP, validated.spec.resp.port);
    let api = || validated.spec.http.open_port().map(|number| port(API, number));
    let mut writer = selector(identity);
    let first = || (validated.spec.followers > 0).then(|| names::pod(&identity.name, 0));
    let primary = identity.primaries.first().cloned().or_else(first);
    if let Some(primary) = primary.filter(|_| !spread::has_several(&validated.spec)) {
        writer.insert(labels::POD_NAME.to_owned(), primary);
    }
    let clients = |name: String, pods, ports: Vec<ServicePort>| Service {
        metadata: metadata(validated, identity, &name),
        spec: Some(ServiceSpec {
            selector: Some(pods),
            ports: Some(ports),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let own = [
        port(labels::MANAGEMENT_PORT_NAME, i32::from(labels::MANAGEMENT_PORT)),
        port(HTTP, HTTP_PORT),
    ];
    let headless = Service {
        metadata: metadata(validated, identity, &names::headless(&identity.name)),
        spec: Some(ServiceSpec {
            selector: Some(selector(identity)),
            cluster_ip: Some("None".to_owned()),
            // The operator speaks to pods that are still recovering.
            publish_not_ready_addresses: Some(true),
            ports: Some([resp()].into_iter().chain(api()).chain(own).collect()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    vec![
        // Changes are told by the primary alone.
        clients(
            names::read_write(&identity.name),
            writer,
            [resp()].into_iter().chain(api()).collect(),
        ),
        clients(names::read_only(&identity.name), selector(identity), vec![resp()]),
        headless,
    ]
}

fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
