//! A database of time zones that is replaced while the engine runs, and between two starts.

use std::path::Path;
use std::time::Duration;

use orrery_e2e_tests::clock;
use orrery_recurrence::Zones;
use serde_json::{Value, json};

use super::engine::{Engine, now, until};

const LIMIT: Duration = Duration::from_mins(1);

/// Puts the rules of one zone into a folder as those of Paris, as a whole or not at all.
fn write(folder: &Path, rules_of: &str) {
    let zone = Zones::bundled().get(rules_of).unwrap();
    std::fs::create_dir_all(folder.join("Europe")).unwrap();
    let half = folder.join("half");
    std::fs::write(&half, zone.tzif()).unwrap();
    std::fs::rename(half, folder.join("Europe/Paris")).unwrap();
}

/// The next noon in a zone.
fn noon(zone: &str, after: i64) -> i64 {
    let known = Zones::bundled().get(zone).unwrap();
    let zone = jiff::tz::TimeZone::tzif(zone, known.tzif()).unwrap();
    let after = jiff::Timestamp::from_second(after).unwrap().to_zoned(zone.clone());
    let noon = after.date().at(12, 0, 0, 0).to_zoned(zone).unwrap();
    let noon = if noon > after { noon } else { noon.tomorrow().unwrap() };
    noon.timestamp().as_second()
}

/// How the job is, as its object would show it.
fn state(engine: &Engine, jobs: &[(String, Value)]) -> Value {
    let answer = engine.declare(jobs);
    serde_json::from_slice(&answer.results[0].state).unwrap()
}

/// When the job fires next.
fn next(engine: &Engine, jobs: &[(String, Value)]) -> i64 {
    let state = state(engine, jobs);
    let at: jiff::Timestamp = state["nextTimes"][0].as_str().unwrap().parse().unwrap();
    at.as_second()
}

#[test]
fn other_rules_are_noticed_while_it_runs_and_when_it_starts() {
    let library = match clock::library() {
        Ok(library) => library,
        Err(why) => return println!("not run: {why}"),
    };
    let mut engine = Engine::new(2, "");
    clock::install(&library, engine.folder.path());
    let (one, other) = (engine.folder.path().join("one"), engine.folder.path().join("other"));
    write(&one, "Europe/Paris");
    write(&other, "America/New_York");
    engine.zones = Some(one.clone());
    let folder = engine.folder.path().to_owned();
    let job = json!({
        "when": {"cron": "0 12 * * *", "timeZone": "Europe/Paris"},
        "action": {"http": {"url": "http://127.0.0.1:9/"}},
    });
    let jobs = [("noon".to_owned(), job)];
    let begin = now();
    // Long before any noon, so that none comes while this goes on.
    let midnight = noon("Europe/Paris", begin) + 12 * 3600;
    clock::set(&folder, (midnight - begin) * 1_000_000_000);
    engine.start();
    assert_eq!(next(&engine, &jobs), noon("Europe/Paris", midnight));
    assert_eq!(state(&engine, &jobs).get("zoneChange"), None);
    write(&one, "Europe/London");
    // A minute later, by its clock.
    clock::set(&folder, (midnight + 61 - begin) * 1_000_000_000);
    until(LIMIT, "the rules of London", || next(&engine, &jobs) == noon("Europe/London", midnight));
    let change = state(&engine, &jobs)["zoneChange"].clone();
    let message = change["message"].as_str().unwrap().to_owned();
    let [comes, goes] =
        [("adds 99 runs", "Europe/London"), ("leaves out 100 runs", "Europe/Paris")].map(
            |(verb, zone)| {
                let first = jiff::Timestamp::from_second(noon(zone, midnight)).unwrap();
                let zone = Zones::bundled().get("Europe/London").unwrap();
                let offset =
                    jiff::tz::Offset::from_seconds(zone.offset_at(first.as_second())).unwrap();
                (verb, first.display_with_offset(offset).to_string())
            },
        );
    for (verb, first) in [comes, goes] {
        let said = format!("{verb}: {first}, ");
        assert!(message.contains(&said), "{said} is not in {message}");
    }
    let shown: Value = serde_json::from_str(&engine.get("/v1/jobs/noon").1).unwrap();
    assert_eq!(shown["note"].as_str(), Some(&*message), "the API says the same");
    // It is the same for whoever asks again, after a crash as well.
    engine.kill();
    engine.start();
    assert_eq!(state(&engine, &jobs)["zoneChange"], change);
    engine.kill();
    engine.zones = Some(other);
    engine.start();
    assert_eq!(next(&engine, &jobs), noon("America/New_York", midnight));
    assert_ne!(state(&engine, &jobs)["zoneChange"], change, "the newest counts");
    // It fires by the newest rules.
    let due = noon("America/New_York", midnight);
    clock::set(&folder, (due - 2 - now()) * 1_000_000_000);
    until(LIMIT, "it fired", || next(&engine, &jobs) > due);
    engine.stop();
    let changes: usize = engine.partitions().iter().map(|(state, _)| state.rules().len()).sum();
    assert_eq!(changes, 2);
    let verdict = engine.verify(begin, due + 60);
    assert!(verdict.is_clean() && verdict.launched == 1, "{verdict:?}");
}
