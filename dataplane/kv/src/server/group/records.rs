//! What a follower takes from its primary: records into machine and journal, in order, once.

use std::sync::Arc;

use super::{Group, Role};
use crate::persistence::declared::DeclaredSet;
use crate::persistence::{kind, recovery};
use crate::replication::link::{Event, Link};
use crate::replication::wire::Record;
use crate::server::Shard;

/// Bytes of records taken per turn, so that clients who read get theirs.
const BYTES_PER_TURN: usize = 4 << 20;

impl Shard {
    /// Takes what the link has, within a bound.
    pub(super) fn follow_primary(&mut self) {
        let mut taken_bytes = 0;
        loop {
            let Some(group) = self.group.as_deref_mut() else { return };
            group.has_more = taken_bytes >= BYTES_PER_TURN;
            if group.has_more || !self.log.takes_more() {
                break;
            }
            let Some(event) = group.link.as_ref().and_then(Link::take) else { break };
            match event {
                Event::Records(records) => {
                    taken_bytes += records.iter().map(|record| record.body.len()).sum::<usize>();
                    if let Err(reason) = self.apply_records(&records) {
                        self.start_over(&reason);
                        return;
                    }
                }
                other => self.note_link(&other),
            }
        }
        self.machine.begin(self.clock.wall_ms(), self.log.next_position());
        self.look_at_progress();
    }

    fn note_link(&mut self, event: &Event) {
        let Some(group) = self.group.as_deref_mut() else { return };
        match *event {
            Event::Up { epoch } => {
                group.complete_at = group.link.as_ref().map(Link::primary_position);
                group.goodbye = None;
                if epoch > group.grants.held().known {
                    self.hear_of_primary(epoch);
                }
            }
            Event::Copying => {
                group.is_complete = false;
                group.complete_at = None;
                self.set_bar();
            }
            Event::Copied => {
                tracing::info!("a whole copy takes the place of what is here");
                group.has_copy = true;
                self.begin_again();
            }
            Event::Goodbye { epoch, position } => group.goodbye = Some((epoch, position)),
            Event::Arrived => group.has_arrived = true,
            Event::Fenced { held } => self.give_up_take_over(held),
            Event::Records(_) | Event::Down => {}
        }
    }

    /// The primary has a later epoch than it was said to have.
    fn hear_of_primary(&mut self, epoch: u64) {
        let Some(group) = self.group.as_deref_mut() else { return };
        let changed = group.grants.change(|held| {
            held.known = held.known.max(epoch);
            held.followed = held.followed.max(epoch);
        });
        match changed {
            Ok(()) => {
                if let Some(link) = &group.link {
                    link.set_known(group.grants.held().known);
                }
            }
            Err(error) => tracing::error!(%error, epoch, "failed to remember an epoch"),
        }
    }

    fn apply_records(&mut self, records: &[Record]) -> Result<(), String> {
        for record in records {
            if record.position != self.log.next_position() {
                return Err(format!(
                    "record {} came where {} belongs",
                    record.position,
                    self.log.next_position()
                ));
            }
            let failed = |error: String| format!("failed to take {}: {error}", record.position);
            self.log.raise_epoch(record.epoch).map_err(|error| failed(error.to_string()))?;
            self.apply_record(record).map_err(failed)?;
            self.snapshots.count(record.body.len());
            let Record { epoch, kind, time_us, ref body, .. } = *record;
            self.log.append_under(epoch, kind, time_us, body);
        }
        Ok(())
    }

    fn apply_record(&mut self, record: &Record) -> Result<(), String> {
        match record.kind {
            kind::EFFECTS => self
                .machine
                .apply(record.time_us / 1000, &record.body)
                .map_err(|error| error.to_string()),
            kind::NAMESPACES => {
                let set: DeclaredSet =
                    serde_json::from_slice(&record.body).map_err(|error| error.to_string())?;
                recovery::declare(&mut self.machine, &set, self.databases, self.default_class);
                self.declared = set;
                Ok(())
            }
            // From a time before the group: epochs are kept elsewhere now.
            kind::FENCE => Ok(()),
            other => Err(format!("unknown kind of record {other}")),
        }
    }

    /// What is here is not what the primary has, and no record can mend that: a full copy can.
    fn start_over(&mut self, reason: &str) {
        tracing::error!(reason, "the data is copied anew");
        let Some(group) = self.group.as_deref_mut() else { return };
        group.is_complete = false;
        let Some(link) = group.link.take() else { return };
        let plan = link.plan.clone();
        drop(link);
        // An epoch that nobody has: the primary cannot take it for its own history.
        let nobodys = Some(u64::MAX);
        let begun = match &plan.takes_over {
            Some(from) => self.take_over(from.owner, nobodys),
            None => self.become_follower(plan.epoch, plan.primary(), nobodys),
        };
        if let Err(error) = begun {
            tracing::error!(%error, "failed to follow");
        }
    }

    /// Whether everything is here, and whether that was all there will ever be.
    pub(super) fn look_at_progress(&mut self) {
        let (appended, durable) = (self.log.appended(), self.log.durable());
        let Some(group) = self.group.as_deref_mut() else { return };
        if let Some(link) = &group.link {
            link.set_durable(durable);
        }
        if group.complete_at.is_some_and(|target| appended >= target) {
            group.is_complete = true;
        }
        if group.complete_at.is_some_and(|target| durable >= target)
            && group.grants.held().partial
            && let Err(error) = group.grants.change(|held| held.partial = false)
        {
            // It is tried again when the link comes up next.
            group.complete_at = None;
            tracing::error!(%error, "failed to remember that all of the primary's data is here");
        }
        if let Some((epoch, position)) = group.goodbye
            && durable >= position
        {
            group.goodbye = None;
            let changed = group.grants.change(|held| {
                (held.completed, held.partial) = (held.completed.max(epoch), false);
            });
            if let Err(error) = changed {
                tracing::error!(%error, epoch, "failed to remember that an epoch is complete");
            }
        }
    }
}

impl Group {
    pub(crate) fn is_follower(&self) -> bool {
        self.role == Role::Follower
    }

    pub(crate) fn peers(&self) -> &Arc<crate::replication::peers::Peers> {
        &self.peers
    }
}
