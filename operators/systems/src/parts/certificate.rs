//! The Secret with the certificate of the pods, given by the installation's authority: by it the
//! operator and the pods of the object know each other.

use orrery_runtime::CertifiedSecret;

use super::{Frame, names};

/// Domain of a cluster unless its administrator chose another.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// None where the carrier gives no certificates. `services` are those for clients.
pub(crate) fn build(frame: &Frame<'_>, services: &[String]) -> Option<CertifiedSecret> {
    let name = names::identity(&frame.identity.name, frame.system);
    frame.identity.secured.then(|| CertifiedSecret {
        metadata: frame.metadata(&name),
        names: host_names(frame, services),
    })
}

/// The name that the certificates of all pods of the object have in common.
pub(crate) fn common_name(frame: &Frame<'_>) -> String {
    format!("{}.{}.svc", frame.headless(), frame.identity.namespace)
}

/// Every name under which a pod of the object can be reached.
pub(crate) fn host_names(frame: &Frame<'_>, services: &[String]) -> Vec<String> {
    let namespace = &frame.identity.namespace;
    let headless = frame.headless();
    let mut all = vec![common_name(frame)];
    let hosts = services.iter().cloned().chain([headless.clone(), format!("*.{headless}")]);
    for host in hosts {
        let full = format!("{host}.{namespace}.svc");
        let short = [host.clone(), format!("{host}.{namespace}")];
        all.extend(short);
        all.extend([format!("{full}.{CLUSTER_DOMAIN}"), full]);
    }
    // Through a port that is forwarded.
    all.push("localhost".to_owned());
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    all
}

#[cfg(test)]
mod tests {
    use orrery_api::kv::KVCluster;
    use orrery_runtime::{Carrier, Identity};

    use super::*;

    #[test]
    fn the_common_name_comes_first_and_every_service_and_pod_is_named() {
        let object: KVCluster = serde_json::from_value(serde_json::json!({
            "apiVersion": "orrery.dev/v1alpha1", "kind": "KVCluster",
            "metadata": {"name": "cache", "namespace": "shop"}, "spec": {}
        }))
        .unwrap();
        let identity = Identity::of(&object, "i", "v", Carrier::Cluster);
        let frame = Frame { system: "kv", identity: &identity, engine: &object.spec.engine };
        let names = host_names(&frame, &["cache-kv-rw".to_owned(), "cache-kv-ro".to_owned()]);
        assert_eq!(names[0], "cache-kv-headless.shop.svc");
        for name in ["cache-kv-rw", "cache-kv-ro.shop", "*.cache-kv-headless.shop.svc", "localhost"]
        {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    }
}
