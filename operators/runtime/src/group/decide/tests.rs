//! The decision table. The safety of the whole is shown in `simulation`.

use super::*;
use orrery_operand::v1::{Follower, Link};

mod home;
mod simulation;
mod tailed;

fn group(followers: u32, synchronous: u32, policy: Policy) -> Group {
    let pods: Vec<String> = (0..=followers).map(|n| format!("a-{n}")).collect();
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    Group { synchronous, policy, ..Group::of_pods(0, &pods) }
}

/// The same whose journal is carried elsewhere.
fn carried(followers: u32) -> Group {
    Group { carried: true, ..group(followers, 0, Policy::NoLoss) }
}

fn grant(holder: &str, epoch: u64) -> Grant {
    Grant { holder: holder.into(), epoch, resource_version: "1".into() }
}

fn primary(pod: &str, epoch: u64, position: u64, in_sync: &[&str]) -> Member {
    let follower = |name: &&str| Follower {
        name: (*name).to_owned(),
        durable_position: position,
        in_sync: true,
        ..Follower::default()
    };
    let report = Report {
        role: Role::Primary.into(),
        epoch,
        known_epoch: epoch,
        durable_position: position,
        durable_epoch: epoch,
        writable: true,
        followers: in_sync.iter().map(follower).collect(),
        ..Report::default()
    };
    answering(pod, report)
}

fn follower(pod: &str, epoch: u64, position: u64) -> Member {
    let link = Link {
        address: "a-0:6379".into(),
        up: true,
        copy_percent: 100,
        primary_position: position,
        silent_milliseconds: 10,
    };
    let report = Report {
        role: Role::Follower.into(),
        epoch,
        known_epoch: epoch,
        durable_position: position,
        durable_epoch: epoch,
        link: Some(link),
        ..Report::default()
    };
    answering(pod, report)
}

fn standby(pod: &str, epoch: u64, position: u64) -> Member {
    let report = Report {
        role: Role::Standby.into(),
        epoch,
        known_epoch: epoch,
        durable_position: position,
        durable_epoch: epoch,
        ..Report::default()
    };
    answering(pod, report)
}

fn answering(pod: &str, report: Report) -> Member {
    let address = Some(format!("{pod}:6379"));
    Member { pod: pod.into(), address, ready: true, report: Some(report), ..Member::default() }
}

fn silent(pod: &str, milliseconds: u64) -> Member {
    let silent = Duration::from_millis(milliseconds);
    Member { pod: pod.into(), silent, unrenewed: silent, ..Member::default() }
}

/// A follower that hears nothing of its primary.
fn cut(mut member: Member) -> Member {
    let report = member.report.as_mut().unwrap();
    report.link.as_mut().unwrap().up = false;
    member
}

fn fenced(mut member: Member, epoch: u64) -> Member {
    member.report.as_mut().unwrap().known_epoch = epoch;
    cut(member)
}

struct Case<'a> {
    group: &'a Group,
    grant: Option<&'a Grant>,
    was_granted: bool,
    transition: Option<&'a Transition>,
    leave_primary: bool,
    replaced: Option<&'a str>,
}

impl<'a> Case<'a> {
    fn of(group: &'a Group, grant: Option<&'a Grant>) -> Self {
        let was_granted = grant.is_some();
        let (leave_primary, replaced) = (false, None);
        Self { group, grant, was_granted, transition: None, leave_primary, replaced }
    }

    fn decide(&self, members: &[Member]) -> Step {
        let Case { group, grant, was_granted, transition, leave_primary, replaced } = *self;
        decide(&View { group, grant, was_granted, members, transition, leave_primary, replaced })
    }
}

fn granted(to: &str, epoch: u64, failover: bool) -> Step {
    Step::Grant { to: to.into(), epoch, failover }
}

