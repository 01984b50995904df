//! The environment a container gets, resolved as a kubelet does. Pure: what is looked up in the
//! API comes in as [`Sources`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod, ResourceFieldSelector};
use kube::ResourceExt;

/// What a container without a limit sees as one: a toy node's size.
const NODE_CPUS: f64 = 64.0;
const NODE_BYTES: f64 = (256_u64 << 30) as f64;

/// Variables that say where to listen; an unspecified address in them becomes the pod's, because
/// all pods share this machine.
const LISTEN: &str = "ORRERY_LISTEN_";

pub(super) type Variables = BTreeMap<String, String>;

/// Contents by name of ConfigMap or Secret, then by key.
pub(super) type Contents = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// What variables may refer to.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) config_maps: Contents,
    pub(super) secrets: Contents,
    pub(super) pod_address: String,
    pub(super) host_address: String,
}

/// The variables of `container`, in which later ones may use earlier ones as `$(NAME)`.
///
/// # Errors
/// What is missing, in words.
pub(super) fn resolve(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
) -> Result<Variables, String> {
    let mut variables = Variables::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (contents, name, optional) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(map), _) => (&sources.config_maps, &map.name, map.optional),
            (None, Some(secret)) => (&sources.secrets, &secret.name, secret.optional),
            (None, None) => continue,
        };
        match contents.get(name) {
            Some(content) => variables
                .extend(content.iter().map(|(key, value)| (format!("{prefix}{key}"), text(value)))),
            None if optional == Some(true) => {}
            None => return Err(format!("{name} not found")),
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (None, Some(source)) => from_source(pod, container, source, sources)?,
            (value, _) => Some(expand(value.as_deref().unwrap_or_default(), &variables)),
        };
        let Some(mut value) = value else { continue };
        if variable.name.starts_with(LISTEN) {
            value = at_address(&value, &sources.pod_address);
        }
        variables.insert(variable.name.clone(), value);
    }
    Ok(variables)
}

/// Replaces `$(NAME)` of known variables; `$$` stands for a dollar sign.
pub(super) fn expand(template: &str, variables: &Variables) -> String {
    let mut expanded = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            expanded.push('$');
            rest = escaped;
            continue;
        }
        let name = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        if let Some((value, behind)) =
            name.and_then(|(name, behind)| Some((variables.get(name)?, behind)))
        {
            expanded.push_str(value);
            rest = behind;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded + rest
}

/// A field of a pod as the downward API names it; nothing for a name it does not know.
pub(super) fn field(pod: &Pod, path: &str, sources: &Sources) -> Option<String> {
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match map {
            "metadata.labels" => pod.labels(),
            "metadata.annotations" => pod.annotations(),
            _ => return None,
        };
        return Some(map.get(key).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "metadata.labels" => Some(lines(pod.labels())),
        "metadata.annotations" => Some(lines(pod.annotations())),
        "spec.nodeName" => spec?.node_name.clone(),
        "spec.serviceAccountName" => spec?.service_account_name.clone(),
        "status.podIP" | "status.podIPs" => Some(sources.pod_address.clone()),
        "status.hostIP" | "status.hostIPs" => Some(sources.host_address.clone()),
        _ => None,
    }
}

fn lines(map: &BTreeMap<String, String>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    map.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources,
) -> Result<Option<String>, String> {
    if let Some(selector) = &source.field_ref {
        let path = &selector.field_path;
        return field(pod, path, sources).map(Some).ok_or(format!("no field {path}"));
    }
    if let Some(selector) = &source.resource_field_ref {
        return resource(container, selector).map(Some);
    }
    let (contents, name, key, optional) = match (&source.config_map_key_ref, &source.secret_key_ref)
    {
        (Some(map), _) => (&sources.config_maps, &map.name, &map.key, map.optional),
        (None, Some(secret)) => (&sources.secrets, &secret.name, &secret.key, secret.optional),
        (None, None) => return Err("a source of a kind toy nodes do not know".to_owned()),
    };
    match contents.get(name).and_then(|content| content.get(key)) {
        Some(value) => Ok(Some(text(value))),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("no key {key} in {name}")),
    }
}

