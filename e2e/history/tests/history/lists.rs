//! Lists: every kind of anomaly is planted and found under its name, and what is right is accepted.

use orrery_history::lists::{Anomaly, Kind, Step, Transaction, anomalies};
use orrery_history::{Operation, Outcome};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::simulated::{self, Size};

/// `a1` appends 1 to list 0, `b2` appends 2 to list 1; `a[1 2]` reads list 0.
fn steps(text: &str) -> (Vec<Step>, Vec<Vec<u64>>) {
    let (mut steps, mut reads) = (vec![], vec![]);
    for word in text.split(", ") {
        let key = u32::from(word.as_bytes()[0] - b'a');
        if let Some(list) = word[1..].strip_prefix('[') {
            let numbers = list.trim_end_matches(']').split_whitespace();
            reads.push(numbers.map(|number| number.parse().expect("a number")).collect());
            steps.push(Step::Read { key });
        } else {
            let element = word[1..].parse().expect("a number");
            steps.push(Step::Append { key, element });
        }
    }
    (steps, reads)
}

fn done(times_us: [u64; 2], text: &str) -> Transaction {
    let (input, output) = steps(text);
    let outcome = Outcome::Done { returned_us: times_us[1], output };
    Operation { client: 1, invoked_us: times_us[0], input, outcome, may_be_old: false }
}

/// All at the same time.
fn at_once(texts: &[&str]) -> Vec<Transaction> {
    texts.iter().map(|text| done([0, 100], text)).collect()
}

/// One after the other.
fn in_turn(texts: &[&str]) -> Vec<Transaction> {
    let times = (0..).map(|number| [10 * number, 10 * number + 5]);
    times.zip(texts).map(|(times_us, text)| done(times_us, text)).collect()
}

fn kinds(history: &[Transaction]) -> Vec<Kind> {
    anomalies(history).iter().map(|anomaly| anomaly.kind).collect()
}

fn only(history: &[Transaction]) -> Anomaly {
    let [anomaly] = &anomalies(history)[..] else { panic!("{:?}", anomalies(history)) };
    anomaly.clone()
}

#[test]
fn histories_of_a_right_service_are_accepted() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let size = Size { clients: 5, operations: 40, keys: 3 };
        let history = simulated::lists(&mut random, size);
        assert_eq!(anomalies(&history), [], "seed {seed}");
    }
}

#[test]
fn garbage_duplicates_and_own_appends() {
    assert_eq!(only(&at_once(&["a1", "a[1 9]"])).kind, Kind::Garbage);
    assert!(kinds(&at_once(&["a1", "a2", "a[1 2 1]"])).contains(&Kind::Duplicate));
    assert_eq!(only(&at_once(&["a1, a[]"])).kind, Kind::Internal);
    assert!(kinds(&at_once(&["a1", "a[], a[1]"])).contains(&Kind::Internal));
    assert_eq!(kinds(&at_once(&["a1, a[1]", "a[1]"])), []);
}

#[test]
fn a_refused_append_that_is_read() {
    let mut history = at_once(&["a1", "a[1]"]);
    history[0].outcome = Outcome::Failed;
    let anomaly = only(&history);
    assert_eq!(anomaly.kind, Kind::AbortedRead);
    assert!(anomaly.text.contains("1 was refused, and is in 0"), "{anomaly}");
}

#[test]
fn the_middle_of_a_transaction() {
    let history = at_once(&["a1, a2", "a[1]", "a[1 2]"]);
    assert!(kinds(&history).contains(&Kind::IntermediateRead), "{:?}", kinds(&history));
}

#[test]
fn reads_that_do_not_fit_each_other() {
    let history = at_once(&["a1", "a2", "a[1 2]", "a[2]"]);
    assert_eq!(only(&history).kind, Kind::IncompatibleOrder);
}

#[test]
fn an_acknowledged_append_that_is_gone() {
    let found = anomalies(&in_turn(&["a1", "a2", "a[2]"]));
    assert_eq!(found[0].kind, Kind::Lost);
    assert!(found[0].text.contains("1 was acknowledged before, and is not in 0"), "{}", found[0]);
    // Also if nobody ever reads anything of that list.
    assert_eq!(kinds(&in_turn(&["a1", "a[]"]))[0], Kind::Lost);
}

