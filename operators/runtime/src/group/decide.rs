//! The next step of a group, as a pure function.
//!
//! Must not: read a clock or talk to anyone. The same view gives the same step, so a round that was
//! cut off is taken up by the next one, of this operator or another.

mod lost;

use std::time::Duration;

use orrery_api::Reason;
use orrery_operand::v1::{Follower, Link};

use super::{DRIFT, Grant, Group, LEASE, Policy};
use crate::observation::{Report, Role};

/// A primary that has not answered for this long is called lost.
pub const SILENT_MAX: Duration = Duration::from_millis(2500);
/// The same where another owner costs no more than asking for the runs of the one before: two beats.
pub const SILENT_TAILED_MAX: Duration = Duration::from_millis(900);
/// A planned hand-over that takes longer is given up: the old primary goes on.
pub const HAND_OVER_MAX: Duration = Duration::from_secs(20);

/// What is known of one pod.
#[derive(Debug, Clone, Default)]
pub struct Member {
    pub pod: String,
    /// Where clients reach it, and followers without certificates.
    pub address: Option<String>,
    /// Where followers with certificates reach it over mutual TLS, of pods that have one.
    pub secured_address: Option<String>,
    pub terminating: bool,
    /// Whether Services send clients to it.
    pub ready: bool,
    /// What it said in this round; none when it does not answer.
    pub report: Option<Report>,
    /// How long it has not answered this operator.
    pub silent: Duration,
    /// For how long no operator, this one or one before, can have renewed it.
    pub unrenewed: Duration,
}

impl Member {
    /// Where a follower reaches this primary, and whether over mutual TLS: by what both were built
    /// with.
    pub fn address_for(&self, follower: &Self) -> (Option<&str>, bool) {
        match (&self.secured_address, &follower.secured_address) {
            (Some(address), Some(_)) => (Some(address), true),
            _ => (self.address.as_deref(), false),
        }
    }
}

/// A change of primary under way; kept in memory only, and begun anew under a higher epoch by an
/// operator that does not know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub epoch: u64,
    pub kind: Kind,
    /// Time since the fences were answered.
    pub waited: Duration,
}

/// Why the primary changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It was fenced at this position, and another pod is to have everything up to there.
    HandOver { to: String, position: u64 },
    /// It is lost. These followers were fenced.
    Failover { fenced: Vec<String> },
}

/// Everything a decision is made from.
#[derive(Debug)]
pub struct View<'a> {
    pub group: &'a Group,
    pub grant: Option<&'a Grant>,
    /// Whether the status says that somebody was primary before.
    pub was_granted: bool,
    pub members: &'a [Member],
    pub transition: Option<&'a Transition>,
    /// Whether the primary's pod is to be replaced, so that another pod must take over first.
    pub leave_primary: bool,
    /// The pod that is replaced next: made primary before that, it would have to hand over at once.
    /// No shard goes there, not even home.
    pub replaced: Option<&'a str>,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// All is as it should be once these pods follow the primary.
    Steady { follow: Vec<String> },
    /// Fence the primary, so that `to` can take over without loss.
    HandOver { from: String, to: String, epoch: u64 },
    /// Fence these followers, since the primary is lost.
    FenceFollowers { pods: Vec<String>, epoch: u64 },
    /// Write the grant, then promote.
    Grant { to: String, epoch: u64, failover: bool },
    /// The grant is written; the pod has yet to be promoted.
    Promote { to: String, epoch: u64 },
    /// Look again soon.
    Wait { reason: Reason, why: String },
    /// Nothing can be done without a human or a pod that comes back.
    Blocked { why: String },
}

/// Chooses the next step.
pub fn decide(view: &View<'_>) -> Step {
    let Some(grant) = view.grant else { return first(view) };
    match view.answering(&grant.holder) {
        Some((member, report)) => present(view, grant, member, report),
        None => absent(view, grant),
    }
}

