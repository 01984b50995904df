//! A job as a calendar file.

use orrery_recurrence::ical;

use super::{Engine, EngineError};

/// Single runs of a job whose rule a calendar cannot say.
const INSTANCES: usize = 366;

impl Engine {
    /// The runs to come of a job as iCalendar text.
    pub async fn calendar(&self, name: &str, now: i64) -> Result<String, EngineError> {
        let owned = name.to_owned();
        let look = move |state: &crate::machine::State, _: &crate::ledger::LedgerView| {
            state.named(&owned).map(|job| job.times().cloned().filter(|_| job.fires()))
        };
        let times = self.handle(name).look(look).await?;
        let times = times.ok_or_else(|| EngineError::NoJob(name.to_owned()))?;
        let uid = format!("{name}.{}@orrery", self.config.object.name);
        let summary = name.to_owned();
        let written = tokio::task::spawn_blocking(move || {
            let events: Vec<ical::Event<'_>> = times
                .iter()
                .map(|times| ical::Event {
                    uid: &uid,
                    summary: &summary,
                    occurrences: times,
                    now,
                    instances: INSTANCES,
                })
                .collect();
            ical::calendar(&events)
        });
        Ok(written.await?)
    }
}
