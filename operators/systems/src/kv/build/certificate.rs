//! The Secret with the certificate of the pods, given by the installation's authority: by it the
//! operator and the pods of the object know each other.

use orrery_runtime::{CertifiedSecret, Identity};

use super::super::names;
use super::super::validate::Validated;

/// Domain of a cluster unless its administrator chose another.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// None where the carrier gives no certificates.
pub(super) fn build(validated: &Validated, identity: &Identity) -> Option<CertifiedSecret> {
    let name = names::identity(&identity.name);
    identity.secured.then(|| CertifiedSecret {
        metadata: super::metadata(validated, identity, &name),
        names: host_names(identity),
    })
}

/// The name that the certificates of all pods of the object have in common.
pub(super) fn common_name(identity: &Identity) -> String {
    format!("{}.{}.svc", names::headless(&identity.name), identity.namespace)
}

/// Every name under which a pod of the object can be reached.
fn host_names(identity: &Identity) -> Vec<String> {
    let (object, namespace) = (&identity.name, &identity.namespace);
    let headless = names::headless(object);
    let mut all = vec![common_name(identity)];
    let services = [names::read_write(object), names::read_only(object), headless.clone()];
    let hosts = services.into_iter().chain([format!("*.{headless}")]);
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
    use orrery_runtime::Carrier;

    use super::*;

    #[test]
    fn the_common_name_comes_first_and_every_service_and_pod_is_named() {
        let object: KVCluster = serde_json::from_value(serde_json::json!({
            "apiVersion": "orrery.dev/v1alpha1", "kind": "KVCluster",
            "metadata": {"name": "cache", "namespace": "shop"}, "spec": {}
        }))
        .unwrap();
        let names = host_names(&Identity::of(&object, "i", "v", Carrier::Cluster));
        assert_eq!(names[0], "cache-kv-headless.shop.svc");
        for name in ["cache-kv-rw", "cache-kv-ro.shop", "*.cache-kv-headless.shop.svc", "localhost"]
        {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    }
}