impl View<'_> {
    fn member(&self, pod: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.pod == pod)
    }

    fn answering(&self, pod: &str) -> Option<(&Member, &Report)> {
        let member = self.member(pod)?;
        Some((member, member.report.as_ref()?))
    }

    /// The answering pods other than `holder`.
    fn others(&self, holder: &str) -> impl Iterator<Item = (&Member, &Report)> {
        let members = self.members.iter().filter(move |member| member.pod != holder);
        members.filter_map(|member| Some((member, member.report.as_ref()?)))
    }

    /// One above every epoch that was ever granted or that a process has heard of.
    fn next_epoch(&self) -> u64 {
        let told = self.members.iter().filter_map(|member| member.report.as_ref());
        let granted = self.grant.map_or(0, |grant| grant.epoch);
        let begun = self.transition.map_or(0, |transition| transition.epoch);
        told.map(|report| report.epoch.max(report.known_epoch))
            .chain([granted, begun])
            .max()
            .unwrap_or(0)
            + 1
    }
}

/// How far a process is: records of a later epoch win over more records.
fn progress(report: &Report) -> (u64, u64) {
    (report.durable_epoch, report.durable_position)
}

/// Whether a follower has everything but the tail of this primary.
pub fn is_in_sync(group: &Group, pod: &str, report: &Report, epoch: u64, primary: &Report) -> bool {
    let in_list = |follower: &Follower| follower.name == pod && follower.in_sync;
    let listed = group.tailed || primary.followers.iter().any(in_list);
    let linked = report.link.as_ref().is_some_and(|link| link.up && link.copy_percent >= 100);
    report.role() == Role::Follower && report.epoch == epoch && linked && listed && is_whole(report)
}

/// Whether a process has nothing, unless it knows that its primary has nothing either: it has not
/// copied what was there before it, and in its place all of that would be lost.
fn is_bare(report: &Report) -> bool {
    let has_nothing_to_copy = |link: &Link| link.copy_percent >= 100 && link.primary_position == 0;
    report.durable_position == 0 && !report.link.as_ref().is_some_and(has_nothing_to_copy)
}

/// Whether a process has all that it ever confirmed, and had all of its primary's data once. Only such
/// a one proves anything about what was acknowledged, and only such a one takes the place of another.
fn is_whole(report: &Report) -> bool {
    // A process of an earlier release does not say.
    report.whole.unwrap_or_else(|| !is_bare(report))
}

/// Whether a process has nothing of this group: no record, or only those of an archive.
fn has_nothing(report: &Report) -> bool {
    !is_whole(report) && report.durable_epoch == 0
}

/// Why a process does not have its data yet.
fn recovering(report: &Report) -> Option<Reason> {
    [Reason::Recovering, Reason::RecoveryFailed]
        .into_iter()
        .find(|reason| report.reason == reason.as_str())
}

/// Nobody has a grant.
fn first(view: &View<'_>) -> Step {
    let group = view.group;
    let starting = |why: String| Step::Wait { reason: Reason::Starting, why };
    let epoch = view.next_epoch();
    let writing = |report: &Report| report.role() == Role::Primary;
    let primary =
        view.others("").filter(|(_, report)| writing(report)).max_by_key(|(_, r)| r.epoch);
    if let Some((member, _)) = primary {
        return Step::Grant { to: member.pod.clone(), epoch, failover: false };
    }
    if !view.was_granted {
        let Some(first) = group.pods.first() else { return starting("no pod is wanted".into()) };
        let Some((_, report)) = view.answering(first) else {
            return starting(format!("{first} does not answer yet"));
        };
        // Before it has its data nobody may be primary: a failover would promote an empty one.
        return match recovering(report) {
            Some(reason) => Step::Wait { reason, why: format!("{first}: {}", report.message) },
            None => Step::Grant { to: first.clone(), epoch, failover: false },
        };
    }
    if group.carried {
        let next = view.others("").max_by_key(|(_, report)| progress(report));
        let none = || starting("no pod answers yet".into());
        let grant = |pod: &str| Step::Grant { to: pod.to_owned(), epoch, failover: false };
        return next.map_or_else(none, |(member, _)| grant(&member.pod));
    }
    // The grant was removed by hand: only who has all the data may be next, so all must be heard.
    let answering = view.others("").count();
    let wanted = group.followers as usize + 1;
    if answering < wanted {
        let why = format!(
            "the lease of the primary is gone, and {answering} of {wanted} pods answer: all are \
             needed to find the one with all data"
        );
        return Step::Blocked { why };
    }
    let is_new = view.others("").all(|(_, report)| has_nothing(report));
    let fit = view.others("").filter(|(_, report)| is_new || is_whole(report));
    let Some((member, _)) = fit.max_by_key(|(_, report)| progress(report)) else {
        let why = "the lease of the primary is gone, and no pod has a whole copy of its data";
        return Step::Blocked { why: why.to_owned() };
    };
    Step::Grant { to: member.pod.clone(), epoch, failover: false }
}

