//! What changes of Schedules bring, as their engine would see it.

use std::sync::LazyLock;

use jiff::Timestamp;
use orrery_api::Reason;
use orrery_api::scheduler::DeclaredSchedule;
use orrery_recurrence::Zones;
use orrery_runtime::Refusal;
use serde_json::Value as Json;

/// Zones that were read once are kept: every Schedule of every file asks.
static ZONES: LazyLock<Zones> = LazyLock::new(Zones::bundled);

/// Of a Schedule.
pub(super) fn of_schedule(
    name: &str,
    old: Option<&Json>,
    new: &Json,
    now: Timestamp,
) -> Result<Vec<String>, Refusal> {
    let read = |json: &Json| serde_json::from_value::<DeclaredSchedule>(json.clone());
    let new = read(new).map_err(|error| Refusal::object(Reason::InvalidSpec, error.to_string()))?;
    let old = old.and_then(|old| read(old).ok());
    let said = orrery_scheduler::engine::outlook(name, old, &new, &ZONES, now.as_second());
    said.map_err(|refusal| {
        let reason = refusal.reason.as_str().parse().unwrap_or(Reason::InvalidSpec);
        Refusal::field(reason, "spec.when", refusal.message)
    })
}
