//! Groups whose followers read along from the engine: nobody is waited for that the engine fences.

use super::*;

/// Two pods, one of which stands by.
fn tailed() -> Group {
    Group { tailed: true, ..carried(1) }
}

#[test]
fn a_lost_owner_is_replaced_at_once_and_without_a_fence() {
    let (group, grant) = (tailed(), grant("a-0", 3));
    let case = Case::of(&group, Some(&grant));
    let by = follower("a-1", 3, 90);
    let step = case.decide(&[silent("a-0", 1000), by.clone()]);
    assert_eq!(step, granted("a-1", 4, true));
    // One beat may be lost.
    let step = case.decide(&[silent("a-0", 500), by]);
    assert!(matches!(step, Step::Wait { reason: Reason::NoPrimary, .. }), "{step:?}");
    let step = case.decide(&[silent("a-0", 1000)]);
    assert!(matches!(step, Step::Wait { .. }), "nobody is there: {step:?}");
}

#[test]
fn one_that_left_in_order_is_replaced_without_a_wait() {
    let (group, grant) = (tailed(), grant("a-0", 3));
    let mut by = follower("a-1", 3, 90);
    by.report.as_mut().unwrap().completed_epoch = 3;
    let step = Case::of(&group, Some(&grant)).decide(&[silent("a-0", 0), by]);
    assert_eq!(step, granted("a-1", 4, true));
}

#[test]
fn nobody_takes_over_while_the_spec_says_fence() {
    let group = Group { policy: Policy::Fenced, ..tailed() };
    let grant = grant("a-0", 3);
    let step =
        Case::of(&group, Some(&grant)).decide(&[silent("a-0", 60_000), follower("a-1", 3, 90)]);
    assert!(matches!(step, Step::Blocked { .. }), "{step:?}");
}

#[test]
fn who_stands_by_is_in_sync_though_the_owner_does_not_know_of_it() {
    let (group, grant) = (tailed(), grant("a-0", 3));
    let mut case = Case::of(&group, Some(&grant));
    let members = [primary("a-0", 3, 90, &[]), follower("a-1", 3, 90)];
    assert_eq!(case.decide(&members), Step::Steady { follow: vec![] });
    let new = [primary("a-0", 3, 90, &[]), standby("a-1", 0, 0)];
    assert_eq!(case.decide(&new), Step::Steady { follow: vec!["a-1".into()] });
    case.leave_primary = true;
    let (from, to) = ("a-0".to_owned(), "a-1".to_owned());
    assert_eq!(case.decide(&members), Step::HandOver { from, to, epoch: 4 });
}
