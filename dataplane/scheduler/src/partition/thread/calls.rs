//! What leaves a partition for the dispatcher: runs, word of those that are overdue, and cancellations.

use std::time::Instant;

use super::Partition;
use crate::machine::notice;
use crate::partition::requests::Request;
use crate::run::{Call, Outcome, RunId};

impl Partition {
    /// Hands over what an owner before may have been sending, once it does not any more.
    pub(super) fn inherit(&mut self) {
        let is_over = |(until, _): &mut (Instant, Vec<u64>)| Instant::now() >= *until;
        if let Some((_, runs)) = self.inherited.take_if(is_over) {
            self.hand_over(&runs, true);
        }
    }

    /// Gives runs to the dispatcher; those that were ended meanwhile are passed by.
    pub(super) fn hand_over(&mut self, numbers: &[u64], is_resumed: bool) {
        let mut calls: Vec<Call> = vec![];
        for number in numbers {
            let id = RunId { partition: self.options.id, number: *number };
            if let Some(run) = notice::run_of(*number) {
                calls.extend(self.notice(run));
                continue;
            }
            let Some(run) = self.recovered.state.run(*number) else { continue };
            match self.crew.resolver.call(id, run, self.recovered.state.job(run.job), is_resumed) {
                Ok(call) => calls.push(call),
                Err(outcome) => {
                    let (run, attempt) = (*number, run.attempt);
                    self.mailbox.add(Request::Outcome { run, attempt, outcome });
                }
            }
        }
        if !calls.is_empty() {
            self.crew.dispatcher.hand_over(calls);
        }
    }

    /// What tells somebody that a run is overdue; where there is nobody, that is the outcome.
    fn notice(&self, run: u64) -> Option<Call> {
        let partition = self.options.id;
        let notice = self.recovered.state.notice(run)?;
        let attempt = self.plans.tries(run) + 1;
        let about = RunId { partition, number: run };
        match self.crew.resolver.notice(about, notice, attempt) {
            Ok(call) => Some(call),
            Err(why) => {
                tracing::warn!(partition, run, why, "nobody can be told of an overdue run");
                let (run, outcome) = (notice::number_of(run), Outcome::Cancelled);
                self.mailbox.add(Request::Outcome { run, attempt, outcome });
                None
            }
        }
    }

    /// Has a run settled as cancelled. One that is inherited and not handed over yet may be going on with
    /// the owner before, as one in flight may with its target.
    pub(super) fn cancel(&mut self, number: u64) {
        let waits = self.inherited.as_mut().and_then(|(_, runs)| {
            let at = runs.binary_search(&number).ok()?;
            Some(runs.remove(at))
        });
        let attempt = self.recovered.state.run(number).map_or(1, |run| run.attempt);
        if waits.is_some() {
            let outcome = Outcome::Cancelled;
            self.mailbox.add(Request::Outcome { run: number, attempt, outcome });
        } else {
            self.crew.dispatcher.cancel(RunId { partition: self.options.id, number });
        }
    }
}
