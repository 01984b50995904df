//! What a hundred objects that need nothing cost the operator's own process and the API server.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::kubernetes::Stage;

const OBJECTS: usize = 100;
/// So many of them run a data plane; the others sleep, with all their children but the pods.
const RUNNING: usize = 4;
/// Resident memory of a release build with all of them.
const RESIDENT_MIB_MAX: u64 = 80;
/// Length of one look at the request counters.
const WINDOW: Duration = Duration::from_secs(10);
/// Looks before the operator is said never to rest.
const WINDOWS_MAX: usize = 12;

/// Calls to the API server so far, watches included.
fn requests(http: u16) -> u64 {
    let metrics = get(http, "/metrics").expect("the operator answers");
    let samples = metrics.lines().filter(|line| line.starts_with("rest_client_requests_total"));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_objects_cost_the_operator_little_memory_and_no_requests() {
    let Some(stage) = Stage::new("at-rest").await else { return };
    let mut yaml = String::new();
    for number in 0..OBJECTS {
        let operation = if number < RUNNING { "Run" } else { "Hibernate" };
        writeln!(
            yaml,
            "---\napiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: c{number}}}\n\
             spec: {{operation: {operation}}}"
        )
        .expect("a string takes it");
    }
    stage.apply(&yaml).await;
    let ready = "-o=jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].reason}";
    stage
        .until(&["get", "kvclusters", ready], |text| {
            let asleep = text.split_whitespace().filter(|reason| *reason == "Hibernated").count();
            asleep == OBJECTS - RUNNING && text.split_whitespace().count() == OBJECTS
        })
        .await;
    for number in 0..RUNNING {
        let object = format!("kvcluster/c{number}");
        let path = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        stage.until(&["get", &object, path], |text| text == "True").await;
    }

    // A watch that the server ends is opened again: one request of a kind now and then is rest.
    let watches_at_most = 2;
    let mut windows = Vec::new();
    while windows.last().is_none_or(|sent| *sent > watches_at_most) {
        assert!(windows.len() < WINDOWS_MAX, "requests in each window: {windows:?}");
        let before = requests(stage.http);
        tokio::time::sleep(WINDOW).await;
        windows.push(requests(stage.http) - before);
    }

    let mib = stage.operator.resident_bytes() >> 20;
    eprintln!("operator with {OBJECTS} KVClusters: {mib} MiB; requests in windows: {windows:?}");
    let binary = orrery_e2e_tests::orrery_binary().expect("it was started");
    if binary.components().any(|part| part.as_os_str() == "release") {
        assert!(mib <= RESIDENT_MIB_MAX, "{mib} MiB resident");
    }
}
