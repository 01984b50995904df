//! Clocks that are wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orrery_e2e_tests::clock;
pub(crate) use orrery_e2e_tests::clock::{install, library};

use crate::process::{Engine, Value};
use crate::replication::group::eventually;

/// Sets the clock of an engine wrong by so much, and sees that it is.
pub(crate) fn skew(engine: &Engine, by_s: i64) {
    clock::set(engine.folder.path(), by_s * 1_000_000_000);
    eventually("its clock is wrong", || {
        let Ok(Value::Array(Some(parts))) = engine.client().try_run("TIME") else { return None };
        let said_s: i64 = parts[0].text().parse().expect("a number");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let off_s = said_s - now.as_secs() as i64;
        ((off_s - by_s).abs() < 60).then_some(())
    });
}