#[test]
fn the_first_primary_is_the_first_pod_unless_another_already_writes() {
    let group = group(1, 0, Policy::NoLoss);
    let new = Case::of(&group, None);
    assert!(matches!(new.decide(&[standby("a-1", 0, 0)]), Step::Wait { .. }));
    assert_eq!(new.decide(&[standby("a-0", 0, 0)]), granted("a-0", 1, false));
    let alone = primary("a-0", 4, 90, &[]);
    assert_eq!(new.decide(&[alone, standby("a-1", 0, 0)]), granted("a-0", 5, false));
}

#[test]
fn nobody_is_primary_before_the_first_pod_was_recovered() {
    let group = group(1, 1, Policy::AllowLoss);
    let new = Case::of(&group, None);
    for (word, reason) in
        [("Recovering", Reason::Recovering), ("RecoveryFailed", Reason::RecoveryFailed)]
    {
        let mut first = standby("a-0", 0, 0);
        first.report.as_mut().unwrap().reason = word.into();
        let step = new.decide(&[first, standby("a-1", 0, 0)]);
        assert!(matches!(&step, Step::Wait { reason: said, .. } if *said == reason), "{step:?}");
    }
    let first = standby("a-0", 0, 90);
    assert_eq!(new.decide(&[first, standby("a-1", 0, 0)]), granted("a-0", 1, false));
}

#[test]
fn a_follower_that_has_copied_nothing_yet_does_not_take_over() {
    let grant = grant("a-0", 3);
    for policy in [Policy::NoLoss, Policy::AllowLoss] {
        let group = group(1, 1, policy);
        let case = Case::of(&group, Some(&grant));
        let decide = |copied: bool| {
            let mut follower = cut(follower("a-1", 3, 0));
            let link = follower.report.as_mut().unwrap().link.as_mut().unwrap();
            (link.copy_percent, link.primary_position) = (if copied { 100 } else { 40 }, 0);
            case.decide(&[silent("a-0", 5000), follower])
        };
        assert!(matches!(decide(false), Step::Blocked { .. }), "{policy:?}");
        assert!(matches!(decide(true), Step::FenceFollowers { .. }), "there was nothing to copy");
    }
}

/// A member that says whether it ever had all of its primary's data.
fn says(mut member: Member, whole: bool) -> Member {
    member.report.as_mut().unwrap().whole = Some(whole);
    member
}

#[test]
fn a_follower_with_a_part_of_the_data_is_as_good_as_none() {
    let grant = grant("a-0", 3);
    let kind = Kind::Failover { fenced: vec!["a-1".into(), "a-2".into()] };
    let change = Transition { epoch: 4, kind, waited: LEASE };
    for (policy, needed) in [(Policy::NoLoss, 2), (Policy::AllowLoss, 1)] {
        let group = group(2, 1, policy);
        let case = Case { transition: Some(&change), ..Case::of(&group, Some(&grant)) };
        let decide = |whole: [bool; 2]| {
            // The one with more has a part only.
            let one = says(fenced(follower("a-1", 3, 90), 4), whole[0]);
            let two = says(fenced(follower("a-2", 3, 9), 4), whole[1]);
            case.decide(&[silent("a-0", 5000), one, two])
        };
        assert!(matches!(decide([false, false]), Step::Blocked { .. }), "{policy:?}");
        let one_of_two = decide([false, true]);
        match needed {
            1 => assert_eq!(one_of_two, granted("a-2", 4, true)),
            _ => assert!(matches!(one_of_two, Step::Blocked { .. }), "{one_of_two:?}"),
        }
        assert_eq!(decide([true, true]), granted("a-1", 4, true), "{policy:?}");
    }
}

#[test]
fn in_a_group_that_was_never_written_who_followed_once_takes_over() {
    let (group, grant) = (group(1, 1, Policy::NoLoss), grant("a-0", 3));
    let case = Case::of(&group, Some(&grant));
    // It was restarted since, and does not know of its primary what it knew then.
    let decide = |whole| case.decide(&[silent("a-0", 5000), says(standby("a-1", 3, 0), whole)]);
    assert!(matches!(decide(true), Step::FenceFollowers { .. }));
    assert!(matches!(decide(false), Step::Blocked { .. }), "its volume may have been lost");
}

