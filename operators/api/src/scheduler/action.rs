//! What a run does: exactly one action.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bounds::{WORD_CHARS_MAX, WORDS_MAX};
use crate::cel::rules;

/// Longest body of a call, in characters.
pub const BODY_CHARS_MAX: usize = 256 << 10;

/// Finished Jobs that are kept of those that succeeded, as of a CronJob.
pub const SUCCESSFUL_JOBS_DEFAULT: i32 = 3;
/// Finished Jobs that are kept of those that failed, as of a CronJob.
pub const FAILED_JOBS_DEFAULT: i32 = 1;

/// What a run does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "[has(self.http), has(self.grpc), has(self.kubernetesJob), has(self.pooledPod), \
     has(self.taskQueue), has(self.workflow)].filter(x, x).size() == 1",
    "action needs exactly one of http, grpc, kubernetesJob, pooledPod, taskQueue and workflow",
)])))]
pub struct Action {
    /// Calls a service by HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAction>,
    /// Calls a method by gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAction>,
    /// Makes a Kubernetes Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes_job: Option<KubernetesJobAction>,
    /// Runs a command in a pod that is warm already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooled_pod: Option<PooledPodAction>,
    /// Puts a task into a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_queue: Option<TaskQueueAction>,
    /// Starts a workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowAction>,
}

/// A call by HTTP. Each carries `Idempotency-Key`, the same for all attempts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.target) != has(self.url)", "http needs exactly one of target and url"),
    ("!has(self.path) || has(self.target)", "path is only for a target: a url has its own"),
])))]
pub struct HttpAction {
    /// Name of a target of the Scheduler, whose limits and credentials hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub target: Option<String>,
    /// Address to call, `http://` or `https://`, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s@/]+(/\S*)?$"))]
    pub url: Option<String>,
    /// POST, GET, PUT, PATCH or DELETE.
    pub method: HttpMethod,
    /// Path and query at the target. Left out: the path of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^/\S*$"))]
    pub path: Option<String>,
    /// Headers of the call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub headers: Vec<Header>,
    /// Body of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = BODY_CHARS_MAX))]
    pub body: Option<String>,
    /// Type of the body. Left out: `application/json` for a body that begins as JSON, else
    /// `text/plain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[!-~ ]+$"))]
    pub content_type: Option<String>,
    /// Path at the same host that says how a run is, `{key}` standing for its idempotency key: asked
    /// after an answer 202, and before a call is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^/\S*$"))]
    pub status_path: Option<String>,
    /// Codes of answers that mean success. Left out: 200 to 299.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "success_codes")]
    pub success_codes: Vec<i32>,
}

fn success_codes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {
            "type": "integer",
            "description": "One code.",
            "format": "int32",
            "minimum": 100,
            "maximum": 599,
        },
    })
}

/// Methods of HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(inline)]
pub enum HttpMethod {
    /// Starts something.
    #[default]
    Post,
    /// Reads something.
    Get,
    /// Replaces something.
    Put,
    /// Changes something.
    Patch,
    /// Removes something.
    Delete,
}

impl HttpMethod {
    /// The word as it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One header of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Name of the header.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096), regex(pattern = r"^[ -~]*$"))]
    pub value: String,
}

/// A call of a unary method by gRPC. Each carries `idempotency-key`, the same for all attempts of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAction {
    /// Name of a target of the Scheduler.
    #[schemars(length(min = 1, max = 63))]
    pub target: String,
    /// Method, as `package.Service/Method`.
    #[schemars(length(min = 3, max = 512), regex(pattern = r"^[A-Za-z0-9_.]+/[A-Za-z0-9_]+$"))]
    pub method: String,
    /// The message as JSON, by the mapping of Protocol Buffers. What its fields are, the target says by
    /// server reflection. Left out: a message without fields, which needs no reflection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = BODY_CHARS_MAX))]
    pub body: Option<String>,
}

impl GrpcAction {
    /// The service with its package, and the method; a sentence where the text is no method.
    pub fn parts(&self) -> Result<(&str, &str), String> {
        let is_name = |text: &str| {
            text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        self.method
            .split_once('/')
            .filter(|(service, method)| service.split('.').all(is_name) && is_name(method))
            .ok_or_else(|| format!("{:?} is no method: write package.Service/Method", self.method))
    }

    /// Says where the body is no JSON. Whether it fits the method, the target alone knows.
    pub fn check_body(&self) -> Result<(), String> {
        let body = self.body.as_deref().map(str::trim).filter(|body| !body.is_empty());
        let Some(body) = body else { return Ok(()) };
        serde_json::from_str::<serde::de::IgnoredAny>(body)
            .map(drop)
            .map_err(|error| format!("the body is no JSON: {error}"))
    }
}

/// A Kubernetes Job for each run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesJobAction {
    /// What the Job is made from, as in a CronJob.
    #[schemars(schema_with = "any_object")]
    pub job_template: Value,
    /// Finished Jobs that are kept of those that succeeded; the newest ones. A Schedule that was made
    /// from a CronJob leaves this to the CronJob.
    #[serde(default = "successful_jobs")]
    #[schemars(range(min = 0, max = 10_000))]
    pub successful_jobs_history_limit: i32,
    /// The same of those that failed.
    #[serde(default = "failed_jobs")]
    #[schemars(range(min = 0, max = 10_000))]
    pub failed_jobs_history_limit: i32,
}

fn successful_jobs() -> i32 {
    SUCCESSFUL_JOBS_DEFAULT
}

fn failed_jobs() -> i32 {
    FAILED_JOBS_DEFAULT
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A command in a pod that is warm already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PooledPodAction {
    /// Name of a pool of the Scheduler, which says in which image the command runs.
    #[schemars(length(min = 1, max = 63))]
    pub pool: String,
    /// The program and what it begins with. The entry point of the image is not used.
    #[schemars(schema_with = "some_words")]
    pub command: Vec<String>,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "words")]
    pub args: Vec<String>,
    /// Variables beside those of the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = WORDS_MAX), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub env: Vec<EnvVar>,
}

fn some_words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": WORDS_MAX,
        "items": { "type": "string", "description": "One word.", "maxLength": WORD_CHARS_MAX },
    })
}

fn words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": WORDS_MAX,
        "items": { "type": "string", "description": "One word.", "maxLength": WORD_CHARS_MAX },
    })
}

/// One variable of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._A-Za-z][-._A-Za-z0-9]*$"))]
    pub name: String,
    /// Its value.
    #[serde(default)]
    #[schemars(length(max = 32_768))]
    pub value: String,
}

/// A task in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskQueueAction {
    /// Name of the queue.
    #[schemars(length(min = 1, max = 253))]
    pub queue: String,
    /// Type of the task.
    #[schemars(length(min = 1, max = 253))]
    pub jobtype: String,
    /// Its arguments, of any type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub args: Vec<Value>,
}

/// A workflow that is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowAction {
    /// Type of the workflow.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 253))]
    pub type_: String,
    /// Queue whose workers carry it out. Left out: the one of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub queue: Option<String>,
    /// Its arguments, of any type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_list")]
    pub args: Vec<Value>,
}

fn any_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {
            "description": "One argument, of any type.",
            "x-kubernetes-preserve-unknown-fields": true,
        },
    })
}
