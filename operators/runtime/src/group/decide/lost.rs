//! Who takes the place of a primary that is lost, if anybody may.
//!
//! Must not: know how it was found to be lost. Four rules, one function each, and all must hold: there
//! is a whole copy, the policy lets it, enough answer, and the lease is over.

use std::collections::BTreeMap;
use std::time::Duration;

use orrery_api::Reason;

use super::{DRIFT, Kind, Step, Transition, View, is_whole, progress};
use crate::group::{Grant, LEASE, Policy};
use crate::observation::Report;

/// The primary is lost: the most advanced follower takes over if every rule allows it.
pub(super) fn lost(view: &View<'_>, grant: &Grant, how: &str) -> Step {
    let others = view.others(&grant.holder).filter(|(other, _)| !other.terminating);
    let others: BTreeMap<&str, &Report> =
        others.map(|(other, report)| (other.pod.as_str(), report)).collect();
    // Where the journal is carried elsewhere, nobody needs to have anything.
    let is_fit = |report: &Report| view.group.carried || is_whole(report);
    let whole = others.iter().filter(|(_, report)| is_fit(report));
    let whole: BTreeMap<&str, &Report> = whole.map(|(pod, report)| (*pod, *report)).collect();
    let loss = Loss { view, grant, how, others, whole };
    let best = match loss.best() {
        Ok(best) => best,
        Err(step) => return step,
    };
    loss.policy(best).or_else(|| loss.too_few()).unwrap_or_else(|| loss.takes_over(best))
}

/// A primary that is lost, and who is left.
struct Loss<'a> {
    view: &'a View<'a>,
    grant: &'a Grant,
    /// In which way it is lost.
    how: &'a str,
    /// The other pods that answer and stay.
    others: BTreeMap<&'a str, &'a Report>,
    /// Those of them that have a whole copy.
    whole: BTreeMap<&'a str, &'a Report>,
}

impl<'a> Loss<'a> {
    fn blocked(&self, why: &str) -> Step {
        Step::Blocked { why: format!("{} {}{why}", self.grant.holder, self.how) }
    }

    /// Only a whole copy takes the place of another: the most advanced of them.
    fn best(&self) -> Result<&'a str, Step> {
        if self.others.is_empty() {
            let why = format!("{} {}, and no follower answers", self.grant.holder, self.how);
            return Err(Step::Wait { reason: Reason::NoPrimary, why });
        }
        let best = self.whole.iter().max_by_key(|(_, report)| progress(report));
        best.map(|(pod, _)| *pod).ok_or_else(|| {
            self.blocked(
                ", and no follower has had a whole copy of its data yet: what they have is a part of \
                 any size",
            )
        })
    }

    /// Nobody takes over whom the policy does not let: without synchronous followers nobody is known
    /// to have everything.
    fn policy(&self, best: &str) -> Option<Step> {
        let position = self.others[best].durable_position;
        let why = match self.view.group.policy {
            Policy::AllowLoss => return None,
            Policy::NoLoss if self.view.group.synchronous > 0 || self.view.group.carried => {
                return None;
            }
            Policy::NoLoss => format!(
                ". {best} goes up to position {position} and may lack acknowledged writes; with \
                 spec.failover.policy AllowLoss it takes over"
            ),
            Policy::Fenced => ", and nobody takes over while spec.operation is Fence".to_owned(),
            Policy::Manual => format!(
                ", and spec.failover.policy is Manual. {best} goes up to position {position}"
            ),
        };
        Some(self.blocked(&why))
    }

    /// So many must answer that the old primary can do nothing without one of them, and so many whole
    /// copies that one of them has every acknowledged write.
    fn too_few(&self) -> Option<Step> {
        if self.view.group.tailed {
            return None;
        }
        let (answering, copies) = (self.others.len(), self.whole.len());
        let (answers_needed, copies_needed) = self.needed();
        let why = if answering < answers_needed {
            format!(
                ". {answers_needed} followers must answer before one may take over; {answering} do"
            )
        } else if copies < copies_needed {
            format!(
                ". {copies_needed} followers with a whole copy of its data must answer before one \
                 may take over; {copies} do"
            )
        } else {
            return None;
        };
        Some(self.blocked(&why))
    }

    /// Followers, and whole copies among them, that are needed.
    fn needed(&self) -> (usize, usize) {
        let group = self.view.group;
        let without_loss = group.policy == Policy::NoLoss && !group.carried;
        (group.fences_needed(without_loss), group.copies_needed(without_loss))
    }

    /// Enough of them are fenced and the lease is over before the most advanced of the fenced ones is
    /// promoted.
    fn takes_over(&self, best: &str) -> Step {
        if self.view.group.tailed {
            // The engine fences the old primary, and nobody reads from it what the new one lacks.
            let (to, epoch) = (best.to_owned(), self.view.next_epoch());
            return Step::Grant { to, epoch, failover: true };
        }
        let (answers_needed, copies_needed) = self.needed();
        if let Some(Transition { epoch, kind: Kind::Failover { fenced }, waited }) =
            self.view.transition
        {
            let still = fenced.iter().filter(|pod| self.others.contains_key(pod.as_str()));
            let still: Vec<&String> = still.collect();
            let copies = still.iter().filter_map(|pod| self.whole.get_key_value(pod.as_str()));
            let copies: Vec<(&&str, &&Report)> = copies.collect();
            if still.len() >= answers_needed && copies.len() >= copies_needed {
                if *waited < LEASE && !lease_is_over(self.view, self.grant, &still) {
                    let (holder, how) = (&self.grant.holder, self.how);
                    let why =
                        format!("{holder} {how}; its lease runs out before {best} takes over");
                    return Step::Wait { reason: Reason::NoPrimary, why };
                }
                let next = copies.into_iter().max_by_key(|(_, report)| progress(report));
                let to = next.map(|(pod, _)| (*pod).to_owned()).unwrap_or_default();
                return Step::Grant { to, epoch: *epoch, failover: true };
            }
        }
        Step::FenceFollowers {
            pods: self.others.keys().map(|pod| (*pod).to_owned()).collect(),
            epoch: self.view.next_epoch(),
        }
    }
}

/// Whether nobody can have confirmed the lost primary within a lease. A lease runs from a moment at
/// which the primary was heard: by an operator that renewed it, or by more than half of its followers,
/// one of which is among these fenced ones.
fn lease_is_over(view: &View<'_>, grant: &Grant, fenced: &[&String]) -> bool {
    let over = LEASE + DRIFT;
    let last_heard = |pod: &String| {
        let (_, report) = view.answering(pod)?;
        let link = report.link.as_ref().filter(|_| report.epoch == grant.epoch)?;
        Some(Duration::from_millis(link.silent_milliseconds))
    };
    view.member(&grant.holder).is_some_and(|holder| holder.unrenewed >= over)
        && fenced.iter().all(|pod| last_heard(pod).is_some_and(|silent| silent >= over))
}