#[test]
fn a_holder_without_data_of_the_group_goes_on_only_when_nobody_has_any() {
    let (group, grant) = (group(2, 1, Policy::NoLoss), grant("a-0", 3));
    let case = Case::of(&group, Some(&grant));
    let promote = Step::Promote { to: "a-0".into(), epoch: 3 };
    // Filled again from an archive, which is older than what the followers have.
    for position in [0, 50] {
        let mut holder = says(standby("a-0", 0, position), false);
        holder.report.as_mut().unwrap().durable_epoch = 0;
        let decide = |others: [Member; 2]| case.decide(&[&[holder.clone()], &others[..]].concat());
        let empty = |pod| says(follower(pod, 3, 0), false);
        assert_eq!(decide([empty("a-1"), empty("a-2")]), promote);
        let unheard = decide([empty("a-1"), silent("a-2", 9000)]);
        assert!(matches!(unheard, Step::Wait { .. }), "a-2 may have data: {unheard:?}");
        let part = decide([says(follower("a-1", 3, 9), false), empty("a-2")]);
        assert!(matches!(part, Step::Blocked { .. }), "{part:?}");
        let whole = [follower("a-1", 3, 9), follower("a-2", 3, 9)].map(|one| says(one, true));
        assert!(matches!(decide(whole), Step::FenceFollowers { .. }));
    }
}

#[test]
fn a_lost_grant_goes_to_nobody_with_a_part_of_the_data() {
    let group = group(1, 0, Policy::NoLoss);
    let lost = Case { was_granted: true, ..Case::of(&group, None) };
    let part = || says(standby("a-0", 4, 80), false);
    let decide = |other| lost.decide(&[part(), other]);
    assert_eq!(decide(says(standby("a-1", 3, 70), true)), granted("a-1", 5, false));
    assert!(matches!(decide(says(standby("a-1", 0, 0), false)), Step::Blocked { .. }));
    let empty = |pod| says(standby(pod, 0, 0), false);
    assert!(matches!(lost.decide(&[empty("a-0"), empty("a-1")]), Step::Grant { .. }));
}

#[test]
fn a_lost_grant_is_given_anew_only_when_all_pods_were_heard() {
    let group = group(1, 0, Policy::NoLoss);
    let lost = Case { was_granted: true, ..Case::of(&group, None) };
    let (old, new) = (standby("a-0", 3, 80), standby("a-1", 4, 70));
    assert!(matches!(lost.decide(std::slice::from_ref(&old)), Step::Blocked { .. }));
    assert_eq!(lost.decide(&[old, new]), granted("a-1", 5, false), "a later epoch has more");
}

#[test]
fn in_peace_only_those_astray_are_told_whom_to_follow() {
    let (group, grant) = (group(2, 0, Policy::NoLoss), grant("a-0", 3));
    let case = Case::of(&group, Some(&grant));
    let all = [primary("a-0", 3, 9, &["a-1"]), follower("a-1", 3, 9), follower("a-2", 2, 5)];
    assert_eq!(case.decide(&all), Step::Steady { follow: vec!["a-2".into()] });
}

#[test]
fn a_primary_that_came_back_after_its_followers_were_fenced_goes_on_above_the_fence() {
    let (group, grant) = (group(1, 1, Policy::NoLoss), grant("a-0", 3));
    let case = Case::of(&group, Some(&grant));
    let members = [primary("a-0", 3, 9, &[]), fenced(follower("a-1", 3, 9), 4)];
    assert_eq!(case.decide(&members), granted("a-0", 5, false));
}

