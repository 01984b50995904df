//! Three Services: for reading and writing, for reading, and one that gives each pod a name.
//!
//! With followers the first selects the one pod that is primary, by its name, so that moving the
//! primary is one write. Of several shards every pod has some, and sends clients on: it selects all.

use k8s_openapi::api::core::v1::Service;
use orrery_runtime::{Identity, labels};

use super::super::validate::Validated;
use super::super::{names, spread};
use super::{API, RESP, frame};
use crate::parts::services::{clients, headless, port};

pub(super) fn build(validated: &Validated, identity: &Identity) -> Vec<Service> {
    let frame = frame(validated, identity);
    let resp = || port(RESP, validated.spec.resp.port);
    let api = || validated.spec.http.open_port().map(|number| port(API, number));
    let mut writer = frame.selector();
    let first = || (validated.spec.followers > 0).then(|| names::pod(&identity.name, 0));
    let primary = identity.primaries.first().cloned().or_else(first);
    if let Some(primary) = primary.filter(|_| !spread::has_several(&validated.spec)) {
        writer.insert(labels::POD_NAME.to_owned(), primary);
    }
    // Changes are told by the primary alone.
    let (rw, ro) = (names::read_write(&identity.name), names::read_only(&identity.name));
    vec![
        clients(&frame, &rw, writer, [resp()].into_iter().chain(api()).collect()),
        clients(&frame, &ro, frame.selector(), vec![resp()]),
        headless(&frame, [resp()].into_iter().chain(api()).collect()),
    ]
}
