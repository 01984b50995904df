//! From what a job says to what is sent: targets looked up, addresses put together.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use orrery_api::scheduler::config::{TARGET_AUTH, TARGET_CA, TARGET_SIGNING};
use orrery_api::scheduler::{self as api, PoolFile, TargetFile, TargetTls};

use orrery_operand::v1::{self, Errand};

use super::pools::Pools;
use crate::archive::Inherited;
use crate::dispatch::{
    Action, Auth, GrpcAction, HttpAction, SigningKey, SuccessCodes, Target, TargetName,
};
use crate::machine::definition::TENANT_DEFAULT;
use crate::machine::{Cause, Job, Notice, Run, notice};
use crate::run::{Call, Outcome, RunId};

/// The kind of declared objects that errands are for.
const DECLARED_KIND: &str = "Schedule";
/// Name under which the certificate of an authority lies in its folder.
const CA_FILE: &str = "ca.crt";

/// Why a target of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("target {name} has no usable address: {reason}")]
    Address { name: String, reason: String },
    #[error("target {name} has Secrets, and no folder of them was given")]
    NoFolder { name: String },
    #[error("failed to read the authority of target {name}: {source}")]
    Authority { name: String, source: std::io::Error },
}

/// What all runs of a definition have in common.
#[derive(Debug)]
pub(crate) struct Template {
    action: Arc<Action>,
    /// Type of bodies, where the spec says one.
    content_type: Option<String>,
    /// Path that has the key of a run in it.
    status_path: Option<String>,
}

/// Knows every target, and makes calls of runs.
#[derive(Debug)]
pub struct Resolver {
    /// What names the engine in keys of runs, as no other does. Where journals are carried elsewhere it
    /// stands there, and is known once they are owned.
    engine: OnceLock<String>,
    /// What named it in keys of runs before it was recovered, the oldest first.
    before: OnceLock<Vec<Inherited>>,
    /// Where its declared objects are.
    namespace: String,
    targets: HashMap<String, TargetFile>,
    pub(super) pools: Pools,
    /// Who is told of overdue runs.
    overdue: Option<api::Overdue>,
    /// Everything goes into a sink instead; see [`Self::into_sink`].
    is_sink: bool,
}

impl Resolver {
    pub fn new(engine: &str, targets: &[TargetFile]) -> Self {
        let resolver = Self::unnamed(targets);
        resolver.name(engine);
        resolver
    }

    /// One that learns later what the engine is called.
    pub fn unnamed(targets: &[TargetFile]) -> Self {
        let named = targets.iter().map(|target| (target.name.clone(), target.clone()));
        let mut known = HashMap::with_capacity(targets.len());
        known.extend(named);
        Self {
            engine: OnceLock::new(),
            before: OnceLock::new(),
            namespace: String::new(),
            targets: known,
            pools: Pools::default(),
            overdue: None,
            is_sink: false,
        }
    }

    /// The same, with the namespace of the declared objects.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    /// The same, with pools of pods.
    #[must_use]
    pub fn with_pools(self, pools: &[PoolFile]) -> Self {
        Self { pools: Pools::new(pools), ..self }
    }

    /// The same, that tells somebody of overdue runs.
    #[must_use]
    pub fn telling(self, overdue: Option<api::Overdue>) -> Self {
        Self { overdue, ..self }
    }

    /// What tells somebody that a run is overdue; a sentence where there is nobody.
    pub fn notice(&self, run: RunId, notice: &Notice, attempt: u32) -> Result<Call, String> {
        let overdue = self.overdue.as_ref().ok_or("the configuration names nobody")?;
        let key = self.key(run);
        let moment = |ms: i64| {
            let moment =
                jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            moment.to_string()
        };
        let body = serde_json::json!({
            "type": "schedule.overdue",
            "schedule": notice.job.as_str(),
            "namespace": self.namespace,
            "nominal": moment(notice.nominal.saturating_mul(1000)),
            "started": moment(notice.launched_ms),
            "runKey": key,
            "finishWithinSeconds": notice.finish_within_seconds,
        });
        let http = api::HttpAction {
            target: Some(overdue.target.clone()),
            path: overdue.path.clone(),
            body: Some(body.to_string()),
            ..api::HttpAction::default()
        };
        let action = api::Action { http: Some(http), ..api::Action::default() };
        let spec = api::ScheduleSpec::new(api::When::default(), action);
        Ok(Call {
            run: RunId { number: notice::number_of(run.number), ..run },
            attempt,
            key: format!("{key}.overdue").into(),
            job: (*notice.job).into(),
            tenant: TENANT_DEFAULT.into(),
            // Behind every run.
            priority: 0,
            nominal: notice.nominal,
            planned_ms: notice.since_ms,
            expires_ms: None,
            is_resumed: false,
            action: Arc::new(self.build(&spec, None, None)?),
        })
    }

