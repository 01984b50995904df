//! Probes of a container: when the next is due, what it found, and what follows from it.
//!
//! Differs from a kubelet in one thing: until the first success a probe is tried every quarter of
//! a second, so that tests do not wait for periods meant for production.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Between two tries before the first success.
const FIRST_PERIOD: Duration = Duration::from_millis(250);

/// As much of an answer as is read for its status line.
const STATUS_BYTES: usize = 64;

/// What a probe changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ready(bool),
    /// The container is to be killed and started again.
    Restart,
}

/// The probes of one run of a container.
#[derive(Debug)]
pub(super) struct Prober {
    startup: Option<Scheduled>,
    readiness: Option<Scheduled>,
    liveness: Option<Scheduled>,
}

impl Prober {
    /// Starts the clocks of the container's probes. `address` is the pod's.
    pub(super) fn start(container: &Container, address: &str) -> Self {
        let now = Instant::now();
        let scheduled = |probe: &Option<Probe>| {
            probe.as_ref().map(|probe| Scheduled::new(probe, container, address, now))
        };
        Self {
            startup: scheduled(&container.startup_probe),
            readiness: scheduled(&container.readiness_probe),
            liveness: scheduled(&container.liveness_probe),
        }
    }

    /// Whether the container counts as ready without being asked.
    pub(super) fn ready_at_once(&self) -> bool {
        self.startup.is_none() && self.readiness.is_none()
    }

    /// Probes when it is time, and returns when that changes something. Cancelling it loses at
    /// most a probe under way.
    pub(super) async fn next(&mut self) -> Verdict {
        loop {
            if let Some(startup) = &mut self.startup {
                match startup.next().await {
                    Some(true) => {
                        self.startup = None;
                        if self.readiness.is_none() {
                            return Verdict::Ready(true);
                        }
                    }
                    Some(false) => return Verdict::Restart,
                    None => {}
                }
                continue;
            }
            tokio::select! {
                changed = next_of(&mut self.readiness) => {
                    if let Some(ready) = changed {
                        return Verdict::Ready(ready);
                    }
                }
                changed = next_of(&mut self.liveness) => {
                    if changed == Some(false) {
                        return Verdict::Restart;
                    }
                }
            }
        }
    }
}

async fn next_of(probe: &mut Option<Scheduled>) -> Option<bool> {
    match probe {
        Some(probe) => probe.next().await,
        None => std::future::pending().await,
    }
}

/// One probe and how its tries went.
#[derive(Debug)]
struct Scheduled {
    action: Action,
    due: Instant,
    period: Duration,
    limit: Duration,
    counts: Counts,
}

impl Scheduled {
    fn new(probe: &Probe, container: &Container, address: &str, now: Instant) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.map_or(default, |value| u64::from(value.unsigned_abs())))
        };
        Self {
            action: Action::of(probe, container, address),
            due: now + seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds.filter(|period| *period > 0), 10),
            limit: seconds(probe.timeout_seconds.filter(|limit| *limit > 0), 1),
            counts: Counts::new(probe),
        }
    }

    /// Probes once when it is due. The answer is the new state when that changed.
    async fn next(&mut self) -> Option<bool> {
        sleep_until(self.due).await;
        let succeeded = timeout(self.limit, self.action.succeeds()).await.unwrap_or(false);
        let changed = self.counts.count(succeeded);
        let never = self.counts.state.is_none();
        let period = if never { self.period.min(FIRST_PERIOD) } else { self.period };
        // Failures before the first success count once a period, as a kubelet counts them.
        self.due = Instant::now() + period;
        self.counts.weight = period.as_secs_f64() / self.period.as_secs_f64();
        changed
    }
}

/// Successes and failures in a row against their thresholds.
#[derive(Debug)]
struct Counts {
    /// Nothing before either threshold was reached.
    state: Option<bool>,
    successes: f64,
    failures: f64,
    success_threshold: f64,
    failure_threshold: f64,
    /// How much of a period the last try stands for.
    weight: f64,
}

impl Counts {
    fn new(probe: &Probe) -> Self {
        let threshold = |value: Option<i32>, default| f64::from(value.unwrap_or(default).max(1));
        Self {
            state: None,
            successes: 0.0,
            failures: 0.0,
            success_threshold: threshold(probe.success_threshold, 1),
            failure_threshold: threshold(probe.failure_threshold, 3),
            weight: 1.0,
        }
    }

