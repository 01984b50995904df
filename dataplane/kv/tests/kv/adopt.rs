//! A real `redis-server` that is taken over: the same keys, whatever is done to them meanwhile.

#[path = "adopt/tls.rs"]
mod tls;

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::process::{Client, Engine, Value, bulk, ok};
use crate::replica::{Redis, run_some};
use crate::replication::group::{content, content_of, eventually, report};

/// A folder in which an engine follows that Redis.
fn following(redis: &Redis, more: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = Engine::prepare("snapshotAfterBytes: 50000\n");
    set_secret(folder.path(), &redis.address(), more);
    folder
}

fn set_secret(folder: &Path, address: &str, more: &[(&str, &str)]) {
    let secret = folder.join("adopt");
    std::fs::create_dir_all(&secret).expect("writable");
    for (key, value) in [("address", address)].iter().chain(more) {
        std::fs::write(secret.join(key), value).expect("writable");
    }
}

/// Waits until everything the source has is here and on disk.
fn catch_up(redis: &Redis, engine: &Engine, number: usize) {
    let mut client = redis.client();
    client.run("SELECT 0");
    assert_eq!(client.run(&format!("SET last {number}")), ok());
    eventually("it catches up", || {
        let report = report(engine);
        let link = report.link.filter(|link| link.up && link.copy_percent == 100)?;
        (report.ready && report.figures["source_lag_bytes"] == 0 && link.primary_position > 0)
            .then_some(())?;
        (engine.client().run("GET last") == bulk(&number.to_string())).then_some(())
    });
}

/// Values of every shape the source may have packed, some of them large.
fn fill(client: &mut Client, random: &mut StdRng) {
    let text = "orrery ".repeat(2000);
    let text = text.replace(' ', "_");
    assert_eq!(client.run(&format!("SET compressed {text}")), ok());
    assert_eq!(client.run("SET number -123456"), ok());
    for n in 0..600 {
        client.run(&format!("RPUSH longlist element{n}"));
        client.run(&format!("SADD numbers {}", random.random_range(-70_000..70_000)));
        client.run(&format!("SADD words word{n}"));
        client.run(&format!("HSET bighash field{n} value{n}"));
    }
    client.run("HSET smallhash a 1 b two");
    client.run("RPUSH shortlist 1 two 3");
    assert_eq!(client.run("SET session 1 PX 3600000"), ok());
    client.run("SELECT 5");
    assert_eq!(client.run("SET elsewhere 1"), ok());
    client.run("SELECT 0");
}

#[test]
fn a_redis_is_taken_over_while_it_is_written_to_and_goes_on_here() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let Some(redis) = Redis::serve(&[]) else { return };
    fill(&mut redis.client(), &mut random);
    run_some(&mut redis.client(), &mut random, 300);
    let mut engine = Engine::begin_in(following(&redis, &[]));
    for round in 0..4 {
        let mut client = redis.client();
        run_some(&mut client, &mut random, 300);
        // Deadlines that pass while the command is on its way are the source's business.
        for n in 0..50 {
            client.run(&format!("SET brief{n} 1 PX {}", random.random_range(1..40)));
            client.run(&format!("PERSIST brief{}", random.random_range(0..50)));
            client.run(&format!("INCR brief{n}"));
        }
        if round == 2 {
            engine = Engine::begin_in(engine.kill());
        }
        catch_up(&redis, &engine, round);
        eventually("all that is brief has passed", || {
            // Both hide what has passed; what is left may not differ.
            (content_of(&mut redis.client()) == content(&engine)).then_some(())
        });
    }
    let mut reader = engine.client();
    let refused = reader.run("SET mine 1").text();
    assert_eq!(refused, "READONLY You can't write against a read only replica.");
    let info = reader.run("INFO replication").text();
    assert!(info.contains("role:slave") && info.contains("master_link_status:up"), "{info}");
    let of_source = redis.client().run("INFO replication").text();
    assert!(of_source.contains("connected_slaves:1"), "{of_source}");

    // Told to go on alone: what it was told is on its own disk.
    let all = content(&engine);
    let folder = engine.kill();
    std::fs::remove_dir_all(folder.path().join("adopt")).expect("it is there");
    drop(redis);
    let engine = Engine::start_in(folder);
    assert_eq!(content(&engine), all);
    assert_eq!(engine.client().run("SET mine 1"), ok());
    assert!(report(&engine).writable && report(&engine).link.is_none());
}