    /// Says what the engine is called, once and for good.
    pub fn name(&self, engine: &str) {
        let known = self.engine.get_or_init(|| engine.to_owned());
        debug_assert!(known == engine, "an engine has one name");
    }

    /// Says what it was called in keys of runs before it was recovered, once and before the first.
    pub(crate) fn inherit(&self, before: Vec<Inherited>) {
        // Asked for again, it is the same.
        self.before.get_or_init(|| before);
    }

    /// The same, with every run swallowed within the process: what is measured then is the engine.
    #[must_use]
    pub fn into_sink(self) -> Self {
        Self { is_sink: true, ..self }
    }

    /// Whether actions may name this target.
    pub fn has(&self, target: &str) -> bool {
        self.targets.contains_key(target)
    }

    /// Names of all targets, for those who asked for one that is not there.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.targets.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The key of a run, which its target sees.
    pub fn key(&self, run: RunId) -> String {
        let mut before = self.before.get().into_iter().flatten();
        let before = before.find(|before| before.has(run.partition, run.number));
        let name = before.map(|before| before.name.as_str());
        run.key(name.unwrap_or_else(|| self.engine.get().map_or("", String::as_str)))
    }

    /// What is handed over for an attempt of a run; an outcome where nothing can be sent.
    pub fn call(
        &self,
        id: RunId,
        run: &Run,
        job: Option<&Job>,
        is_resumed: bool,
    ) -> Result<Call, Outcome> {
        let Some(job) = job else {
            // It was removed, and with it what was to be sent.
            return Err(Outcome::Cancelled);
        };
        let key: Arc<str> = self.key(id).into();
        let policies = &job.definition.policies;
        let expires_ms = policies
            .deadline_seconds
            .filter(|_| run.attempt == 1 && run.cause.is_of_job())
            .map(|seconds| run.planned_ms.saturating_add(seconds.saturating_mul(1000)));
        let action = match &job.definition.outside {
            Some(uid) if !self.is_sink => {
                let errand = Errand {
                    key: key.to_string(),
                    attempt: run.attempt,
                    kind: DECLARED_KIND.to_owned(),
                    namespace: self.namespace.clone(),
                    name: job.name.to_string(),
                    uid: uid.to_string(),
                    nominal_seconds: run.nominal,
                    cause: cause(run.cause).into(),
                    number: id.number,
                    expires_milliseconds: expires_ms.unwrap_or(0),
                    started: run.started,
                    cancel: false,
                };
                Arc::new(Action::Errand(errand))
            }
            _ => self.action(job, &key).map_err(|note| Outcome::Refused { note })?,
        };
        Ok(Call {
            run: id,
            attempt: run.attempt,
            key,
            job: (*job.name).into(),
            tenant: Arc::clone(&policies.tenant),
            priority: policies.priority,
            nominal: run.nominal,
            planned_ms: run.planned_ms,
            expires_ms,
            is_resumed,
            action,
        })
    }

    /// Shared by all jobs of a definition, unless something of the job or the run is in it.
    fn action(&self, job: &Job, key: &str) -> Result<Arc<Action>, String> {
        let template = job.definition.action.get_or_init(|| {
            let declared = job.definition.declared().map_err(|error| error.to_string())?;
            self.template(&declared.spec)
        });
        let Template { action, content_type, status_path } =
            template.as_ref().map_err(Clone::clone)?;
        if let (Action::Grpc(shared), Some(body)) = (&**action, job.payload()) {
            let body = Bytes::copy_from_slice(body);
            return Ok(Arc::new(Action::Grpc(GrpcAction { body, ..shared.clone() })));
        }
        let Action::Http(shared) = &**action else { return Ok(Arc::clone(action)) };
        if job.payload().is_none() && status_path.is_none() {
            return Ok(Arc::clone(action));
        }
        let mut http = shared.clone();
        if let Some(path) = status_path {
            http.status_uri = Some(status_uri(&http.uri, path, key)?);
        }
        if let Some(body) = job.payload() {
            http.body = Bytes::copy_from_slice(body);
            say_type(&mut http.headers, &http.body, content_type.as_deref())?;
        }
        Ok(Arc::new(Action::Http(http)))
    }

