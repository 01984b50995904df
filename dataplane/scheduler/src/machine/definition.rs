//! What a job is to do, compiled. Jobs that say the same share one [`Definition`].
//!
//! The text is JSON of [`DeclaredSchedule`], written by [`canonical`], without the body of the action:
//! bodies differ from job to job where nothing else does.

use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};

use compact_str::CompactString;
use foldhash::HashMap;
use orrery_api::scheduler::{
    After, AfterResult, CatchUpPolicy, Concurrency, DeclaredSchedule, Dialect, Dst, ScheduleSpec,
};
use orrery_api::spec::Moment;
use orrery_recurrence::{
    self as recurrence, Exclusions, Occurrences, Options, Rule, RuleError, Seconds, Zone,
};

use crate::engine::{Template, lane};

/// Jobs are of this tenant unless they say otherwise.
pub const TENANT_DEFAULT: &str = "default";

/// What runs that are carried out outside are counted under: no address begins so.
const OUTSIDE: &str = "kubernetes:";

/// Why a definition cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    #[error("the definition is no JSON of a schedule: {0}")]
    Json(String),
    #[error("{field} is no moment in RFC 3339: {value:?}")]
    Moment { field: &'static str, value: String },
    #[error("spec.when.every is no time span: {0:?}; write 90s, 1h30m or PT90S")]
    Every(String),
    #[error("spec.when has no rule")]
    NoRule,
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// How many runs are made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    pub policy: CatchUpPolicy,
    pub runs_max: u64,
    pub seconds_max: i64,
}

/// What a job says about its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    pub concurrency: Concurrency,
    /// None: as the engine says. Parts that the job leaves out are the engine's as well.
    pub catch_up: Option<(CatchUpPolicy, Option<u64>, Option<i64>)>,
    pub deadline_seconds: Option<i64>,
    pub jitter_seconds: i64,
    pub flex_seconds: i64,
    pub attempts_max: u32,
    pub backoff_seconds: i64,
    pub backoff_seconds_max: i64,
    pub finish_within_seconds: Option<i64>,
    pub priority: u8,
    pub pause_on_failure: bool,
    pub limit_runs: Option<u64>,
    /// Runs that its history shows; none: as the engine says.
    pub keep_runs: Option<usize>,
    /// Failed runs that its history shows; none: they count as the others.
    pub keep_failed_runs: Option<usize>,
    pub suspend: bool,
    pub tenant: Arc<str>,
    /// What its runs are counted under for the bound on runs in flight: the target.
    pub target: Arc<str>,
}

/// Whose runs bring about those of a job, and when they do.
#[derive(Debug)]
pub struct Leader {
    pub leader: CompactString,
    pub result: AfterResult,
    start: Option<Seconds>,
    end: Option<Seconds>,
    exclusions: Exclusions,
    zone: Arc<Zone>,
}

impl Leader {
    fn of(
        after: &After,
        declared: &DeclaredSchedule,
        zone: &Arc<Zone>,
    ) -> Result<Self, DefinitionError> {
        let spec = &declared.spec;
        Ok(Self {
            leader: after.schedule.as_str().into(),
            result: after.result,
            start: spec.start.map(second),
            end: spec.end.map(second),
            exclusions: exclusions(declared)?,
            zone: Arc::clone(zone),
        })
    }

