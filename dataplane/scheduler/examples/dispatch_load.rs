//! How many calls the dispatcher carries, and what one costs: to a server on loopback, and to the
//! sink.
//!
//! `cargo run --release -p orrery-scheduler --example dispatch_load -- [HTTP CALLS] [IN FLIGHT]`
//!
//! Server and dispatcher share the machine; the CPU of each is told apart by thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use orrery_scheduler::dispatch::{
    Action, Dispatcher, HttpAction, Options, Settled, SuccessCodes, Target, TargetName,
};
use orrery_scheduler::run::{Call, Outcome, RunId};

/// Requests that the server has answered.
static ANSWERED: AtomicUsize = AtomicUsize::new(0);

const HTTP_CALLS: usize = 100_000;
const SINK_CALLS: usize = 2_000_000;
const IN_FLIGHT: usize = 64;
/// Calls handed over at once, as a batch of launches is.
const BATCH: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |or: usize| arguments.next().map_or(Ok(or), |text| text.parse());
    let (http_calls, in_flight) = (argument(HTTP_CALLS)?, argument(IN_FLIGHT)?);
    let address = serve()?;
    for (what, path, calls) in [
        ("warm-up", "/", http_calls / 10),
        ("http, no body", "/", http_calls),
        ("http, 1 KiB", "/1k", http_calls),
    ] {
        let uri: Uri = format!("http://{address}{path}").parse()?;
        let body = if path == "/1k" { Bytes::from(vec![b'x'; 1_024]) } else { Bytes::new() };
        let action = HttpAction {
            target: TargetName::named("server"),
            method: Method::POST,
            uri,
            headers: HeaderMap::new(),
            body,
            status_uri: None,
            success: SuccessCodes::default(),
            timeout: Duration::from_secs(30),
        };
        let before = ANSWERED.load(Ordering::Relaxed);
        measure(what, Action::Http(action), calls, in_flight)?;
        let answered = ANSWERED.load(Ordering::Relaxed) - before;
        if answered != calls {
            return Err(format!("{answered} requests for {calls} calls").into());
        }
    }
    measure("sink", Action::Sink, SINK_CALLS, in_flight)
}

/// Keeps the dispatcher full until all calls are settled, and prints what it took.
fn measure(
    what: &str,
    action: Action,
    calls: usize,
    max_in_flight: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let (settled, batches) = channel::<Vec<Settled>>();
    let targets = vec![Target { max_in_flight, ..Target::new("server") }];
    let options = Options { allow_loopback: true, ..Options::default() };
    // The receiver lives until the dispatcher is stopped.
    let on_outcomes = move |batch| drop(settled.send(batch));
    let dispatcher = Dispatcher::start_batched(options, targets, on_outcomes)?;
    let action = Arc::new(action);
    let texts: [Arc<str>; 3] = ["billing/1767225600".into(), "billing".into(), "tenant".into()];
    let before = (Instant::now(), thread_cpu("dispatch"), thread_cpu("server"));
    let (mut sent, mut ended, mut batches_seen) = (0, 0, 0_u64);
    while ended < calls {
        while sent < calls && sent - ended < 16 * BATCH {
            let count = BATCH.min(calls - sent);
            dispatcher.hand_over((sent..sent + count).map(|n| call(n, &texts, &action)).collect());
            sent += count;
        }
        ended += take(&batches, &mut batches_seen)?;
    }
    let time = before.0.elapsed().as_secs_f64();
    let cpu = |name, before| (thread_cpu(name) - before) * 1e6 / calls as f64;
    println!(
        "{what:<14} {:>9.0} calls/s   dispatcher {:>6.2} us of CPU a call   server {:>6.2}   \
         {:.1} outcomes a batch",
        calls as f64 / time,
        cpu("dispatch", before.1),
        cpu("server", before.2),
        calls as f64 / batches_seen as f64,
    );
    dispatcher.stop(Duration::from_secs(5));
    Ok(())
}

fn take(
    batches: &Receiver<Vec<Settled>>,
    count: &mut u64,
) -> Result<usize, Box<dyn std::error::Error>> {
    let batch = batches.recv_timeout(Duration::from_secs(30))?;
    *count += 1;
    for Settled { run, outcome, .. } in &batch {
        if !matches!(outcome, Outcome::Succeeded { .. }) {
            return Err(format!("{run:?} ended as {outcome:?}").into());
        }
    }
    Ok(batch.len())
}

fn call(number: usize, [key, job, tenant]: &[Arc<str>; 3], action: &Arc<Action>) -> Call {
    Call {
        run: RunId { partition: 0, number: number as u64 },
        attempt: 1,
        key: Arc::clone(key),
        job: Arc::clone(job),
        tenant: Arc::clone(tenant),
        priority: 5,
        nominal: 1_767_225_600,
        planned_ms: number as i64,
        expires_ms: Some(i64::MAX),
        is_resumed: false,
        action: Arc::clone(action),
    }
}

/// A server of hyper on a thread of its own: what it costs is the server's and shown apart.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("server".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                tokio::spawn(async move {
                    let answer = async |_: Request| {
                        ANSWERED.fetch_add(1, Ordering::Relaxed);
                        Response::new(Body::empty())
                    };
                    let service = TowerToHyperService::new(Router::new().fallback(answer));
                    let builder = Builder::new(hyper_util::rt::TokioExecutor::new()).http1_only();
                    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
    })?;
    Ok(address)
}

/// Seconds of CPU that threads of a name have used (`/proc`, in ticks of 10 ms).
fn thread_cpu(name: &str) -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let mut ticks = 0;
    for task in tasks.flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        if head.ends_with(&format!("({name}")) {
            let fields: Vec<&str> = tail.split(' ').collect();
            let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
            ticks += field(11).unwrap_or(0) + field(12).unwrap_or(0);
        }
    }
    ticks as f64 / 100.0
}