#[test]
fn a_wish_a_drain_and_a_roll_move_the_primary_to_a_follower_in_sync() {
    let (mut group, grant) = (group(2, 0, Policy::NoLoss), grant("a-0", 3));
    let all = [primary("a-0", 3, 9, &["a-1"]), follower("a-1", 3, 9), follower("a-2", 3, 7)];
    let hand_over = Step::HandOver { from: "a-0".into(), to: "a-1".into(), epoch: 4 };
    let roll = Case { leave_primary: true, ..Case::of(&group, Some(&grant)) };
    assert_eq!(roll.decide(&all), hand_over);
    let mut drained = all.clone();
    drained[0].terminating = true;
    assert_eq!(Case::of(&group, Some(&grant)).decide(&drained), hand_over);
    let mut unready = all.clone();
    unready[1].ready = false;
    let stays = Step::Steady { follow: vec![] };
    assert_eq!(roll.decide(&unready), stays, "its Service would lead nowhere");
    unready[0].terminating = true;
    assert_eq!(roll.decide(&unready), hand_over, "that of a pod that ends would as well");
    group.wished = Some("a-1".into());
    assert_eq!(Case::of(&group, Some(&grant)).decide(&all), hand_over);
    let replaced = Case { replaced: Some("a-1"), ..Case::of(&group, Some(&grant)) };
    assert_eq!(replaced.decide(&all), stays, "it would have to hand over again at once");
    unready[0].terminating = false;
    assert_eq!(Case::of(&group, Some(&grant)).decide(&unready), stays, "nor where it is wished");
    group.wished = Some("a-2".into());
    assert_eq!(Case::of(&group, Some(&grant)).decide(&all), stays, "a-2 is not in sync yet");
    group.wished = None;
    group.pods = vec!["a-1".into(), "a-2".into()];
    assert_eq!(Case::of(&group, Some(&grant)).decide(&all), hand_over, "the spec has fewer pods");
}

#[test]
fn a_hand_over_is_not_given_back_to_a_primary_that_lost_its_data_meanwhile() {
    let (group, grant) = (group(1, 1, Policy::NoLoss), grant("a-0", 3));
    let kind = Kind::HandOver { to: "a-1".into(), position: 10 };
    let change = Transition { epoch: 4, kind, waited: HAND_OVER_MAX };
    for known_epoch in [3, 4] {
        let mut empty = standby("a-0", 0, 0);
        let report = empty.report.as_mut().unwrap();
        (report.whole, report.known_epoch) = (Some(false), known_epoch);
        for transition in [None, Some(&change)] {
            let case = Case { transition, ..Case::of(&group, Some(&grant)) };
            let alone = case.decide(&[empty.clone(), silent("a-1", 9000)]);
            assert!(matches!(alone, Step::Wait { .. }), "{alone:?}");
            let other = case.decide(&[empty.clone(), cut(follower("a-1", 3, 9))]);
            assert!(matches!(other, Step::FenceFollowers { .. }), "{other:?}");
        }
    }
}

#[test]
fn a_hand_over_waits_for_the_last_position_and_is_given_up_in_the_end() {
    let (group, grant) = (group(1, 0, Policy::NoLoss), grant("a-0", 3));
    let kind = Kind::HandOver { to: "a-1".into(), position: 10 };
    let mut change = Transition { epoch: 4, kind, waited: Duration::ZERO };
    let mut old = primary("a-0", 3, 10, &["a-1"]);
    old.report.as_mut().unwrap().role = Role::Fenced.into();
    old.report.as_mut().unwrap().known_epoch = 4;
    let decide = |change: &Transition, new: Member| {
        let case = Case { transition: Some(change), ..Case::of(&group, Some(&grant)) };
        case.decide(&[old.clone(), new])
    };
    assert!(matches!(decide(&change, follower("a-1", 3, 9)), Step::Wait { .. }));
    assert_eq!(decide(&change, follower("a-1", 3, 10)), granted("a-1", 4, false));
    assert_eq!(decide(&change, silent("a-1", 100)), granted("a-0", 5, false));
    change.waited = HAND_OVER_MAX;
    assert_eq!(decide(&change, follower("a-1", 3, 9)), granted("a-0", 5, false));
    let forgotten = Case::of(&group, Some(&grant)).decide(&[old.clone(), follower("a-1", 3, 9)]);
    assert_eq!(forgotten, granted("a-0", 5, false), "another operator lets the old one go on");
}