/// The holder of the grant answers.
fn present(view: &View<'_>, grant: &Grant, member: &Member, report: &Report) -> Step {
    if report.role() == Role::Primary && report.epoch == grant.epoch {
        return leading(view, grant, member, report);
    }
    // Before anything that lets it go on, a hand-over that is given up among them.
    if let Some(step) = without_its_data(view, grant, member, report) {
        return step;
    }
    if let Some(step) = handing_over(view, grant, report) {
        return step;
    }
    if report.epoch.max(report.known_epoch) > grant.epoch {
        // Fenced for a change that nobody remembers, or promoted by someone else: it goes on.
        return Step::Grant { to: member.pod.clone(), epoch: view.next_epoch(), failover: false };
    }
    if report.completed_epoch == grant.epoch {
        // It said goodbye, so another could have been promoted without asking it.
        return Step::Grant { to: member.pod.clone(), epoch: view.next_epoch(), failover: false };
    }
    if report.role() == Role::Standby && report.epoch == grant.epoch {
        let why = format!("{} takes up its role again", member.pod);
        return Step::Wait { reason: Reason::NoPrimary, why };
    }
    Step::Promote { to: member.pod.clone(), epoch: grant.epoch }
}

/// The holder has no data of this group: it was never promoted, or it lost what it had.
fn without_its_data(
    view: &View<'_>,
    grant: &Grant,
    member: &Member,
    report: &Report,
) -> Option<Step> {
    if view.group.carried {
        // It takes what is carried.
        return None;
    }
    let is_new = report.whole == Some(false);
    let best = view.others(&member.pod).max_by_key(|(_, report)| progress(report));
    if (is_new || report.durable_position == 0)
        && best.is_some_and(|(_, best)| best.durable_position > 0)
    {
        // It comes back without its data, or with what an archive had of it: as good as lost.
        return Some(lost::lost(view, grant, "came back without its data"));
    }
    let answering = view.others(&member.pod).count();
    if is_new && answering < view.group.followers as usize {
        // It was never promoted, or it lost its data. Others may have them.
        let why = format!(
            "{} has no data of this group, and {answering} of {} other pods answer: all are needed \
             to know that nobody has any",
            member.pod, view.group.followers
        );
        return Some(Step::Wait { reason: Reason::NoPrimary, why });
    }
    None
}

/// The holder is primary under its grant.
fn leading(view: &View<'_>, grant: &Grant, member: &Member, report: &Report) -> Step {
    let ready = |pod: &str| {
        let other = view.answering(pod).filter(|(other, _)| !other.terminating);
        other.is_some_and(|(_, other)| is_in_sync(view.group, pod, other, grant.epoch, report))
    };
    // Without a wish of the user, a shard goes home.
    let wished = view.group.wished.as_deref().or(view.group.home.as_deref());
    let wished = wished.filter(|wished| *wished != grant.holder);
    let wished = wished.filter(|wished| view.replaced != Some(*wished));
    // Clients of a Service find nobody while the primary is a pod that is not ready: worth a wait, but
    // not for a primary that ends.
    let reachable = |other: &Member| other.ready || member.terminating;
    let best = || {
        let stays = |pod: &String| view.group.pods.contains(pod);
        let others = view.others(&grant.holder);
        let others = others.filter(|(other, _)| ready(&other.pod) && stays(&other.pod));
        let others = others.filter(|(other, _)| reachable(other));
        let best = others.max_by_key(|(member, other)| (member.ready, progress(other)));
        best.map(|(other, _)| other.pod.clone())
    };
    let to = match wished {
        Some(wished) if ready(wished) && view.member(wished).is_some_and(reachable) => {
            Some(wished.to_owned())
        }
        _ if member.terminating
            || view.leave_primary
            || !view.group.pods.contains(&grant.holder) =>
        {
            best()
        }
        _ => None,
    };
    if let Some(to) = to {
        return Step::HandOver { from: grant.holder.clone(), to, epoch: view.next_epoch() };
    }
    if view.others(&grant.holder).any(|(_, other)| other.known_epoch > grant.epoch) {
        // Followers were fenced because it seemed lost: they follow it again under a higher epoch.
        let (to, epoch) = (grant.holder.clone(), view.next_epoch());
        return Step::Grant { to, epoch, failover: false };
    }
    let follows = |pod: &Member, other: &Report| {
        let address = member.address_for(pod).0.unwrap_or_default();
        let link = other.link.as_ref();
        other.role() == Role::Follower
            && other.epoch == grant.epoch
            && link.is_some_and(|link| link.address == address)
    };
    let astray = view.others(&grant.holder).filter(|(pod, other)| !follows(pod, other));
    Step::Steady { follow: astray.map(|(other, _)| other.pod.clone()).collect() }
}

