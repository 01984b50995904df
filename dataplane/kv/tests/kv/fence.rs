//! A service whose owner wants no writes.

use std::path::Path;

use orrery_operand::v1::ReportResponse;

use crate::process::{Client, Engine, Value, bulk, ok};
use crate::replication::group::{again, eventually, lead, promote, renew, report};

const REFUSED: &str = "READONLY this service is fenced: its spec.operation is Fence";

fn write(folder: &Path, text: &str) {
    let folder = folder.join("live");
    std::fs::create_dir_all(&folder).expect("writable");
    std::fs::write(folder.join("users.acl"), "").expect("writable");
    std::fs::write(folder.join("fenced"), text).expect("writable");
}

fn is_refused(client: &mut Client, command: &str) -> bool {
    client.run(command) == Value::Error(REFUSED.into())
}

fn until_it_says_so(engine: &Engine) -> ReportResponse {
    let said = eventually("it says so", || {
        let said = report(engine);
        (said.reason == "FencedBySpec").then_some(said)
    });
    assert!(said.ready && !said.writable, "{said:?}");
    said
}

#[test]
fn a_fenced_service_refuses_writes_until_its_owner_wants_them_again() {
    let folder = Engine::prepare("");
    write(folder.path(), "false");
    let engine = Engine::start_in(folder);
    let mut client = engine.client();
    assert_eq!(client.run("SET a x"), ok());
    assert_eq!(client.run("SET gone x PX 1"), ok());
    let mut begun = engine.client();
    assert_eq!(begun.run("MULTI"), ok());
    assert_eq!(begun.run("SET a z"), Value::Status("QUEUED".into()));
    write(engine.folder.path(), "true");
    eventually("it refuses writes", || is_refused(&mut client, "SET b y").then_some(()));
    assert!(is_refused(&mut client, "DEL a") && is_refused(&mut client, "FLUSHALL"));
    assert!(begun.run("EXEC").text().contains("this service is fenced"));
    assert_eq!(client.run("GET a"), bulk("x"), "reads go on");
    let position = until_it_says_so(&engine).durable_position;

    // From the first moment of the next run on, and nothing is written meanwhile, by expiry neither.
    let engine = Engine::start_in(engine.stop());
    let mut client = engine.client();
    assert!(is_refused(&mut client, "SET a y"));
    assert_eq!(client.run("GET a"), bulk("x"));
    assert_eq!(client.run("GET gone"), Value::Bulk(None));
    assert_eq!(until_it_says_so(&engine).durable_position, position);
    write(engine.folder.path(), "false");
    eventually("it takes writes again", || (client.run("SET a y") == ok()).then_some(()));
    assert_eq!(client.run("GET a"), bulk("y"));
    let said = report(&engine);
    assert_eq!((said.ready, said.writable, said.reason.as_str()), (true, true, ""));
}

#[test]
fn a_fence_outlasts_a_change_of_primary() {
    let member = || {
        let folder = Engine::prepare("group: true\n");
        write(folder.path(), "false");
        again(folder)
    };
    let (one, two) = (member(), member());
    lead(&[&one, &two], 1, (1, 1, 60_000));
    assert_eq!(one.client().run("SET a x"), ok());
    write(one.folder.path(), "true");
    write(two.folder.path(), "true");
    let mut client = one.client();
    eventually("it refuses writes", || is_refused(&mut client, "SET b y").then_some(()));
    until_it_says_so(&one);
    until_it_says_so(&two);
    let as_follower = two.client().run("SET a y");
    assert!(as_follower.text().starts_with("READONLY You can't write"), "{as_follower:?}");

    _ = one.stop();
    promote(&two, 2).expect("it obeys");
    renew(&two, 2, (1, 0, 60_000)).expect("it listens");
    until_it_says_so(&two);
    let mut client = two.client();
    assert!(is_refused(&mut client, "SET a y"));
    assert_eq!(client.run("GET a"), bulk("x"));
    write(two.folder.path(), "false");
    eventually("it takes writes again", || (client.run("SET a y") == ok()).then_some(()));
}