    /// Whether the job fires after a run of this second.
    pub fn allows(&self, nominal: Seconds) -> bool {
        self.start.is_none_or(|start| start <= nominal)
            && self.end.is_none_or(|end| nominal <= end)
            && !self.exclusions.excludes(&self.zone, nominal)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Definition {
    pub text: Box<str>,
    /// Index of the definition of its time zone.
    pub zone: u32,
    pub policies: Policies,
    /// Its runs follow those of another job.
    pub after: Option<Leader>,
    /// Its runs are carried out outside of this process, for the object of this UID.
    pub outside: Option<Box<str>>,
    /// None: nothing names its times but runs of others; or they depend on the name of the job.
    pub(super) times: Option<Arc<Occurrences>>,
    is_hashed: bool,
    /// Resolved when it is needed first; the body of a job comes in later.
    pub(crate) action: OnceLock<Result<Template, String>>,
}

/// The name of the zone a schedule is read in: that of its text, else the field.
pub fn zone_name(spec: &ScheduleSpec) -> &str {
    let prefix = spec.when.cron.as_deref().and_then(|cron| recurrence::split_zone(cron).0);
    prefix.unwrap_or(&spec.when.time_zone)
}

/// The text of a definition, and the body taken out of it.
pub fn canonical(mut declared: DeclaredSchedule) -> (String, Option<Vec<u8>>) {
    let action = &mut declared.spec.action;
    let http = action.http.as_mut().and_then(|http| http.body.take());
    let grpc = action.grpc.as_mut().and_then(|grpc| grpc.body.take());
    let body = http.or(grpc).map(String::into_bytes);
    let text = serde_json::to_string(&declared).expect("a schedule has string keys only");
    (text, body)
}

impl Definition {
    /// Compiles a definition under a zone, which has the index `zone_index`.
    pub fn compile(text: &str, zone_index: u32, zone: &Arc<Zone>) -> Result<Self, DefinitionError> {
        let declared: DeclaredSchedule =
            serde_json::from_str(text).map_err(|error| DefinitionError::Json(error.to_string()))?;
        let spec = &declared.spec;
        let is_hashed = is_hashed(spec);
        let times = match &spec.when.after {
            Some(_) => None,
            None => Some(Arc::new(occurrences(&declared, zone, "")?)),
        };
        let after = spec.when.after.as_ref();
        let after = after.map(|after| Leader::of(after, &declared, zone)).transpose()?;
        Ok(Self {
            text: text.into(),
            zone: zone_index,
            policies: policies(spec),
            after,
            outside: spec
                .action
                .kubernetes_job
                .as_ref()
                .map(|_| declared.uid.as_deref().unwrap_or_default().into()),
            times: times.filter(|_| !is_hashed),
            is_hashed,
            action: OnceLock::new(),
        })
    }

    /// What it was compiled from.
    pub fn declared(&self) -> Result<DeclaredSchedule, DefinitionError> {
        serde_json::from_str(&self.text).map_err(|error| DefinitionError::Json(error.to_string()))
    }

    /// The times of a job with this name where others with the definition have other times.
    pub fn own_times(
        &self,
        name: &str,
        zone: &Arc<Zone>,
    ) -> Result<Option<Arc<Occurrences>>, DefinitionError> {
        if self.is_hashed { self.times_of(name, zone) } else { Ok(None) }
    }

    /// The times of a job with this name.
    pub fn times_of(
        &self,
        name: &str,
        zone: &Arc<Zone>,
    ) -> Result<Option<Arc<Occurrences>>, DefinitionError> {
        if !self.is_hashed {
            return Ok(self.times.clone());
        }
        Ok(Some(Arc::new(occurrences(&self.declared()?, zone, name)?)))
    }
}

/// Whether the times depend on the name of the job: a cron text with `H`.
fn is_hashed(spec: &ScheduleSpec) -> bool {
    let Some(cron) = &spec.when.cron else { return false };
    let (_, text) = recurrence::split_zone(cron);
    text.split_ascii_whitespace().any(|field| {
        field.split([',', '/', '-']).any(|part| {
            part.strip_prefix(['H', 'h'])
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('('))
        })
    })
}

fn moment(field: &'static str, text: &str) -> Result<Seconds, DefinitionError> {
    let read = jiff::Timestamp::from_str(text);
    let read = read.map_err(|_| DefinitionError::Moment { field, value: text.to_owned() })?;
    Ok(read.as_second())
}

fn second(moment: Moment) -> Seconds {
    moment.microseconds().div_euclid(1_000_000)
}

/// Seconds of `90s`, `1h30m` or `PT90S`; calendar units have no fixed length and are refused.
fn span(text: &str) -> Result<u64, DefinitionError> {
    let wrong = || DefinitionError::Every(text.to_owned());
    let span = jiff::Span::from_str(text).map_err(|_| wrong())?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let seconds = span.to_duration(days).map_err(|_| wrong())?.as_secs();
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

fn occurrences(
    declared: &DeclaredSchedule,
    zone: &Arc<Zone>,
    name: &str,
) -> Result<Occurrences, DefinitionError> {
    let spec = &declared.spec;
    let options = Options { zone: Arc::clone(zone), dst: dst(spec.dst), hash_seed: name };
    let (start, end) = (spec.start.map(second), spec.end.map(second));
    let rule = rule(spec, start, &options)?;
    let exclusions = Arc::new(exclusions(declared)?);
    Ok(Occurrences { rule: Arc::new(rule), start, end, exclusions })
}

fn exclusions(declared: &DeclaredSchedule) -> Result<Exclusions, DefinitionError> {
    let all = declared.exclusions.iter().map(|text| Exclusions::parse(text));
    let all: Vec<Exclusions> = all.collect::<Result<_, _>>()?;
    Ok(Exclusions::merged(&all.iter().collect::<Vec<_>>()))
}

fn rule(
    spec: &ScheduleSpec,
    start: Option<Seconds>,
    options: &Options<'_>,
) -> Result<Rule, DefinitionError> {
    let when = &spec.when;
    if let Some(cron) = &when.cron {
        let (_, text) = recurrence::split_zone(cron);
        let dialect = match when.dialect {
            Dialect::Vixie => recurrence::Dialect::Vixie,
            Dialect::Quartz => recurrence::Dialect::Quartz,
            Dialect::Systemd => recurrence::Dialect::Systemd,
        };
        return Ok(Rule::compile(&recurrence::When::Cron { text, dialect }, options)?);
    }
    if let Some(every) = &when.every {
        let anchor = when.anchor.map_or(0, second);
        let seconds = span(every)?;
        return Ok(Rule::compile(&recurrence::When::Every { seconds, anchor }, options)?);
    }
    if let Some(text) = &when.rrule {
        let start = start.unwrap_or(0);
        return Ok(Rule::compile(&recurrence::When::Rrule { text, start }, options)?);
    }
    if let Some(at) = &when.at {
        let at = moment("spec.when.at", at)?;
        return Ok(Rule::compile(&recurrence::When::At(at), options)?);
    }
    if when.calendar.is_empty() {
        return Err(DefinitionError::NoRule);
    }
    let calendars: Vec<recurrence::CalendarSpec> = when.calendar.iter().map(calendar).collect();
    Ok(Rule::compile(&recurrence::When::Calendar(&calendars), options)?)
}

fn calendar(spec: &orrery_api::scheduler::CalendarSpec) -> recurrence::CalendarSpec {
    let ranges = |ranges: &[orrery_api::scheduler::Range]| {
        let number = |number: i32| u32::try_from(number).unwrap_or(u32::MAX);
        let range = |range: &orrery_api::scheduler::Range| recurrence::Range {
            start: number(range.start),
            end: range.end.map(number),
            step: range.step.map(number),
        };
        ranges.iter().map(range).collect()
    };
    recurrence::CalendarSpec {
        second: ranges(&spec.second),
        minute: ranges(&spec.minute),
        hour: ranges(&spec.hour),
        day_of_month: ranges(&spec.day_of_month),
        month: ranges(&spec.month),
        day_of_week: ranges(&spec.day_of_week),
        year: ranges(&spec.year),
    }
}

fn dst(dst: Dst) -> recurrence::Dst {
    match dst {
        Dst::SkipMissingRunRepeatedOnce => recurrence::Dst::SkipMissingRunRepeatedOnce,
        Dst::SkipMissingRunRepeatedTwice => recurrence::Dst::SkipMissingRunRepeatedTwice,
        Dst::RunMissingAfterGapRunRepeatedOnce => {
            recurrence::Dst::RunMissingAfterGapRunRepeatedOnce
        }
        Dst::RunMissingAfterGapRunRepeatedTwice => {
            recurrence::Dst::RunMissingAfterGapRunRepeatedTwice
        }
    }
}

fn policies(spec: &ScheduleSpec) -> Policies {
    let unsigned = |number: i32| u64::try_from(number).unwrap_or(0);
    let (http, grpc) = (spec.action.http.as_ref(), spec.action.grpc.as_ref());
    let pooled = spec.action.pooled_pod.as_ref();
    let is_outside = spec.action.kubernetes_job.is_some();
    let target = http.map(|http| match (&http.target, &http.url) {
        (Some(target), _) => target.clone(),
        (None, url) => authority(url.as_deref().unwrap_or_default()).to_owned(),
    });
    let target = target.or_else(|| grpc.map(|grpc| grpc.target.clone()));
    let target = target.or_else(|| pooled.map(|pooled| lane(&pooled.pool)));
    let kept = |most: Option<i32>| most.and_then(|most| usize::try_from(most).ok());
    let history = spec.history.as_ref();
    Policies {
        concurrency: spec.concurrency,
        catch_up: spec.catch_up.as_ref().map(|catch_up| {
            (catch_up.policy, catch_up.max_runs.map(unsigned), catch_up.max_seconds)
        }),
        deadline_seconds: spec.starting_deadline_seconds,
        jitter_seconds: spec.jitter_seconds.max(0),
        flex_seconds: spec.flex_window_seconds.max(0),
        attempts_max: u32::try_from(spec.retry.max_attempts).unwrap_or(1).max(1),
        backoff_seconds: spec.retry.backoff_seconds.max(0),
        backoff_seconds_max: spec.retry.max_backoff_seconds.max(0),
        finish_within_seconds: spec.finish_within_seconds,
        priority: spec.priority.clamp(0, 9) as u8,
        pause_on_failure: spec.pause_on_failure,
        limit_runs: spec.limit_runs.and_then(|limit| u64::try_from(limit).ok()),
        keep_runs: history.and_then(|history| kept(history.keep_runs)),
        keep_failed_runs: history.and_then(|history| kept(history.keep_failed_runs)),
        suspend: spec.suspend,
        tenant: spec.tenant.as_deref().unwrap_or(TENANT_DEFAULT).into(),
        target: if is_outside { OUTSIDE.into() } else { target.unwrap_or_default().into() },
    }
}

/// `https://host:port` of a URL.
fn authority(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// Every definition in use, so that the same text is compiled once.
#[derive(Debug, Default)]
pub struct Definitions {
    by_text: HashMap<(Box<str>, u32), Arc<Definition>>,
}

impl Definitions {
    /// The definition with this text under the zone of this index.
    pub fn get(
        &mut self,
        text: &str,
        zone_index: u32,
        zone: &Arc<Zone>,
    ) -> Result<Arc<Definition>, DefinitionError> {
        let key = (Box::from(text), zone_index);
        if let Some(known) = self.by_text.get(&key) {
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(Definition::compile(text, zone_index, zone)?);
        self.by_text.insert(key, Arc::clone(&new));
        Ok(new)
    }

    /// A job no longer uses it.
    #[expect(clippy::needless_pass_by_value, reason = "the job gives up what it had of it")]
    pub fn release(&mut self, definition: Arc<Definition>) {
        // This one, and the one in the map.
        if Arc::strong_count(&definition) <= 2 {
            self.by_text.remove(&(definition.text.clone(), definition.zone));
        }
    }

    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.by_text.values()
    }
}
