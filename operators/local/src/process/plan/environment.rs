//! The environment of a container, with what Kubernetes would fill in filled in.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource};

use super::{PlanError, Pod, cannot};

impl Pod<'_> {
    /// All variables, in their order, so that later ones may use earlier ones.
    pub(super) fn environment(
        &self,
        container: &Container,
    ) -> Result<BTreeMap<String, String>, PlanError> {
        if let Some(source) = container.env_from.iter().flatten().next() {
            return Err(cannot(format!("envFrom {:?}", source.prefix)));
        }
        let mut environment = BTreeMap::new();
        for variable in container.env.iter().flatten() {
            let value = match (&variable.value, &variable.value_from) {
                (Some(value), _) => Some(expand(value, &environment)),
                (None, Some(source)) => self.value_from(&variable.name, source)?,
                (None, None) => Some(String::new()),
            };
            if let Some(value) = value {
                environment.insert(variable.name.clone(), value);
            }
        }
        Ok(environment)
    }

    fn value_from(&self, name: &str, source: &EnvVarSource) -> Result<Option<String>, PlanError> {
        if let Some(field) = &source.field_ref {
            let value = self.field(&field.field_path);
            return value
                .map(Some)
                .ok_or_else(|| cannot(format!("the field {}", field.field_path)));
        }
        let (value, optional) = if let Some(key) = &source.config_map_key_ref {
            let value = self.config_map(&key.name).and_then(|mut map| map.remove(&key.key));
            (value, key.optional == Some(true))
        } else if let Some(key) = &source.secret_key_ref {
            let secret = self.found.secrets.get(&key.name);
            let value = secret.and_then(|secret| secret.expose().get(&key.key).cloned());
            (value, key.optional == Some(true) || self.generated(&key.name).is_some())
        } else {
            return Err(cannot(format!("the source of variable {name}")));
        };
        match value.map(String::from_utf8) {
            Some(Ok(text)) => Ok(Some(text)),
            None if optional => Ok(None),
            _ => Err(cannot(format!("the missing value of variable {name}"))),
        }
    }

    /// A field of the pod, as the downward API gives it.
    fn field(&self, path: &str) -> Option<String> {
        let metadata = self.template.metadata.as_ref();
        let of = |map: Option<&BTreeMap<String, String>>, key: &str| {
            Some(map.and_then(|map| map.get(key)).cloned().unwrap_or_default())
        };
        if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
            return match map {
                "metadata.labels" => of(metadata.and_then(|m| m.labels.as_ref()), key),
                "metadata.annotations" => of(metadata.and_then(|m| m.annotations.as_ref()), key),
                _ => None,
            };
        }
        match path {
            "metadata.name" => Some(self.name.clone()),
            "metadata.namespace" => Some(self.namespace.to_owned()),
            "status.podIP" | "status.hostIP" => Some("127.0.0.1".to_owned()),
            "spec.nodeName" => Some("localhost".to_owned()),
            _ => None,
        }
    }
}

/// Replaces `$(NAME)` by the variable, if there is one; `$$(NAME)` stands for itself.
pub(super) fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        done.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(escaped) = behind.strip_prefix('$') {
            done.push('$');
            rest = escaped;
            continue;
        }
        let name = behind.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        if let Some((value, after)) =
            name.and_then(|(name, after)| Some((environment.get(name)?, after)))
        {
            done.push_str(value);
            rest = after;
        } else {
            done.push('$');
            rest = behind;
        }
    }
    done + rest
}