    /// What is the same for all runs of a spec without its body.
    fn template(&self, spec: &api::ScheduleSpec) -> Result<Template, String> {
        let http = spec.action.http.as_ref();
        Ok(Template {
            action: Arc::new(self.build(spec, None, None)?),
            content_type: http.and_then(|http| http.content_type.clone()),
            status_path: http.and_then(|http| http.status_path.clone()),
        })
    }

    /// What a spec comes to, or a sentence why it cannot be sent.
    pub fn build(
        &self,
        spec: &api::ScheduleSpec,
        body: Option<Bytes>,
        key: Option<&str>,
    ) -> Result<Action, String> {
        if self.is_sink {
            return Ok(Action::Sink);
        }
        if let Some(grpc) = &spec.action.grpc {
            return self.call_of(grpc, spec.timeout_seconds, body);
        }
        if let Some(pooled) = &spec.action.pooled_pod {
            return self.pools.build(pooled, spec.timeout_seconds).map(Action::Pooled);
        }
        let Some(http) = &spec.action.http else {
            return Err("the action is not carried out by this release".to_owned());
        };
        let (base, target, timeout) = match (&http.target, &http.url) {
            (Some(name), _) => {
                let target = self.targets.get(name).ok_or_else(|| self.unknown(name))?;
                let path = http.path.as_deref().or(target.path.as_deref()).unwrap_or("/");
                let text = format!("{}{path}", origin(target));
                (text, TargetName::named(name), target.timeout_seconds)
            }
            (None, Some(url)) => {
                let uri: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
                let target = TargetName::ad_hoc(&uri)
                    .ok_or_else(|| format!("{url} has no host, or is neither http nor https"))?;
                (url.clone(), target, api::target::TIMEOUT_SECONDS_DEFAULT)
            }
            (None, None) => return Err("the action names neither target nor url".to_owned()),
        };
        let uri: Uri = base.parse().map_err(|error| format!("{base} is no URL: {error}"))?;
        let status_uri = match (&http.status_path, key) {
            (None, _) => None,
            (Some(path), key) => Some(status_uri(&uri, path, key.unwrap_or("0"))?),
        };
        let mut headers = HeaderMap::new();
        for header in &http.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let name = name.map_err(|error| format!("header {:?}: {error}", header.name))?;
            let value = HeaderValue::from_str(&header.value);
            let value = value.map_err(|error| format!("value of header {name}: {error}"))?;
            headers.append(name, value);
        }
        let body = body.or_else(|| http.body.clone().map(Bytes::from)).unwrap_or_default();
        say_type(&mut headers, &body, http.content_type.as_deref())?;
        let codes = http.success_codes.iter().filter_map(|code| u16::try_from(*code).ok());
        let codes: Vec<_> = codes.map(|code| code..=code).collect();
        let success = if codes.is_empty() {
            SuccessCodes::default()
        } else {
            SuccessCodes::new(codes).map_err(|error| error.to_string())?
        };
        let seconds = spec.timeout_seconds.unwrap_or(timeout);
        Ok(Action::Http(HttpAction {
            target,
            method: Method::from_bytes(http.method.as_str().as_bytes())
                .map_err(|error| error.to_string())?,
            uri,
            headers,
            body,
            status_uri,
            success,
            timeout: timeout_of(seconds),
        }))
    }

    /// What a call by gRPC comes to.
    fn call_of(
        &self,
        grpc: &api::GrpcAction,
        timeout_seconds: Option<i64>,
        body: Option<Bytes>,
    ) -> Result<Action, String> {
        let target = self.targets.get(&grpc.target).ok_or_else(|| self.unknown(&grpc.target))?;
        let (service, method) = grpc.parts()?;
        grpc.check_body()?;
        let text = format!("{}/{service}/{method}", origin(target));
        Ok(Action::Grpc(GrpcAction {
            target: TargetName::named(&grpc.target),
            uri: text.parse().map_err(|error| format!("{text} is no URL: {error}"))?,
            service: service.into(),
            method: method.into(),
            body: body.or_else(|| grpc.body.clone().map(Bytes::from)).unwrap_or_default(),
            timeout: timeout_of(timeout_seconds.unwrap_or(target.timeout_seconds)),
        }))
    }

    /// A sentence about a target that is not there.
    pub fn unknown(&self, name: &str) -> String {
        match self.names().as_slice() {
            [] => format!("target {name} is not there: the Scheduler has none"),
            names => format!("target {name} is not there: the Scheduler has {}", names.join(", ")),
        }
    }
}

