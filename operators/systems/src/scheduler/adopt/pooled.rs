//! A CronJob whose command runs in a pod of a pool.
//!
//! A pod of a pool is there already and is the same for everybody: what the template asks of its own pod is
//! refused by name, unless it is what pods of pools are anyway. Only what is known here may be asked: a
//! field that is not is refused as well.

mod words;

use orrery_api::scheduler::bounds::{ATTEMPTS_MAX, TIMEOUT_SECONDS_MAX, WORD_CHARS_MAX, WORDS_MAX};
use orrery_api::scheduler::{EnvVar, Pool, PooledPodAction, Retry};
use serde_json::{Map, Value, json};

use words::expanded;

/// Attempts beyond the first that a Job makes where nothing is said.
const BACKOFF_LIMIT_DEFAULT: i64 = 6;
/// Pauses between attempts as of a Job's pods, in seconds.
const BACKOFF_SECONDS: i64 = 10;
const LONGEST_BACKOFF_SECONDS: i64 = 600;

/// What a Schedule says in the place of a template.
#[derive(Debug, PartialEq)]
pub(super) struct Pooled {
    pub action: PooledPodAction,
    pub retry: Retry,
    pub timeout_seconds: Option<i64>,
}

/// What a run of a template comes to in a pod of this pool; a sentence where it cannot.
pub(super) fn pooled(template: &Value, pool: &Pool) -> Result<Pooled, String> {
    let mut top = Fields::of("jobTemplate", template)?;
    // Labels and annotations are for Jobs and pods of its own, and there are none.
    top.any("metadata");
    let job = top.fields("spec")?;
    top.nothing_else()?;
    let (limits, template) = limits(job)?;
    let mut template = Fields::of("jobTemplate.spec.template", &template)?;
    template.any("metadata");
    let pod = template.fields("spec")?;
    template.nothing_else()?;
    let (container, pod_seconds) = pod_of(pod, pool)?;
    let action = command(container, pool)?;
    let attempts = limits.backoff_limit + 1;
    let timeout_seconds = match limits.active_seconds {
        Some(seconds) if attempts == 1 => {
            Some(pod_seconds.map_or(seconds, |pod: i64| pod.min(seconds)))
        }
        Some(_) => {
            let why = "jobTemplate.spec.activeDeadlineSeconds holds for all attempts together, and a \
                       pool bounds each: set backoffLimit to 0, or the activeDeadlineSeconds of the pod";
            return Err(why.to_owned());
        }
        None => pod_seconds,
    };
    if let Some(seconds) = timeout_seconds.filter(|s| !(1..=TIMEOUT_SECONDS_MAX).contains(s)) {
        return Err(format!("activeDeadlineSeconds {seconds} is not 1 to {TIMEOUT_SECONDS_MAX}"));
    }
    let retry = Retry {
        max_attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
        backoff_seconds: BACKOFF_SECONDS,
        max_backoff_seconds: LONGEST_BACKOFF_SECONDS,
    };
    Ok(Pooled { action, retry, timeout_seconds })
}

/// Bounds of a Job that a Schedule has as well.
struct Limits {
    backoff_limit: i64,
    active_seconds: Option<i64>,
}

/// The bounds of a Job, and the template of its pods.
fn limits(mut job: Fields) -> Result<(Limits, Value), String> {
    for one in ["parallelism", "completions"] {
        job.only(one, &json!(1))?;
    }
    job.only("completionMode", &json!("NonIndexed"))?;
    for no in ["suspend", "manualSelector"] {
        job.only(no, &json!(false))?;
    }
    // There is no Job to be removed.
    job.any("ttlSecondsAfterFinished");
    let backoff_limit = job.number("backoffLimit")?.unwrap_or(BACKOFF_LIMIT_DEFAULT);
    if !(0..ATTEMPTS_MAX.into()).contains(&backoff_limit) {
        return Err(format!("{} is not 0 to {}", job.path("backoffLimit"), ATTEMPTS_MAX - 1));
    }
    let active_seconds = job.number("activeDeadlineSeconds")?;
    let template = job.take("template").unwrap_or_else(|| json!({}));
    job.nothing_else()?;
    Ok((Limits { backoff_limit, active_seconds }, template))
}

/// The only container of a pod, and how long the pod may take.
fn pod_of(mut pod: Fields, pool: &Pool) -> Result<(Fields, Option<i64>), String> {
    // A container that fails is another attempt of the run, whoever would start it.
    pod.any("restartPolicy");
    // The image is the pool's, and so is what it is pulled with.
    pod.any("imagePullSecrets");
    for (usual, value) in [
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("enableServiceLinks", json!(false)),
        ("automountServiceAccountToken", json!(false)),
        ("hostNetwork", json!(false)),
        ("hostPID", json!(false)),
        ("hostIPC", json!(false)),
    ] {
        pod.only(usual, &value)?;
    }
    let account = pool.service_account_name.as_deref().unwrap_or("default");
    for name in ["serviceAccountName", "serviceAccount"] {
        pod.only(name, &json!(account))?;
    }
    let seconds = pod.number("activeDeadlineSeconds")?;
    let containers = pod.take("containers").unwrap_or_default();
    pod.nothing_else()?;
    let Some([one]) = containers.as_array().map(Vec::as_slice) else {
        let why = "a run in a pool is one command: the pod must have exactly one container";
        return Err(why.to_owned());
    };
    let one = Fields::of("the container's", one)?;
    Ok((one, seconds))
}

