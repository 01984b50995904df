//! Services: for clients, and the one that gives each pod a name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_runtime::labels;

use super::Frame;
use super::container::{HTTP, HTTP_PORT};

/// A Service for clients.
pub(crate) fn clients(
    frame: &Frame<'_>,
    name: &str,
    pods: BTreeMap<String, String>,
    ports: Vec<ServicePort>,
) -> Service {
    Service {
        metadata: frame.metadata(name),
        spec: Some(ServiceSpec {
            selector: Some(pods),
            ports: Some(ports),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The Service that gives each pod a name, with these ports before those that every pod has.
pub(crate) fn headless(frame: &Frame<'_>, ports: Vec<ServicePort>) -> Service {
    let own = [
        port(labels::MANAGEMENT_PORT_NAME, i32::from(labels::MANAGEMENT_PORT)),
        port(HTTP, HTTP_PORT),
    ];
    Service {
        metadata: frame.metadata(&frame.headless()),
        spec: Some(ServiceSpec {
            selector: Some(frame.selector()),
            cluster_ip: Some("None".to_owned()),
            // The operator speaks to pods that are still recovering.
            publish_not_ready_addresses: Some(true),
            ports: Some(ports.into_iter().chain(own).collect()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A port of a Service that leads to the port of this name of the pods.
pub(crate) fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
