//! Somebody is told of each overdue run until it was heard.

use serde_json::json;

use super::life::Life;
use crate::machine::notice::number_of;
use crate::run::Outcome;

/// A life with as many overdue runs as there are jobs, each of which runs so often.
fn overdue(jobs: usize, runs: u32) -> Life {
    let mut life = Life::new();
    for number in 0..jobs {
        let when = json!({"cron": "0 * * * *"});
        let spec = json!({"when": when, "limitRuns": runs, "finishWithinSeconds": 30});
        life.put(&format!("job-{number}"), spec);
    }
    life.pass(3600 + 31);
    life
}

fn told(life: &mut Life, run: u64, attempt: u32, outcome: &Outcome) {
    life.turn(|turn| turn.outcome(number_of(run), attempt, outcome).unwrap());
}

fn away() -> Outcome {
    Outcome::Failed { note: "away".to_owned() }
}

#[test]
fn an_overdue_run_is_told_once_and_forgotten_when_it_was_heard() {
    let mut life = overdue(1, 1);
    let [run] = life.told[..] else { panic!("one was told of: {:?}", life.told) };
    let notice = life.state.notice(run).unwrap();
    assert_eq!((&*notice.job, notice.finish_within_seconds), ("job-0", 30));
    assert_eq!(notice.launched_ms, notice.nominal * 1000);
    // It is told of although the run ends meanwhile, and the job is gone.
    life.end_all(&Outcome::Succeeded { note: String::new() });
    let id = life.state.named("job-0").unwrap().id;
    life.turn(|turn| turn.remove(id).unwrap());
    life.crash();
    assert!(life.state.notice(run).is_some());
    told(&mut life, run, 1, &Outcome::Succeeded { note: String::new() });
    assert_eq!(life.state.notices().count(), 0);
    life.crash();
    life.pass(7200);
    assert_eq!((life.state.notices().count(), life.told.len()), (0, 1));
}

#[test]
fn it_is_told_again_with_growing_pauses_and_given_up_after_a_day() {
    let mut life = overdue(1, 1);
    let run = life.told[0];
    let start_ms = life.now_ms;
    let mut seconds = vec![];
    while life.state.notice(run).is_some() {
        let attempt = life.told.len() as u32;
        // Refused as well: who refuses today may listen tomorrow.
        let refused = Outcome::Refused { note: "404".to_owned() };
        let outcome = if attempt.is_multiple_of(2) { away() } else { refused };
        told(&mut life, run, attempt, &outcome);
        while life.told.len() as u32 == attempt && life.state.notice(run).is_some() {
            life.pass(1);
        }
        seconds.push((life.now_ms - start_ms) / 1000);
        assert!(seconds.len() < 1000, "it never ends");
    }
    assert_eq!(seconds[..6], [1, 3, 7, 15, 31, 63]);
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] <= 300), "{seconds:?}");
    let last = *seconds.last().unwrap();
    assert!((86_300..86_800).contains(&last), "{last}");
    // An answer that comes late changes nothing.
    told(&mut life, run, 7, &Outcome::Succeeded { note: String::new() });
    life.crash();
}

#[test]
fn there_is_room_for_a_number_of_them_and_no_more() {
    let mut life = overdue(5, 2);
    assert_eq!((life.told.len(), life.state.notices().count()), (3, 3));
    let first = life.told[0];
    told(&mut life, first, 1, &Outcome::Succeeded { note: String::new() });
    // Launches do not wait for it.
    let before = life.all_sent.len();
    life.pass(3600);
    assert_eq!(life.all_sent.len(), before + 5);
    assert_eq!((life.told.len(), life.state.notices().count()), (4, 3));
}

#[test]
fn nobody_is_told_where_nobody_is_named() {
    let mut life = Life::new();
    life.bounds.notices_max = 0;
    life.put("job", json!({"when": {"cron": "0 * * * *"}, "finishWithinSeconds": 30}));
    life.pass(3600 + 31);
    assert!(life.state.named("job").unwrap().overdue);
    assert_eq!((life.told.len(), life.state.notices().count()), (0, 0));
}

#[test]
fn what_nobody_can_be_told_any_more_is_forgotten() {
    let mut life = overdue(1, 1);
    let run = life.told[0];
    told(&mut life, run, 1, &Outcome::Cancelled);
    assert_eq!(life.state.notices().count(), 0);
}