    fn count(&mut self, succeeded: bool) -> Option<bool> {
        if succeeded {
            self.successes += 1.0;
            self.failures = 0.0;
        } else {
            self.failures += self.weight;
            self.successes = 0.0;
        }
        let reached = if succeeded {
            self.successes >= self.success_threshold
        } else {
            self.failures >= self.failure_threshold
        };
        (reached && self.state != Some(succeeded)).then(|| {
            self.state = Some(succeeded);
            succeeded
        })
    }
}

/// What a probe does.
#[derive(Debug)]
enum Action {
    Http {
        address: String,
        path: String,
        headers: Vec<(String, String)>,
    },
    Connect {
        address: String,
    },
    /// A port that does not exist: it never succeeds.
    Unknown,
}

impl Action {
    fn of(probe: &Probe, container: &Container, address: &str) -> Self {
        let at = |host: &Option<String>, port: &IntOrString| {
            let host = host.as_deref().unwrap_or(address);
            port_number(container, port).map(|port| format!("{host}:{port}"))
        };
        if let Some(get) = &probe.http_get
            && get.scheme.as_deref() != Some("HTTPS")
            && let Some(address) = at(&get.host, &get.port)
        {
            let headers = get.http_headers.iter().flatten();
            let headers = headers.map(|header| (header.name.clone(), header.value.clone()));
            let path = get.path.clone().unwrap_or_else(|| "/".to_owned());
            return Self::Http { address, path, headers: headers.collect() };
        }
        if let Some(socket) = &probe.tcp_socket
            && let Some(address) = at(&socket.host, &socket.port)
        {
            return Self::Connect { address };
        }
        Self::Unknown
    }

    async fn succeeds(&self) -> bool {
        match self {
            Self::Http { address, path, headers } => {
                http_status(address, path, headers).await.is_ok_and(|s| (200..400).contains(&s))
            }
            Self::Connect { address } => TcpStream::connect(address).await.is_ok(),
            Self::Unknown => false,
        }
    }
}

fn port_number(container: &Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_deref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

/// The status of one GET, over a connection of its own. The body is not read.
async fn http_status(
    address: &str,
    path: &str,
    headers: &[(String, String)],
) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request = format!("{request}{name}: {value}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await?;
    let mut line = Vec::new();
    let mut limited = stream.take(STATUS_BYTES as u64);
    while !line.contains(&b'\n') && limited.read_buf(&mut line).await? > 0 {}
    let status = String::from_utf8_lossy(&line).split(' ').nth(1).and_then(|s| s.parse().ok());
    status.ok_or_else(|| std::io::Error::other("no status line"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object;
    use serde_json::json;
    use tokio::net::TcpListener;

    fn counts() -> Counts {
        Counts::new(&object(json!({ "failureThreshold": 2 })))
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let mut counts = counts();
        assert_eq!(counts.count(true), Some(true));
        assert_eq!(counts.count(false), None);
        assert_eq!(counts.count(true), None, "still ready");
        assert_eq!(counts.count(false), None);
        assert_eq!(counts.count(false), Some(false));
    }

    #[test]
    fn quick_tries_count_as_parts_of_a_period() {
        let mut counts = counts();
        counts.weight = 0.25;
        let tries = (1..100).find(|_| counts.count(false).is_some());
        assert_eq!(tries, Some(8), "two periods of four tries");
    }

    #[tokio::test]
    async fn an_http_answer_decides() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        });
        let action = Action::Http { address, path: "/readyz".to_owned(), headers: Vec::new() };
        assert!(action.succeeds().await);
        assert!(!action.succeeds().await);
        assert!(!action.succeeds().await, "nobody listens any more");
    }

    #[test]
    fn a_port_may_be_named() {
        let container: Container = object(json!({
            "name": "main", "ports": [{ "name": "http", "containerPort": 9401 }],
        }));
        let named = |name: &str| port_number(&container, &IntOrString::String(name.to_owned()));
        assert_eq!((named("http"), named("none")), (Some(9401), None));
    }
}