#[test]
fn a_restarted_holder_takes_up_its_role_and_a_granted_one_is_promoted() {
    let (group, grant) = (group(1, 0, Policy::NoLoss), grant("a-1", 4));
    let case = Case::of(&group, Some(&grant));
    let others = || follower("a-0", 3, 9);
    assert!(matches!(case.decide(&[others(), standby("a-1", 4, 9)]), Step::Wait { .. }));
    let not_yet = fenced(follower("a-1", 3, 9), 4);
    let promote = Step::Promote { to: "a-1".into(), epoch: 4 };
    assert_eq!(case.decide(&[others(), not_yet]), promote);
    let empty = case.decide(&[others(), standby("a-1", 0, 0)]);
    assert!(matches!(empty, Step::Blocked { .. }), "its volume is gone: {empty:?}");
}

#[test]
fn a_lost_primary_is_replaced_as_the_policy_says() {
    let grant = grant("a-0", 3);
    let members = [silent("a-0", 5000), cut(follower("a-1", 3, 9))];
    let decide = |group: &Group, transition: Option<&Transition>, members: &[Member]| {
        Case { transition, ..Case::of(group, Some(&grant)) }.decide(members)
    };
    let fence = Step::FenceFollowers { pods: vec!["a-1".into()], epoch: 4 };
    for (policy, synchronous) in [(Policy::AllowLoss, 0), (Policy::NoLoss, 1)] {
        let group = group(1, synchronous, policy);
        assert_eq!(decide(&group, None, &members), fence);
        let kind = Kind::Failover { fenced: vec!["a-1".into()] };
        let mut change = Transition { epoch: 4, kind, waited: Duration::ZERO };
        let members = [silent("a-0", 6000), fenced(follower("a-1", 3, 9), 4)];
        assert!(matches!(decide(&group, Some(&change), &members), Step::Wait { .. }));
        change.waited = LEASE;
        assert_eq!(decide(&group, Some(&change), &members), granted("a-1", 4, true));
    }
    for (policy, synchronous) in [(Policy::NoLoss, 0), (Policy::Manual, 1), (Policy::Fenced, 1)] {
        let group = group(1, synchronous, policy);
        assert!(matches!(decide(&group, None, &members), Step::Blocked { .. }));
    }
}

#[test]
fn the_lease_is_waited_out_from_when_the_primary_was_last_heard() {
    let (group, grant) = (group(2, 1, Policy::NoLoss), grant("a-0", 3));
    let kind = Kind::Failover { fenced: vec!["a-1".into(), "a-2".into()] };
    let change = Transition { epoch: 4, kind, waited: Duration::ZERO };
    let case = Case { transition: Some(&change), ..Case::of(&group, Some(&grant)) };
    let decide = |operator: u64, followers: [u64; 2]| {
        let follower = |(pod, silent)| {
            let mut member = cut(fenced(follower(pod, 3, 9), 4));
            let link = member.report.as_mut().and_then(|report| report.link.as_mut());
            link.unwrap().silent_milliseconds = silent;
            member
        };
        let [one, two] = [("a-1", followers[0]), ("a-2", followers[1])].map(follower);
        case.decide(&[silent("a-0", operator), one, two])
    };
    let is_granted = |step: Step| matches!(step, Step::Grant { failover: true, .. });
    assert!(is_granted(decide(3100, [3100, 3100])), "nobody can have confirmed it");
    for (operator, followers) in [(3000, [9000, 9000]), (9000, [9000, 3000]), (9000, [10, 9000])] {
        let step = decide(operator, followers);
        assert!(matches!(step, Step::Wait { reason: Reason::NoPrimary, .. }), "{step:?}");
    }
}

#[test]
fn a_primary_that_followers_hear_or_that_is_silent_for_a_moment_is_not_lost() {
    let (group, grant) = (group(1, 0, Policy::AllowLoss), grant("a-0", 3));
    let case = Case::of(&group, Some(&grant));
    let heard = case.decide(&[silent("a-0", 60_000), follower("a-1", 3, 9)]);
    assert!(matches!(heard, Step::Wait { reason: Reason::Unreachable, .. }), "{heard:?}");
    let moment = case.decide(&[silent("a-0", 300), cut(follower("a-1", 3, 9))]);
    assert!(matches!(moment, Step::Wait { reason: Reason::NoPrimary, .. }), "{moment:?}");
    let mut unheard = cut(follower("a-1", 3, 9));
    unheard.report.as_mut().unwrap().link.as_mut().unwrap().silent_milliseconds = 2500;
    let lost = case.decide(&[silent("a-0", 300), unheard]);
    assert!(matches!(lost, Step::FenceFollowers { .. }), "its followers know: {lost:?}");
}

