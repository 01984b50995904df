//! From a job of Dkron to one of this engine, and back.

use http::StatusCode;
use orrery_api::scheduler::{
    self as api, Concurrency, Header, HttpAction, HttpMethod, ScheduleSpec,
};

use super::job::{Extra, JobSent, JobShown, Texts};
use super::schedule::{self, MANUALLY};
use super::{NO_TIME, unsupported};
use crate::api::problem::Problem;
use crate::engine::{Engine, JobDetails, JobSpec, RunRecord};

/// What a configuration of the executor `http` may say.
const KNOWN: [&str; 8] =
    ["method", "url", "headers", "body", "timeout", "expectCode", "expectBody", "debug"];

/// The job that is asked for.
pub(super) fn spec_of(sent: JobSent) -> Result<JobSpec, Problem> {
    let follows = !sent.parent_job.is_empty();
    if sent.name.is_empty() || (sent.schedule.is_empty() && !follows) {
        let detail = "a job has a name, and a schedule or a parent_job";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "InvalidSpec", detail));
    }
    if sent.executor != "http" {
        return Err(unsupported(format!(
            "executor {:?} is not carried out: this engine calls services, use http",
            sent.executor
        )));
    }
    let (when, is_manual) = if follows {
        (schedule::following(sent.parent_job, &sent.timezone), false)
    } else {
        schedule::rule(&sent.schedule, &sent.timezone)
    };
    let extra = Extra {
        displayname: sent.displayname,
        owner: sent.owner,
        owner_email: sent.owner_email,
        tags: sent.tags,
        metadata: sent.metadata,
        processors: sent.processors,
        ephemeral: sent.ephemeral,
        schedule: if schedule::text(&when) == sent.schedule.trim() {
            String::new()
        } else {
            sent.schedule.trim().to_owned()
        },
        disabled: is_manual && sent.disabled,
    };
    let moment = |field: &str, text: Option<String>| {
        let text = text.filter(|text| !text.is_empty() && text != NO_TIME);
        let parsed = text.map(|text| {
            // A field of a spec reads it as it reads all moments.
            serde_json::from_value(serde_json::Value::String(text))
                .map_err(|error| Problem::invalid(format!("{field}: {error}")))
        });
        parsed.transpose()
    };
    let mut spec = Engine::of_cron("", None, api::Dialect::Vixie).spec;
    let (timeout_seconds, http) = action(&sent.executor_config)?;
    spec.when = when;
    spec.action.http = Some(http);
    spec.timeout_seconds = timeout_seconds;
    spec.start = moment("starts_at", sent.starts_at)?;
    spec.end = moment("expires_at", sent.expires_at)?;
    spec.suspend = sent.disabled || is_manual;
    spec.retry.max_attempts = i32::try_from(sent.retries).unwrap_or(i32::MAX).saturating_add(1);
    spec.concurrency = match sent.concurrency.as_str() {
        "" | "allow" => Concurrency::Allow,
        "forbid" => Concurrency::Forbid,
        other => {
            return Err(Problem::invalid(format!("concurrency is allow or forbid: {other:?}")));
        }
    };
    spec.note = extra.to_note();
    Ok(JobSpec { name: sent.name, spec, exclusions: vec![] })
}

/// The call that a configuration asks for, and how long it may take.
fn action(config: &Texts) -> Result<(Option<i64>, HttpAction), Problem> {
    let text = |name: &str| config.get(name).map(String::as_str).unwrap_or_default();
    let other =
        config.iter().find(|(name, value)| !value.is_empty() && !KNOWN.contains(&name.as_str()));
    if let Some((name, _)) = other {
        return Err(unsupported(format!("executor_config.{name} is not carried out")));
    }
    if !text("expectBody").is_empty() {
        return Err(unsupported("expectBody is not carried out: answer with a code instead"));
    }
    let method = text("method").to_uppercase();
    let method: HttpMethod = serde_json::from_value(method.as_str().into()).map_err(|_| {
        Problem::invalid(format!("method is POST, GET, PUT, PATCH or DELETE: {method:?}"))
    })?;
    let timeout = Some(text("timeout")).filter(|timeout| !timeout.is_empty());
    let timeout = timeout.map(str::parse::<i64>).transpose();
    let timeout = timeout.map_err(|error| Problem::invalid(format!("timeout: {error}")))?;
    let codes = text("expectCode").split(',').map(str::trim).filter(|code| !code.is_empty());
    let codes: Result<Vec<i32>, _> = codes.map(str::parse).collect();
    let codes = codes.map_err(|error| Problem::invalid(format!("expectCode: {error}")))?;
    let http = HttpAction {
        url: Some(text("url").to_owned()),
        method,
        headers: headers(text("headers"))?,
        body: Some(text("body").to_owned()).filter(|body| !body.is_empty()),
        success_codes: codes,
        ..HttpAction::default()
    };
    Ok((timeout, http))
}