/// What a container runs.
fn command(mut container: Fields, pool: &Pool) -> Result<PooledPodAction, String> {
    for any in ["name", "imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"] {
        container.any(any);
    }
    for no in ["stdin", "stdinOnce", "tty"] {
        container.only(no, &json!(false))?;
    }
    let image = container.take("image").unwrap_or_default();
    if image.as_str() != Some(pool.image.as_str()) {
        let theirs = image.as_str().unwrap_or_default();
        return Err(format!(
            "its image is {theirs:?}, and that of pool {} {:?}",
            pool.name, pool.image
        ));
    }
    if let Some(asked) = container.take("resources").filter(|asked| !is_empty(asked)) {
        let pools = serde_json::to_value(&pool.resources).unwrap_or_default();
        if asked != pools {
            let why = "the container's resources are not those of pool";
            return Err(format!("{why} {}: leave them out", pool.name));
        }
    }
    let env = env(container.take("env").as_ref())?;
    let command = words(&container.path("command"), container.take("command"), &env)?;
    let args = words(&container.path("args"), container.take("args"), &env)?;
    container.nothing_else()?;
    if command.first().is_none_or(String::is_empty) {
        let why = "it has no command: a pool does not use the entry point of the image";
        return Err(why.to_owned());
    }
    Ok(PooledPodAction { pool: pool.name.clone(), command, args, env })
}

/// Variables with values of their own; later ones may name earlier ones.
fn env(written: Option<&Value>) -> Result<Vec<EnvVar>, String> {
    let mut known: Vec<EnvVar> = Vec::new();
    for item in written.and_then(Value::as_array).into_iter().flatten() {
        let mut fields = Fields::of("the container's env", item)?;
        let name = fields.take("name").unwrap_or_default();
        let name = name.as_str().unwrap_or_default().to_owned();
        let value = fields.take("value").unwrap_or_default();
        let value = expanded(value.as_str().unwrap_or_default(), &known);
        if fields.take("valueFrom").is_some() {
            return Err(format!(
                "variable {name} comes from elsewhere (valueFrom): a pool knows values alone"
            ));
        }
        fields.nothing_else()?;
        if name.starts_with("ORRERY_") {
            return Err(format!("variable {name} is the runner's"));
        }
        known.retain(|other| other.name != name);
        known.push(EnvVar { name, value });
    }
    if known.len() > WORDS_MAX {
        return Err(format!("it has more than {WORDS_MAX} variables"));
    }
    Ok(known)
}

fn words(path: &str, written: Option<Value>, env: &[EnvVar]) -> Result<Vec<String>, String> {
    let written = written.unwrap_or_default();
    let words = written.as_array().map(Vec::as_slice).unwrap_or_default();
    let words: Vec<String> =
        words.iter().map(|word| expanded(word.as_str().unwrap_or_default(), env)).collect();
    if words.len() > WORDS_MAX || words.iter().any(|word| word.chars().count() > WORD_CHARS_MAX) {
        return Err(format!(
            "{path} has more than {WORDS_MAX} words, or one of more than {WORD_CHARS_MAX} characters"
        ));
    }
    Ok(words)
}

/// Fields of a part of a template; what is left of them at the end is refused.
struct Fields {
    path: String,
    left: Map<String, Value>,
}

impl Fields {
    fn of(path: &str, value: &Value) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self { path: path.to_owned(), left: fields.clone() }),
            Value::Null => Ok(Self { path: path.to_owned(), left: Map::new() }),
            _ => Err(format!("{path} is no object")),
        }
    }

    fn path(&self, field: &str) -> String {
        let between = if self.path.ends_with("'s") { " " } else { "." };
        format!("{}{between}{field}", self.path)
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field).filter(|value| !value.is_null())
    }

    fn any(&mut self, field: &str) {
        self.left.remove(field);
    }

    fn fields(&mut self, field: &str) -> Result<Self, String> {
        let value = self.take(field).unwrap_or_default();
        Self::of(&self.path(field), &value)
    }

    fn number(&mut self, field: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.take(field) else { return Ok(None) };
        value.as_i64().map(Some).ok_or_else(|| format!("{} is no number", self.path(field)))
    }

    /// Takes a field that may have just this value.
    fn only(&mut self, field: &str, value: &Value) -> Result<(), String> {
        match self.take(field) {
            Some(other) if other != *value => {
                Err(format!("{} is {other}: in a pool it can be {value} alone", self.path(field)))
            }
            _ => Ok(()),
        }
    }

    fn nothing_else(&self) -> Result<(), String> {
        match self.left.iter().find(|(_, value)| !is_empty(value)) {
            Some((field, _)) => {
                Err(format!("{} is nothing that a pod of a pool has", self.path(field)))
            }
            None => Ok(()),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