fn timeout_of(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1))
}

/// Where the target is asked about the run of this key.
fn status_uri(uri: &Uri, path: &str, key: &str) -> Result<Uri, String> {
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let text = format!("{scheme}://{host}{}", path.replace("{key}", key));
    text.parse().map_err(|error| format!("{text} is no URL: {error}"))
}

/// Says of what type a body is, unless a header does.
fn say_type(headers: &mut HeaderMap, body: &[u8], kind: Option<&str>) -> Result<(), String> {
    if body.is_empty() || headers.contains_key(CONTENT_TYPE) {
        return Ok(());
    }
    let kind = kind.unwrap_or_else(|| kind_of(body));
    let value = HeaderValue::from_str(kind).map_err(|error| format!("{kind}: {error}"))?;
    headers.insert(CONTENT_TYPE, value);
    Ok(())
}

fn cause(cause: Cause) -> v1::Cause {
    match cause {
        Cause::Schedule | Cause::CatchUp => v1::Cause::Schedule,
        Cause::Manual => v1::Cause::Manual,
        Cause::Backfill => v1::Cause::Backfill,
        Cause::Dependency => v1::Cause::Dependency,
    }
}

/// Type of a body that says nothing of it.
fn kind_of(body: &[u8]) -> &'static str {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

fn origin(target: &TargetFile) -> String {
    let (scheme, port) = match target.tls {
        TargetTls::On => ("https", 443),
        TargetTls::Off => ("http", 80),
    };
    format!("{scheme}://{}:{}", target.host, target.port.unwrap_or(port))
}

/// The targets of the configuration as the dispatcher knows them.
pub fn targets(files: &[TargetFile], folder: Option<&Path>) -> Result<Vec<Target>, TargetError> {
    files.iter().map(|file| target(file, folder)).collect()
}

fn target(file: &TargetFile, folder: Option<&Path>) -> Result<Target, TargetError> {
    let name = || file.name.clone();
    let address: Uri = origin(file).parse().map_err(|error: http::uri::InvalidUri| {
        TargetError::Address { name: name(), reason: error.to_string() }
    })?;
    let folder_of = |part: &str| {
        let folder = folder.ok_or_else(|| TargetError::NoFolder { name: name() })?;
        Ok(folder.join(&file.name).join(part))
    };
    let auth = file.has_auth.then(|| folder_of(TARGET_AUTH)).transpose()?;
    let signing = file.has_signing.then(|| folder_of(TARGET_SIGNING)).transpose()?;
    let authority = file.has_ca.then(|| folder_of(TARGET_CA)).transpose()?;
    let read = |folder: std::path::PathBuf| {
        let read = std::fs::read_to_string(folder.join(CA_FILE));
        read.map_err(|source| TargetError::Authority { name: name(), source })
    };
    Ok(Target {
        origin: Some(address),
        max_in_flight: usize::try_from(file.max_in_flight).unwrap_or(1).max(1),
        rate_per_second: file.rate_per_second.and_then(|rate| u32::try_from(rate).ok()),
        timeout: Duration::from_secs(u64::try_from(file.timeout_seconds).unwrap_or(1).max(1)),
        auth: auth.map(|folder| Auth { folder }),
        signing: signing.map(|folder| SigningKey { folder }),
        ca_pem: authority.map(read).transpose()?,
        ..Target::new(&file.name)
    })
}