/// A planned change: the old primary was fenced and answers.
fn handing_over(view: &View<'_>, grant: &Grant, report: &Report) -> Option<Step> {
    let transition = view.transition?;
    let Kind::HandOver { to, position } = &transition.kind else { return None };
    if report.role() == Role::Primary {
        return None;
    }
    let step = match view.answering(to) {
        Some((_, other)) if other.durable_position >= *position => {
            Step::Grant { to: to.clone(), epoch: transition.epoch, failover: false }
        }
        Some(_) if transition.waited < HAND_OVER_MAX => Step::Wait {
            reason: Reason::SwitchingOver,
            why: format!("{to} takes the last records of {}", grant.holder),
        },
        // The one that was to be next is gone or too slow: the old one goes on.
        _ => {
            let epoch = view.next_epoch();
            Step::Grant { to: grant.holder.clone(), epoch, failover: false }
        }
    };
    Some(step)
}

/// The holder of the grant does not answer.
fn absent(view: &View<'_>, grant: &Grant) -> Step {
    let holder = &grant.holder;
    // It told a follower that nothing more will come: no lease to wait for, nothing to lose.
    let completed = view.others(holder).filter(|(other, report)| {
        report.completed_epoch == grant.epoch
            && report.known_epoch <= grant.epoch
            && !other.terminating
    });
    if !matches!(view.group.policy, Policy::Manual | Policy::Fenced)
        && let Some((other, _)) = completed.max_by_key(|(_, report)| progress(report))
    {
        let epoch = view.next_epoch();
        return Step::Grant { to: other.pod.clone(), epoch, failover: true };
    }
    // Fenced for a hand-over and gone: who has its last position may still take over.
    if let Some(Transition { epoch, kind: Kind::HandOver { to, position }, .. }) = view.transition
        && view.answering(to).is_some_and(|(_, other)| other.durable_position >= *position)
    {
        return Step::Grant { to: to.clone(), epoch: *epoch, failover: false };
    }
    let silent_max = if view.group.tailed { SILENT_TAILED_MAX } else { SILENT_MAX };
    let silent = view.member(holder).map_or(silent_max, |member| member.silent);
    if silent < silent_max && !is_unheard(view, grant) {
        let why = format!("{holder} has not answered for {} ms", silent.as_millis());
        return Step::Wait { reason: Reason::NoPrimary, why };
    }
    let heard = view.others(holder).filter(|_| !view.group.tailed).find(|(_, report)| {
        let link = report.link.as_ref().filter(|link| link.up && report.epoch == grant.epoch);
        link.is_some_and(|link| Duration::from_millis(link.silent_milliseconds) < LEASE)
    });
    if let Some((other, _)) = heard {
        let why = format!("{holder} does not answer, but {} still hears it", other.pod);
        return Step::Wait { reason: Reason::Unreachable, why };
    }
    lost::lost(view, grant, "does not answer")
}

/// Whether the followers say that the primary is lost: an operator that has just begun to lead knows
/// nothing of the time before, and need not wait to learn it again.
fn is_unheard(view: &View<'_>, grant: &Grant) -> bool {
    if view.group.tailed {
        return false;
    }
    let followers = view.others(&grant.holder).filter(|(_, report)| report.epoch == grant.epoch);
    let silent = followers.filter_map(|(_, report)| report.link.as_ref());
    let silent: Vec<u64> = silent.map(|link| link.silent_milliseconds).collect();
    let is_lost = |silent: &u64| Duration::from_millis(*silent) >= SILENT_MAX;
    silent.len() >= view.group.fences_needed(false) && silent.iter().all(is_lost)
}

#[cfg(test)]
mod tests;