#[test]
fn who_was_told_goodbye_takes_over_at_once_whatever_is_synchronous() {
    let (group, grant) = (group(2, 0, Policy::NoLoss), grant("a-0", 3));
    let mut told = cut(follower("a-2", 3, 12));
    told.report.as_mut().unwrap().completed_epoch = 3;
    let members = [cut(follower("a-1", 3, 11)), told];
    let case = Case::of(&group, Some(&grant));
    assert_eq!(case.decide(&members), granted("a-2", 4, true));
}

#[test]
fn a_minority_of_followers_is_not_enough() {
    let (group, grant) = (group(3, 2, Policy::NoLoss), grant("a-0", 3));
    let case = Case::of(&group, Some(&grant));
    let members = [silent("a-0", 9000), cut(follower("a-1", 3, 9)), silent("a-2", 9000)];
    assert!(matches!(case.decide(&members), Step::Blocked { .. }));
    let members = [silent("a-0", 9000), cut(follower("a-1", 3, 9)), cut(follower("a-2", 3, 8))];
    assert!(matches!(case.decide(&members), Step::FenceFollowers { .. }));
}

#[test]
fn where_the_journal_is_carried_any_pod_takes_over_without_loss() {
    let group = carried(2);
    let grant = grant("a-0", 5);
    let lost = silent("a-0", 10_000);
    // The one that is furthest, although it has a part only.
    let others =
        [says(cut(follower("a-1", 5, 7)), false), says(cut(standby_with_link("a-2", 5, 3)), false)];
    let case = Case::of(&group, Some(&grant));
    let members: Vec<Member> = std::iter::once(lost.clone()).chain(others.clone()).collect();
    let fence = Step::FenceFollowers { pods: vec!["a-1".into(), "a-2".into()], epoch: 6 };
    assert_eq!(case.decide(&members), fence);
    let kind = Kind::Failover { fenced: vec!["a-1".into(), "a-2".into()] };
    let transition = Transition { epoch: 6, kind, waited: LEASE };
    let case = Case { transition: Some(&transition), ..case };
    let fenced: Vec<Member> =
        std::iter::once(lost).chain(others.map(|other| fenced(other, 6))).collect();
    assert_eq!(case.decide(&fenced), granted("a-1", 6, true));
}

/// A pod that was told nothing yet.
fn standby_with_link(pod: &str, epoch: u64, position: u64) -> Member {
    let mut member = follower(pod, epoch, position);
    member.report.as_mut().unwrap().role = Role::Standby.into();
    member
}

#[test]
fn where_the_journal_is_carried_nobody_waits_for_data() {
    let group = carried(2);
    let grant = grant("a-0", 5);
    let case = Case::of(&group, Some(&grant));
    // It lost its volume and others have everything: it takes what is carried.
    let bare = says(standby("a-0", 0, 0), false);
    let members = [bare, follower("a-1", 5, 9)];
    assert_eq!(case.decide(&members), Step::Promote { to: "a-0".into(), epoch: 5 });
    // Its epoch was used by another owner: a higher one helps.
    let mut used = says(standby("a-0", 0, 0), false);
    used.report.as_mut().unwrap().known_epoch = 6;
    assert_eq!(case.decide(&[used]), granted("a-0", 7, false));
    // The grant is gone: whoever answers will do.
    let gone = Case { was_granted: true, ..Case::of(&group, None) };
    let members = [silent("a-0", 9000), says(standby("a-1", 3, 9), false)];
    assert_eq!(gone.decide(&members), granted("a-1", 4, false));
}
