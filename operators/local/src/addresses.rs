//! Addresses of Services in a status, as this machine reaches them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_runtime::{Prepared, Resources};
use serde_json::Value as Json;

/// What stands for the address of a Service that no process is behind.
const NOWHERE: &str = "";

/// Replaces `<service>.<namespace>…:<port>` in every text of the status by the loopback address of
/// the first process behind that port. Without one the text is emptied: a name of a cluster means
/// nothing on this machine.
pub fn localise(
    status: &mut Json,
    resources: &Resources<Prepared>,
    ports: &[BTreeMap<String, u16>],
) {
    match status {
        Json::String(text) => {
            if let Some(address) = local(text, resources, ports) {
                *text = address;
            }
        }
        Json::Array(items) => {
            for item in items {
                localise(item, resources, ports);
            }
        }
        Json::Object(fields) => {
            for value in fields.values_mut() {
                localise(value, resources, ports);
            }
        }
        _ => {}
    }
}

fn local(
    text: &str,
    resources: &Resources<Prepared>,
    ports: &[BTreeMap<String, u16>],
) -> Option<String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let (host, port) = rest.rsplit_once(':')?;
    let (port, mut labels) = (port.parse::<i32>().ok()?, host.split('.'));
    let (service, namespace) = (labels.next()?, labels.next()?);
    let service = resources.services.iter().find(|candidate| {
        candidate.metadata.name.as_deref() == Some(service)
            && candidate.metadata.namespace.as_deref() == Some(namespace)
    })?;
    let known = service.spec.as_ref()?.ports.iter().flatten().find(|known| known.port == port)?;
    let name = match &known.target_port {
        Some(IntOrString::String(name)) => name.clone(),
        _ => known.name.clone()?,
    };
    let number = ports.iter().find_map(|ports| ports.get(&name));
    Some(number.map_or(NOWHERE.to_owned(), |number| format!("{scheme}127.0.0.1:{number}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_of_services_become_loopback_addresses_and_other_text_stays() {
        let service = json!({
            "metadata": {"name": "a-kv-rw", "namespace": "shop"},
            "spec": {"ports": [{"name": "resp", "port": 6379, "targetPort": "resp"}]},
        });
        let mut resources = Resources::default();
        resources.services = vec![serde_json::from_value(service).unwrap()];
        let mut status = json!({
            "endpoints": [
                {"name": "rw", "address": "a-kv-rw.shop.svc:6379"},
                {"name": "url", "address": "redis://a-kv-rw.shop.svc.cluster.local:6379"},
                {"name": "other", "address": "b-kv-rw.shop.svc:6379"}],
            "version": "0.1.0"});
        let ports = [BTreeMap::from([("resp".to_owned(), 7000)])];
        localise(&mut status, &resources, &ports);
        assert_eq!(status["endpoints"][0]["address"], "127.0.0.1:7000");
        assert_eq!(status["endpoints"][1]["address"], "redis://127.0.0.1:7000");
        assert_eq!(status["endpoints"][2]["address"], "b-kv-rw.shop.svc:6379");
        assert_eq!(status["version"], "0.1.0");
        let mut asleep = json!("a-kv-rw.shop.svc:6379");
        localise(&mut asleep, &resources, &[]);
        assert_eq!(asleep, "");
    }
}