#[test]
fn what_is_not_supported_is_named_and_harms_nothing() {
    let Some(redis) = Redis::serve(&[]) else { return };
    let mut client = redis.client();
    client.run("SET plain 1");
    client.run("ZADD ranking 1 one");
    let engine = Engine::begin_in(following(&redis, &[]));
    let failing = |name: &str| {
        eventually("it says why", || {
            let report = report(&engine);
            (report.reason == "AdoptionFailing" && report.message.contains(name)).then_some(report)
        })
    };
    assert!(!failing("ranking").ready, "nothing was taken over yet");
    client.run("DEL ranking");
    catch_up(&redis, &engine, 1);
    assert_eq!(engine.client().run("GET plain"), bulk("1"));
    // Later, it goes on serving what it has.
    client.run("ZADD scores 1 one");
    let later = failing("scores");
    assert!(later.ready && later.message.to_lowercase().contains("zadd"), "{}", later.message);
    assert_eq!(engine.client().run("GET plain"), bulk("1"));
    client.run("DEL scores");
    catch_up(&redis, &engine, 2);
    eventually("the trouble is over", || report(&engine).reason.is_empty().then_some(()));
}

#[test]
fn the_half_of_an_image_is_never_served() {
    let Some(redis) = Redis::serve(&[]) else { return };
    let mut client = redis.client();
    for n in 0..3000 {
        client.run(&format!("SET key{n} {}", "x".repeat(200)));
    }
    let mut folder = following(&redis, &[]);
    let mut refused = 0;
    for wait_ms in 0..12 {
        let engine = Engine::begin_in(folder);
        std::thread::sleep(std::time::Duration::from_millis(wait_ms * 25));
        folder = engine.kill();
        let was_half = folder.path().join("data/adopting").exists();
        std::fs::rename(folder.path().join("adopt"), folder.path().join("away")).expect("movable");
        let engine = Engine::begin_in(folder);
        if was_half {
            let (code, left) = engine.wait_for_end();
            assert_ne!(code, Some(0), "it refuses to serve");
            (folder, refused) = (left, refused + 1);
        } else {
            // Nothing, or everything.
            let keys = engine.client().run("DBSIZE").text();
            assert!(keys == "0" || keys == "3000", "{keys} keys");
            folder = engine.kill();
        }
        std::fs::rename(folder.path().join("away"), folder.path().join("adopt")).expect("movable");
    }
    println!("{refused} of 12 were killed within an image");
    let engine = Engine::begin_in(folder);
    catch_up(&redis, &engine, 1);
    assert_eq!(engine.client().run("DBSIZE"), Value::Integer(3001));
}

#[test]
fn a_source_with_a_password_and_one_that_is_not_there() {
    let Some(redis) = Redis::serve(&["--requirepass", "hunter2"]) else { return };
    let folder = following(&redis, &[("password", "wrong")]);
    let engine = Engine::begin_in(folder);
    let refused = eventually("it is refused", || {
        let report = report(&engine);
        // Before it listens, connections are refused.
        let is_refused = report.reason == "AdoptionFailing" && report.message.contains("AUTH");
        is_refused.then_some(report)
    });
    assert!(!refused.message.contains("wrong"), "{refused:?}");
    // A new Secret is read at the next attempt.
    set_secret(engine.folder.path(), &redis.address(), &[("password", "hunter2")]);
    let mut client = redis.client();
    assert_eq!(client.run("AUTH hunter2"), ok());
    assert_eq!(client.run("SET a 1"), ok());
    eventually("it is here", || (engine.client().run("GET a") == bulk("1")).then_some(()));
    drop(redis);
    eventually("the source is missed", || {
        let report = report(&engine);
        (report.ready && report.reason == "AdoptionFailing").then_some(())
    });
    assert_eq!(engine.client().run("GET a"), bulk("1"));
}
