//! The namespaces declared for this engine: how they arrive, how they are kept, what is refused.
//!
//! They come as the specs of KVNamespace objects, are journalled as one JSON set with its hash, and
//! become rules of the machine. A set replaces the one before; unknown fields are refused, because
//! a rule that is ignored is a rule that is broken.

use serde::{Deserialize, Serialize};

use crate::namespaces::{Class, Eviction, Match, NamespaceRules, NotYet};
use crate::server::settings::parse_memory;

/// A declared object as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Declared {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) spec: serde_json::Value,
}

/// The set that is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeclaredSet {
    pub(crate) set_hash: String,
    /// Shards that the object has, if several: quotas are for all of them together, and each has its
    /// part.
    #[serde(default, skip_serializing_if = "is_alone")]
    pub(crate) of_shards: u32,
    pub(crate) objects: Vec<Declared>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_alone(shards: &u32) -> bool {
    *shards <= 1
}

/// Why an object was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(rename = "match")]
    matches: SpecMatch,
    #[serde(default)]
    class: Class,
    #[serde(default)]
    ttl: Option<SpecTtl>,
    #[serde(default)]
    quota: Option<SpecQuota>,
    #[serde(default)]
    eviction: Option<SpecEviction>,
    /// Whose engine it belongs to: the operator's business.
    #[serde(default, rename = "clusterRef")]
    _cluster_ref: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpecMatch {
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    database: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpecTtl {
    #[serde(default)]
    default_seconds: Option<i64>,
    #[serde(default)]
    max_seconds: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpecQuota {
    #[serde(default)]
    memory: Option<serde_json::Value>,
    #[serde(default)]
    ops_per_second: Option<u64>,
    #[serde(default)]
    max_value_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SpecEviction {
    #[serde(default)]
    policy: Option<String>,
}

impl DeclaredSet {
    /// Rules of every object, in the order of the set; an object that makes no sense gives its
    /// refusal instead and has no effect.
    pub(crate) fn rules(&self, databases: u16) -> Vec<Result<NamespaceRules, Refused>> {
        let mut seen: Vec<(Match, String)> = vec![];
        let mut all = vec![];
        for object in &self.objects {
            let rules = rules_of(object, databases).and_then(|rules| {
                let rules = self.part_of(rules);
                match seen.iter().find(|(matches, _)| *matches == rules.matches) {
                    Some((_, other)) => Err(Refused {
                        reason: "Conflict",
                        message: format!("{other} already holds the same match"),
                    }),
                    None => Ok(rules),
                }
            });
            if let Ok(rules) = &rules {
                seen.push((rules.matches.clone(), format!("{}/{}", object.namespace, object.name)));
            }
            all.push(rules);
        }
        all
    }

    /// What a shard has of quotas, rounded up.
    fn part_of(&self, rules: NamespaceRules) -> NamespaceRules {
        let shards = u64::from(self.of_shards.max(1));
        let part = |whole: Option<u64>| whole.map(|whole| whole.div_ceil(shards));
        NamespaceRules {
            memory_bytes_max: part(rules.memory_bytes_max),
            ops_per_second: part(rules.ops_per_second),
            ..rules
        }
    }

    /// The rules that are in force.
    pub(crate) fn accepted(&self, databases: u16) -> Vec<NamespaceRules> {
        self.rules(databases).into_iter().flatten().collect()
    }
}

fn rules_of(object: &Declared, databases: u16) -> Result<NamespaceRules, Refused> {
    let invalid = |message: String| Refused { reason: "InvalidSpec", message };
    let spec: Spec = serde_json::from_value(object.spec.clone())
        .map_err(|error| invalid(format!("failed to understand the spec: {error}")))?;
    let matches = match (spec.matches.prefix, spec.matches.database) {
        (Some(prefix), None) => Match::Prefix(prefix.into_bytes()),
        (None, Some(database)) if database < databases => Match::Database(database),
        (None, Some(database)) => {
            return Err(invalid(format!(
                "database {database} does not exist: there are {databases}"
            )));
        }
        _ => return Err(invalid("exactly one of prefix and database must be set".into())),
    };
    let class = NotYet::check(spec.class)
        .map_err(|not_yet| Refused { reason: "NotYetSupported", message: not_yet.to_string() })?;
    let mut rules = NamespaceRules::unlimited(&object.name, matches, class);
    if let Some(ttl) = spec.ttl {
        rules.ttl_default_ms = milliseconds(ttl.default_seconds)?;
        rules.ttl_max_ms = milliseconds(ttl.max_seconds)?;
    }
    if class == Class::Session && rules.ttl_default_ms.or(rules.ttl_max_ms).is_none() {
        return Err(invalid("class Session needs ttl.defaultSeconds or ttl.maxSeconds".into()));
    }
    if let Some(quota) = spec.quota {
        rules.memory_bytes_max = quota.memory.as_ref().map(bytes_of).transpose()?;
        rules.value_bytes_max = quota.max_value_bytes.map(|bytes| bytes as usize);
        rules.ops_per_second = quota.ops_per_second;
    }
    match spec.eviction.and_then(|eviction| eviction.policy).as_deref() {
        None => {}
        Some(_) if class != Class::Cache => {
            return Err(invalid("only class Cache may evict".into()));
        }
        Some("S3Fifo") => rules.eviction = Eviction::S3Fifo,
        Some("None") => rules.eviction = Eviction::None,
        Some(other) => return Err(invalid(format!("unknown eviction policy {other}"))),
    }
    Ok(rules)
}

fn milliseconds(seconds: Option<i64>) -> Result<Option<i64>, Refused> {
    match seconds {
        None => Ok(None),
        Some(seconds) if seconds > 0 => Ok(Some(seconds.saturating_mul(1000))),
        Some(_) => Err(Refused {
            reason: "InvalidSpec",
            message: "a time to live must be above 0 seconds".into(),
        }),
    }
}

/// A byte count: a number, or a Kubernetes quantity such as `512Mi`.
fn bytes_of(quantity: &serde_json::Value) -> Result<u64, Refused> {
    let parsed = match quantity {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => match text.strip_suffix('i') {
            Some(binary) => parse_memory(&format!("{binary}b")),
            None => parse_memory(text),
        },
        _ => None,
    };
    parsed.filter(|bytes| *bytes > 0).ok_or_else(|| Refused {
        reason: "InvalidSpec",
        message: format!("{quantity} is no amount of memory"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(specs: &[serde_json::Value]) -> DeclaredSet {
        let object = |(index, spec): (usize, &serde_json::Value)| Declared {
            namespace: "default".into(),
            name: format!("n{index}"),
            generation: 1,
            spec: spec.clone(),
        };
        DeclaredSet {
            of_shards: 0,
            set_hash: String::new(),
            objects: specs.iter().enumerate().map(object).collect(),
        }
    }

    fn refusal(spec: serde_json::Value) -> String {
        let rules = set(&[spec]).rules(16).remove(0);
        rules.expect_err("it makes no sense").message
    }

    #[test]
    fn a_spec_becomes_rules() {
        let rules = set(&[json!({
            "match": {"prefix": "sess:"}, "class": "Session",
            "ttl": {"defaultSeconds": 60, "maxSeconds": 3600},
            "quota": {"memory": "512Mi", "opsPerSecond": 5, "maxValueBytes": 1024},
        })])
        .accepted(16)
        .remove(0);
        assert_eq!(rules.matches, Match::Prefix(b"sess:".to_vec()));
        assert_eq!(rules.class, Class::Session);
        assert_eq!(rules.ttl_default_ms, Some(60_000));
        assert_eq!(rules.memory_bytes_max, Some(512 << 20));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        assert!(refusal(json!({"match": {}})).contains("exactly one"));
        assert!(refusal(json!({"match": {"database": 16}})).contains("does not exist"));
        assert!(refusal(json!({"match": {"prefix": "a"}, "class": "Flag"})).contains("Flag"));
        assert!(refusal(json!({"match": {"prefix": "a"}, "class": "Disk"})).contains("Disk"));
        assert!(refusal(json!({"match": {"prefix": "a"}, "nosuch": 1})).contains("nosuch"));
        assert!(refusal(json!({"match": {"prefix": "a"}, "class": "Session"})).contains("ttl"));
        let quota = json!({"match": {"prefix": "a"}, "quota": {"memory": "lots"}});
        assert!(refusal(quota).contains("amount of memory"));
    }

    #[test]
    fn the_second_of_two_equal_matches_is_refused() {
        let one = json!({"match": {"prefix": "a"}});
        let rules = set(&[one.clone(), one]).rules(16);
        assert!(rules[0].is_ok());
        assert_eq!(rules[1].as_ref().expect_err("taken").reason, "Conflict");
    }
}