/// Headers of a JSON text: `["Content-Type: application/json"]`.
fn headers(text: &str) -> Result<Vec<Header>, Problem> {
    if text.is_empty() {
        return Ok(vec![]);
    }
    let lines: Vec<String> = serde_json::from_str(text).map_err(|error| {
        Problem::invalid(format!("headers is a JSON text of a list of lines: {error}"))
    })?;
    let headers = lines.iter().filter(|line| !line.is_empty()).map(|line| {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Problem::invalid(format!("this is no header: {line:?}")))?;
        Ok(Header { name: name.trim().to_owned(), value: value.trim().to_owned() })
    });
    headers.collect()
}

/// A job as Dkron shows it, with what is known of its newest runs.
pub(super) fn shown_of(job: JobDetails, runs: &[RunRecord]) -> Result<JobShown, Problem> {
    let spec: ScheduleSpec = serde_json::from_value(job.spec)
        .map_err(|error| Problem::invalid(format!("job {} cannot be shown: {error}", job.name)))?;
    let extra = Extra::of_note(spec.note.as_deref());
    let is_manual = extra.schedule.eq_ignore_ascii_case(MANUALLY);
    let is_paused = job.paused.is_some_and(|why| why != "Suspended");
    let result = job.last_run.as_ref().map(|run| run.result);
    let newest = |succeeded: bool| {
        let over = runs.iter().filter(|run| run.finished.is_some());
        over.filter(|run| (run.result == "Succeeded") == succeeded)
            .filter_map(|run| run.finished.clone())
            .max()
    };
    let count = |succeeded: bool| {
        let over = runs.iter().filter(|run| run.finished.is_some());
        over.filter(|run| (run.result == "Succeeded") == succeeded).count() as u64
    };
    let moment = |moment: Option<orrery_api::spec::Moment>| {
        moment.and_then(|moment| serde_json::to_value(moment).ok()?.as_str().map(str::to_owned))
    };
    Ok(JobShown {
        id: job.name.clone(),
        name: job.name,
        displayname: extra.displayname,
        schedule: if extra.schedule.is_empty() {
            schedule::text(&spec.when)
        } else {
            extra.schedule
        },
        timezone: spec.when.time_zone,
        owner: extra.owner,
        owner_email: extra.owner_email,
        success_count: count(true),
        error_count: count(false),
        last_success: newest(true),
        last_error: newest(false),
        disabled: is_paused || if is_manual { extra.disabled } else { spec.suspend },
        tags: extra.tags,
        metadata: extra.metadata,
        retries: u32::try_from(spec.retry.max_attempts - 1).unwrap_or(0),
        dependent_jobs: job.followers,
        parent_job: spec.when.after.map(|after| after.schedule).unwrap_or_default(),
        processors: extra.processors,
        concurrency: if spec.concurrency == Concurrency::Allow { "allow" } else { "forbid" },
        executor: "http",
        executor_config: config_of(spec.action.http.unwrap_or_default(), spec.timeout_seconds),
        status: match result {
            _ if !job.running.is_empty() => "running",
            None => "untriggered",
            Some("Succeeded") => "success",
            Some("Running") => "running",
            Some(_) => "failed",
        },
        next: job.next_times.into_iter().next().unwrap_or_else(|| NO_TIME.to_owned()),
        ephemeral: extra.ephemeral,
        starts_at: moment(spec.start),
        expires_at: moment(spec.end),
    })
}

/// The configuration of a call.
fn config_of(http: HttpAction, timeout_seconds: Option<i64>) -> Texts {
    let mut config = Texts::new();
    let mut say = |name: &str, value: String| {
        if !value.is_empty() {
            config.insert(name.to_owned(), value);
        }
    };
    say("method", http.method.as_str().to_owned());
    say("url", http.url.or(http.target).unwrap_or_default());
    say("body", http.body.unwrap_or_default());
    say("timeout", timeout_seconds.map(|seconds| seconds.to_string()).unwrap_or_default());
    let codes: Vec<String> = http.success_codes.iter().map(ToString::to_string).collect();
    say("expectCode", codes.join(","));
    let lines: Vec<String> =
        http.headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect();
    if !lines.is_empty() {
        say("headers", serde_json::to_string(&lines).unwrap_or_default());
    }
    config
}
