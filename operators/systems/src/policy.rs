//! The restricted pod security standard, as far as a pod template can break it.
//!
//! Source: Kubernetes documentation, "Pod Security Standards", profile Restricted. Everything we
//! build keeps it; a `podTemplate` that breaks it is refused instead of failing at admission.

use k8s_openapi::api::core::v1::{Container, PodSpec, SecurityContext, Volume};

/// What breaks the profile, in sentences without a full stop; empty when nothing does.
pub fn violations(spec: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    for (name, set) in
        [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)]
    {
        if set == Some(true) {
            found.push(format!("{name} is not allowed"));
        }
    }
    found.extend(spec.volumes.iter().flatten().filter_map(volume));
    let pod = Inherited::of(spec);
    let every = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    for container in every {
        found.extend(container_violations(container, pod));
    }
    found
}

/// What containers inherit from the pod.
#[derive(Clone, Copy)]
struct Inherited<'a> {
    non_root: Option<bool>,
    user: Option<i64>,
    seccomp: Option<&'a str>,
}

impl<'a> Inherited<'a> {
    fn of(spec: &'a PodSpec) -> Self {
        let context = spec.security_context.as_ref();
        Self {
            non_root: context.and_then(|c| c.run_as_non_root),
            user: context.and_then(|c| c.run_as_user),
            seccomp: context.and_then(|c| Some(c.seccomp_profile.as_ref()?.type_.as_str())),
        }
    }
}

/// Volumes other than those of the profile's list.
fn volume(volume: &Volume) -> Option<String> {
    let allowed = volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some();
    (!allowed).then(|| format!("the kind of volume {} is not allowed", volume.name))
}

fn container_violations(container: &Container, pod: Inherited<'_>) -> Vec<String> {
    let empty = SecurityContext::default();
    let context = container.security_context.as_ref().unwrap_or(&empty);
    let mut found = Vec::new();
    let mut need = |kept: bool, what: &str| {
        if !kept {
            found.push(format!("container {}: {what}", container.name));
        }
    };
    need(context.privileged != Some(true), "privileged is not allowed");
    need(
        context.allow_privilege_escalation == Some(false),
        "allowPrivilegeEscalation must be false",
    );
    need(context.run_as_non_root.or(pod.non_root) == Some(true), "runAsNonRoot must be true");
    need(context.run_as_user.or(pod.user) != Some(0), "runAsUser must not be 0");
    let seccomp = context.seccomp_profile.as_ref().map(|p| p.type_.as_str()).or(pod.seccomp);
    need(
        matches!(seccomp, Some("RuntimeDefault" | "Localhost")),
        "seccompProfile must be RuntimeDefault or Localhost",
    );
    let capabilities = context.capabilities.as_ref();
    let drops_all = capabilities
        .and_then(|c| c.drop.as_ref())
        .is_some_and(|drop| drop.iter().any(|name| name == "ALL"));
    need(drops_all, "capabilities must drop ALL");
    let adds = capabilities.and_then(|c| c.add.as_ref()).into_iter().flatten();
    need(
        adds.into_iter().all(|name| name == "NET_BIND_SERVICE"),
        "no capability but NET_BIND_SERVICE may be added",
    );
    let host_ports = container.ports.iter().flatten().any(|p| p.host_port.unwrap_or(0) != 0);
    need(!host_ports, "hostPort is not allowed");
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "securityContext": {
                "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}
            },
            "containers": [{"name": "a", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}
            }}],
            "volumes": [{"name": "v", "emptyDir": {}}]
        })
    }

    fn check(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut pod = good();
        change(&mut pod);
        violations(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_restricted_pod_has_no_violations() {
        assert_eq!(check(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_held_by_itself() {
        let context = "/containers/0/securityContext";
        let cases: [(&str, Value, &str); 9] = [
            ("/hostNetwork", json!(true), "hostNetwork"),
            ("/hostPID", json!(true), "hostPID"),
            ("/volumes/0", json!({"name": "v", "hostPath": {"path": "/"}}), "kind of volume v"),
            (context, json!({"privileged": true}), "privileged"),
            (context, json!({"capabilities": {"drop": ["ALL"]}}), "allowPrivilegeEscalation"),
            ("/securityContext", json!({"runAsNonRoot": true}), "seccompProfile"),
            ("/securityContext/runAsNonRoot", json!(false), "runAsNonRoot"),
            ("/securityContext/runAsUser", json!(0), "runAsUser"),
            ("/containers/0/ports", json!([{"containerPort": 1, "hostPort": 1}]), "hostPort"),
        ];
        for (path, value, expected) in cases {
            let found = check(|pod| {
                let (parent, key) = path.rsplit_once('/').unwrap();
                let parent = pod.pointer_mut(parent).unwrap();
                match parent {
                    Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
                    other => other[key] = value,
                }
            });
            assert!(found.iter().any(|text| text.contains(expected)), "{path}: {found:?}");
        }
    }

    #[test]
    fn an_added_capability_is_a_violation() {
        let found = check(|pod| {
            pod["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["SYS_ADMIN"]);
        });
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
