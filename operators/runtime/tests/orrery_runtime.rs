//! The operator against a real API server, through the fault layer. One server serves all tests, a
//! namespace and an operator restricted to it each. Without a server the tests say "not run".

#[path = "orrery_runtime/backup.rs"]
mod backup;
#[path = "orrery_runtime/certificates.rs"]
mod certificates;
#[path = "orrery_runtime/crash.rs"]
mod crash;
#[path = "orrery_runtime/errands.rs"]
mod errands;
#[path = "orrery_runtime/faults.rs"]
mod faults;
#[path = "orrery_runtime/flows.rs"]
mod flows;
#[path = "orrery_runtime/kv.rs"]
mod kv;
#[path = "orrery_runtime/lease.rs"]
mod lease;
#[path = "orrery_runtime/operand.rs"]
mod operand;
#[path = "orrery_runtime/releases.rs"]
mod releases;
#[path = "orrery_runtime/rest.rs"]
mod rest;
#[path = "orrery_runtime/scale.rs"]
mod scale;
#[path = "orrery_runtime/schedules.rs"]
mod schedules;
#[path = "orrery_runtime/stage.rs"]
mod stage;
#[path = "orrery_runtime/stale.rs"]
mod stale;
#[path = "orrery_runtime/toy.rs"]
mod toy;
#[path = "orrery_runtime/walk.rs"]
mod walk;
