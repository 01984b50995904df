//! Jobs that are made once: a second request of the same name changes nothing.

use orrery_api::scheduler::DeclaredSchedule;

use super::{Engine, EngineError, JobSpec};
use crate::machine::Edited;

impl Engine {
    /// Makes a job unless there is one of its name, which is left as it is and given instead.
    pub async fn put_absent(&self, job: JobSpec, now: i64) -> Result<Edited, EngineError> {
        let name = job.name.clone();
        let declared = DeclaredSchedule { exclusions: job.exclusions, ..job.spec.into() };
        // What is there already is given whatever is asked for: its moment may be over by now.
        if let Some(known) = self.edited(&name).await? {
            return Ok(known);
        }
        let mut one = [self.check(&name, declared, 0, now)];
        self.check_leaders(&mut one).await?;
        self.within_quota(&mut one).await?;
        let [job] = one;
        let job = job.map_err(EngineError::Refused)?;
        let put = self.handle(&name).act(move |turn| {
            if let Some(known) = turn.state().named(&job.name) {
                let (id, revision) = (known.id, known.revision);
                return Ok(Edited { id, revision, is_new: false, is_same: true });
            }
            let zone = turn.zone(&job.zone)?;
            turn.put(&job.edit(), zone)
        });
        Ok(put.await?)
    }

    async fn edited(&self, name: &str) -> Result<Option<Edited>, EngineError> {
        let owned = name.to_owned();
        let found = self.handle(name).look(move |state, _| {
            let job = state.named(&owned)?;
            Some(Edited { id: job.id, revision: job.revision, is_new: false, is_same: true })
        });
        Ok(found.await?)
    }
}
