//! Shards go home: when they may, and when not.

use super::*;

fn at_home_in(home: &str) -> Group {
    Group { shard: 3, home: Some(home.into()), ..group(1, 0, Policy::NoLoss) }
}

/// `a-1` is primary, and `a-0` follows it with all but the tail.
fn away_from_home() -> Vec<Member> {
    let mut follower = follower("a-0", 4, 90);
    let link = follower.report.as_mut().and_then(|report| report.link.as_mut());
    link.unwrap().address = "a-1:6379".into();
    vec![follower, primary("a-1", 4, 91, &["a-0"])]
}

fn goes(step: &Step) -> bool {
    matches!(step, Step::HandOver { from, to, epoch: 5 } if from == "a-1" && to == "a-0")
}

#[test]
fn a_shard_goes_home_as_soon_as_its_home_could_take_over() {
    let (group, grant) = (at_home_in("a-0"), grant("a-1", 4));
    let case = Case::of(&group, Some(&grant));
    assert!(goes(&case.decide(&away_from_home())));
    let steady = Step::Steady { follow: Vec::new() };
    for hinder in [
        (|home: &mut Member| home.ready = false) as fn(&mut Member),
        |home| home.terminating = true,
        |home| home.report.as_mut().unwrap().whole = Some(false),
    ] {
        let mut members = away_from_home();
        hinder(&mut members[0]);
        assert_eq!(case.decide(&members), steady);
    }
    let mut members = away_from_home();
    members[1] = primary("a-1", 4, 91, &[]);
    assert_eq!(case.decide(&members), steady, "it is behind");
    assert_eq!(case.decide(&members[1..]), steady, "it does not answer");
}

#[test]
fn a_shard_that_is_alone_or_at_home_stays() {
    let grant = grant("a-1", 4);
    for home in [None, Some("a-1".to_owned())] {
        let group = Group { home, ..at_home_in("a-1") };
        let step = Case::of(&group, Some(&grant)).decide(&away_from_home());
        assert_eq!(step, Step::Steady { follow: Vec::new() });
    }
}

#[test]
fn a_wish_of_the_user_comes_before_home() {
    let grant = grant("a-1", 4);
    let group = Group { wished: Some("a-1".into()), ..at_home_in("a-0") };
    let step = Case::of(&group, Some(&grant)).decide(&away_from_home());
    assert_eq!(step, Step::Steady { follow: Vec::new() });
    let group = Group { wished: Some("a-0".into()), ..at_home_in("a-1") };
    assert!(goes(&Case::of(&group, Some(&grant)).decide(&away_from_home())));
}

#[test]
fn a_shard_that_left_its_home_for_a_new_template_waits_until_home_is_new() {
    let group = at_home_in("a-0");
    let (at_home, left) = (grant("a-0", 3), grant("a-1", 4));
    let before = [primary("a-0", 3, 90, &["a-1"]), follower("a-1", 3, 90)];
    let leaving =
        Case { leave_primary: true, replaced: Some("a-0"), ..Case::of(&group, Some(&at_home)) };
    let step = leaving.decide(&before);
    assert!(matches!(step, Step::HandOver { to, .. } if to == "a-1"));
    // It has left, and the old home is in sync before it is replaced.
    let waiting = Case { replaced: Some("a-0"), ..Case::of(&group, Some(&left)) };
    assert_eq!(waiting.decide(&away_from_home()), Step::Steady { follow: Vec::new() });
    let done = Case::of(&group, Some(&left));
    assert!(goes(&done.decide(&away_from_home())));
}

#[test]
fn a_primary_that_must_leave_goes_home_first_if_it_can() {
    let pods: Vec<String> = (0..3).map(|n| format!("a-{n}")).collect();
    let group = Group { pods, followers: 2, ..at_home_in("a-0") };
    let grant = grant("a-1", 4);
    let mut members = away_from_home();
    members[1] = primary("a-1", 4, 91, &["a-0", "a-2"]);
    members.push(follower("a-2", 4, 91));
    let leaving =
        Case { leave_primary: true, replaced: Some("a-1"), ..Case::of(&group, Some(&grant)) };
    assert!(goes(&leaving.decide(&members)), "not to a-2, which is further");
}
