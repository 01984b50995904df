//! Rules of time zones that are others than those the jobs of a partition are under: after an upgrade
//! of the process, or when somebody put a newer database into its folder.

use super::thread::{Partition, Poisoned};
use crate::machine::State;

impl Partition {
    /// Looks whether the database has other rules than the jobs are under, and puts them under those.
    pub(super) fn look_at_zones(&mut self) -> Result<(), Poisoned> {
        let state = self.state();
        let names: Vec<String> = state
            .zones_in_use()
            .into_iter()
            .filter_map(|index| state.zones().get(index as usize))
            .map(|zone| zone.name().to_owned())
            .collect();
        for name in names {
            // A zone that is gone, or a file that is half written, leaves its jobs as they are.
            let newest = match self.zones().newest(&name) {
                Ok(newest) => newest,
                Err(error) => {
                    tracing::warn!(zone = name, %error, "a time zone keeps the rules it had");
                    continue;
                }
            };
            if is_current(self.state(), &newest) {
                continue;
            }
            self.decide(self.now_ms(), |turn| {
                if turn.new_rules(&newest)? {
                    tracing::info!(zone = newest.name(), "a time zone has other rules from now on");
                }
                Ok(vec![])
            })?;
        }
        Ok(())
    }
}

/// Whether the jobs of a zone are under these rules.
fn is_current(state: &State, newest: &orrery_recurrence::Zone) -> bool {
    state.current_rules(newest.name()).is_some_and(|zone| zone.tzif() == newest.tzif())
}