/// A limit or request, in units of the divisor, rounded up.
fn resource(container: &Container, selector: &ResourceFieldSelector) -> Result<String, String> {
    let unknown = || format!("no resource {}", selector.resource);
    let (list, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.as_ref();
    let found = |list: &str| {
        let resources = resources?;
        let list = if list == "limits" { &resources.limits } else { &resources.requests };
        quantity(&list.as_ref()?.get(name)?.0)
    };
    let whole = match name {
        "cpu" => NODE_CPUS,
        "memory" | "ephemeral-storage" => NODE_BYTES,
        _ => return Err(unknown()),
    };
    let value = found(list).unwrap_or(if list == "limits" { whole } else { 0.0 });
    let divisor = selector.divisor.as_ref().and_then(|divisor| quantity(&divisor.0));
    let divisor = divisor.filter(|divisor| *divisor > 0.0).unwrap_or(1.0);
    Ok(format!("{:.0}", (value / divisor).ceil()))
}

/// A quantity as a number: `2Gi`, `500m`, `1e3` (Kubernetes API reference, "Quantity").
fn quantity(text: &str) -> Option<f64> {
    if let Ok(plain) = text.parse() {
        return Some(plain);
    }
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, suffix) = text.split_at(at);
    let unit = match suffix {
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => f64::from(1 << 20),
        "Gi" => f64::from(1 << 30),
        "Ti" => (1_u64 << 40) as f64,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * unit)
}

/// A listen address with the pod's own in place of "all addresses".
fn at_address(listen: &str, address: &str) -> String {
    let port = ["0.0.0.0:", "[::]:"].iter().find_map(|all| listen.strip_prefix(all));
    port.map_or_else(|| listen.to_owned(), |port| format!("{address}:{port}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object;
    use serde_json::{Value, json};

    fn resolved(env: Value) -> Result<Variables, String> {
        let pod: Pod = object(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "web-0", "namespace": "ns", "labels": { "app/x": "web" } },
        }));
        let mut container = json!({
            "name": "main",
            "resources": { "limits": { "memory": "2Gi", "cpu": "1500m" } },
        });
        container["env"] = env;
        let content = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.into())]);
        let sources = Sources {
            config_maps: [("map".to_owned(), content("key", "from-map"))].into(),
            secrets: [("secret".to_owned(), content("password", "s3cret"))].into(),
            pod_address: "127.130.1.1".to_owned(),
            host_address: "10.88.0.11".to_owned(),
        };
        resolve(&pod, &object(container), &sources)
    }

    #[test]
    fn variables_come_from_everywhere_and_build_on_each_other() {
        let variables = resolved(json!([
            { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "APP", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app/x']" } } },
            { "name": "MAP", "valueFrom": { "configMapKeyRef": { "name": "map", "key": "key" } } },
            { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "secret", "key": "password" } } },
            { "name": "URL", "value": "$(POD).$(APP)/$(UNKNOWN)/$$(POD)" },
            { "name": "MIB", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } } },
            { "name": "CPUS", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
        ]))
        .expect("all is there");
        for (name, value) in [
            ("POD", "web-0"),
            ("APP", "web"),
            ("MAP", "from-map"),
            ("PASSWORD", "s3cret"),
            ("URL", "web-0.web/$(UNKNOWN)/$(POD)"),
            ("MIB", "2048"),
            ("CPUS", "2"),
        ] {
            assert_eq!(variables[name], value, "{name}");
        }
    }

    #[test]
    fn a_missing_key_is_named_unless_it_may_miss() {
        let one = |optional: bool| {
            let key = json!({ "name": "map", "key": "none", "optional": optional });
            resolved(json!([{ "name": "X", "valueFrom": { "configMapKeyRef": key } }]))
        };
        assert_eq!(one(false), Err("no key none in map".to_owned()));
        assert_eq!(one(true), Ok(Variables::new()));
    }

    #[test]
    fn listening_everywhere_becomes_listening_at_the_pods_address() {
        let variables = resolved(json!([
            { "name": "ORRERY_LISTEN_RESP", "value": "0.0.0.0:6379" },
            { "name": "OTHER", "value": "0.0.0.0:6379" },
        ]))
        .expect("all is there");
        assert_eq!(variables["ORRERY_LISTEN_RESP"], "127.130.1.1:6379");
        assert_eq!(variables["OTHER"], "0.0.0.0:6379");
    }
}
