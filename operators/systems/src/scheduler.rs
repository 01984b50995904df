//! The scheduler: engine `Scheduler`, declared objects `Schedule`.

mod adopt;
pub mod build;
pub mod declared;
mod groups;
mod job;
mod pools;
mod rules;
pub mod status;
mod targets;
pub mod validate;

use orrery_api::CommonStatus;
use orrery_api::backup::BackupSpec;
use orrery_api::scheduler::{Scheduler, SchedulerStatus};
use orrery_api::spec::{ArchiveOf, EngineSpec, Operation, RecoveredFrom};
use orrery_runtime::group::Group;
use orrery_runtime::{
    Carrier, Identity, Mode, Observation, Prepared, Reference, Referenced, Refusal, Resources,
    System,
};

use crate::parts::tls::Listener;

pub use declared::Schedules;
pub use rules::operator_rules;
pub use validate::Validated;

/// Value of `app.kubernetes.io/name`, and the word in names of children.
const SYSTEM: &str = "scheduler";

/// The system of kind `Scheduler`.
#[derive(Debug)]
pub struct Jobs;

impl System for Jobs {
    type Kind = Scheduler;
    type Status = SchedulerStatus;
    type Inputs = Referenced;
    type Validated = Validated;

    const NAME: &'static str = SYSTEM;
    const TELLS_CHANGES: bool = true;
    const HAS_ERRANDS: bool = true;

    fn references(object: &Scheduler) -> Vec<Reference> {
        let mut all = targets::references(&object.spec.targets);
        let journal = object.spec.journal.ref_.iter();
        let tls = validate::listener(object).and_then(Listener::reference);
        for secret in journal.chain(tls).map(|secret| Reference::Secret(secret.name.clone())) {
            if !all.contains(&secret) {
                all.push(secret);
            }
        }
        all.extend(validate::asked(object).references());
        all
    }

    fn mode(object: &Scheduler) -> Mode {
        match object.spec.engine.operation {
            Operation::Run => Mode::Run,
            Operation::Pause => Mode::Pause,
            Operation::Hibernate => Mode::Hibernate,
            Operation::Fence => Mode::Fence,
        }
    }

    fn validate(
        object: &Scheduler,
        inputs: &Referenced,
        carrier: Carrier,
    ) -> Result<Validated, Refusal> {
        validate::validate(object, inputs, carrier)
    }

    fn build(validated: &Validated, identity: &Identity) -> Resources<Prepared> {
        build::build(validated, identity)
    }

    fn groups(validated: &Validated, identity: &Identity) -> Vec<Group> {
        groups::groups(&validated.spec, &identity.name)
    }

    fn standing_groups(object: &Scheduler, identity: &Identity) -> Vec<Group> {
        groups::groups(&object.spec, &identity.name)
    }

    fn was_granted(status: &SchedulerStatus, _shard: u32) -> bool {
        groups::was_granted(status)
    }

    fn archive(object: &Scheduler) -> Option<ArchiveOf> {
        let meta = &object.metadata;
        let archive = object.spec.archive.as_ref()?;
        Some(archive.of(meta.namespace.as_deref()?, meta.name.as_deref()?))
    }

    fn backed_up(spec: &BackupSpec) -> Option<&str> {
        spec.scheduler.as_ref().map(|scheduler| scheduler.name.as_str())
    }

    fn recovered_from(validated: &Validated) -> Option<&RecoveredFrom> {
        validated.stores.recovery.as_ref()
    }

    fn engine_spec(object: &Scheduler) -> Option<&EngineSpec> {
        Some(&object.spec.engine)
    }

    fn status(object: &Scheduler) -> Option<&SchedulerStatus> {
        object.status.as_ref()
    }

    fn common(status: &SchedulerStatus) -> &CommonStatus {
        &status.common
    }

    fn summary(
        object: &Scheduler,
        stored: Option<&SchedulerStatus>,
        common: CommonStatus,
        seen: &Observation,
    ) -> SchedulerStatus {
        status::summary(object, stored, common, seen)
    }
}