#[test]
fn circles_are_found_under_their_names() {
    // T0 before T1 in one list, after it in the other.
    assert_eq!(only(&at_once(&["a1, b1", "a2, b2", "a[1 2]", "b[2 1]"])).kind, Kind::G0);
    assert_eq!(only(&at_once(&["a1, b[2]", "b2, a[1]"])).kind, Kind::G1c);
    // Half of a transaction is seen.
    let fractured = only(&at_once(&["a1, b1", "a[1], b[]", "b[1]"]));
    assert_eq!(fractured.kind, Kind::GSingle);
    let text = fractured.text;
    assert!(text.contains("T1 read 1 in 0, which T0 appended"), "{text}");
    assert!(text.contains("T1 read 1 without 1, which T0 appended"), "{text}");
    // Each wrote without seeing the other.
    let skew = at_once(&["a[], b1", "b[], a1", "a[1], b[1]"]);
    assert_eq!(only(&skew).kind, Kind::G2);
}

#[test]
fn circles_with_real_time_are_found_under_their_names() {
    // 2 was appended after 1 was acknowledged, and stands before it.
    let order = in_turn(&["a1", "a2", "a[2 1]"]);
    assert_eq!(only(&order).kind, Kind::G0RealTime);
    // Read before it was asked for.
    let early = in_turn(&["a[1]", "a1"]);
    assert_eq!(only(&early).kind, Kind::G1cRealTime);
    // A stale read, with the lists as they are later.
    let stale = in_turn(&["a1", "a[]", "a[1]"]);
    assert!(kinds(&stale).contains(&Kind::GSingleRealTime), "{:?}", kinds(&stale));
    let text = anomalies(&stale).pop().expect("it is there").text;
    assert!(text.contains("T0 was answered before T1 was asked for"), "{text}");
    let skew = [
        done([0, 30], "a1, b[]"),
        done([0, 10], "b1, c[]"),
        done([20, 30], "c1, a[]"),
        done([40, 50], "a[1], b[1], c[1]"),
    ];
    assert_eq!(only(&skew).kind, Kind::G2, "three that do not see each other");
    let skew = [
        done([0, 30], "a1, b[]"),
        done([0, 10], "b1"),
        done([20, 30], "a[]"),
        done([40, 50], "a[1], b[1]"),
    ];
    assert_eq!(only(&skew).kind, Kind::G2RealTime);
}

#[test]
fn old_reads_may_be_old_and_must_have_been_right() {
    let mut stale = in_turn(&["a1", "a[]", "a[1]"]);
    stale[1].may_be_old = true;
    assert_eq!(kinds(&stale), []);
    // Not half of something.
    let mut half = in_turn(&["a1, b1", "a[1], b[]", "a[1], b[1]"]);
    half[1].may_be_old = true;
    assert_eq!(only(&half).kind, Kind::GSingle);
    // One that appends cannot be old.
    let mut stale = in_turn(&["a1", "a[], b1", "a[1]"]);
    stale[1].may_be_old = true;
    assert!(kinds(&stale).contains(&Kind::GSingleRealTime));
}

#[test]
fn what_had_no_answer_happened_as_a_whole_or_not_at_all() {
    let with = |texts: &[&str]| {
        let mut history = in_turn(texts);
        history[0].outcome = Outcome::Unknown;
        kinds(&history)
    };
    assert_eq!(with(&["a1, b1", "a[], b[]"]), []);
    assert_eq!(with(&["a1, b1", "a[], b[]", "a[1], b[1]"]), []);
    assert_eq!(with(&["a1, b1", "a[1], b[]"]), [Kind::GSingle]);
}

/// One element less or an older list in one answer of a right history: seldom right by chance.
#[test]
fn spoiled_answers_are_found() {
    let (mut tried, mut found) = (0, 0);
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let size = Size { clients: 4, operations: 30, keys: 2 };
        let mut history = simulated::lists(&mut random, size);
        let at = random.next_u64() as usize % history.len();
        let Outcome::Done { output, .. } = &mut history[at].outcome else { continue };
        let Some(list) = output.iter_mut().find(|list| list.len() > 8) else { continue };
        match seed % 3 {
            0 => drop(list.remove(3)),
            1 => list.truncate(list.len() - 8),
            _ => list.swap(1, 2),
        }
        tried += 1;
        found += usize::from(!anomalies(&history).is_empty());
    }
    assert!(tried > 50, "{tried}");
    assert_eq!(found, tried);
}
