//! The same in a bucket: signed requests to somebody else's server of S3 (moto, when Python has it),
//! over a connection that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use orrery_kit::suite::free_port;

use super::{Book, DEADLINE, report, wait_for};
use crate::process::Engine;

const USER: &str = "orrery-tests";
const KEY: &str = "a-key-that-is-never-shown";

/// The server, with a bucket `backups`.
struct Server {
    port: u16,
    child: Child,
}

impl Server {
    /// `None` where there is none.
    fn start() -> Option<Self> {
        let has = Command::new("python3")
            .args(["-c", "import moto.server"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !has.is_ok_and(|status| status.success()) {
            eprintln!("not run: python3 has no moto[server]");
            return None;
        }
        let port = free_port();
        let child = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let server = Self { port, child };
        let made = server.request(&format!(
            "PUT /backups HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential={USER}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x\
             \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ));
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        Some(server)
    }

    /// The answer to a request, as soon as somebody listens.
    fn request(&self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < end, "no server: {error}"),
            }
            thread::sleep(Duration::from_millis(20));
        };
        stream.write_all(text.as_bytes()).expect("it takes requests");
        let mut answer = vec![];
        stream.read_to_end(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A way to the server that can be cut and mended.
struct Way {
    port: u16,
    is_cut: Arc<AtomicBool>,
    live: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (is_cut, live) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(vec![])));
        let (cut, streams, target) = (Arc::clone(&is_cut), Arc::clone(&live), server.port);
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let mut streams = streams.lock().expect("nobody panics with it");
                // Under the lock, so that none slips through a cut.
                if cut.load(Ordering::Acquire) {
                    continue;
                }
                for (one, other) in [(&from, &to), (&to, &from)] {
                    let (mut one, mut other) =
                        (one.try_clone().expect("a clone"), other.try_clone().expect("a clone"));
                    thread::spawn(move || {
                        // Either side may go away at any time.
                        let _ = std::io::copy(&mut one, &mut other);
                        let _ = other.shutdown(Shutdown::Write);
                    });
                }
                streams.extend([from, to]);
            }
        });
        Self { port, is_cut, live }
    }

    fn cut(&self) {
        let mut live = self.live.lock().expect("nobody panics with it");
        self.is_cut.store(true, Ordering::Release);
        for stream in live.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::Release);
    }

    fn settings(&self) -> String {
        format!("endpoint: 'http://127.0.0.1:{}', region: us-east-1", self.port)
    }
}

/// A folder to start in, with the keys of the bucket for `of`: `archive` or `recovery`.
fn prepare(config: &str, of: &str) -> tempfile::TempDir {
    let folder = Engine::prepare(config);
    let secret = folder.path().join(format!("{of}-secret"));
    std::fs::create_dir(&secret).expect("writable");
    std::fs::write(secret.join("ACCESS_KEY_ID"), USER).expect("writable");
    std::fs::write(secret.join("SECRET_ACCESS_KEY"), KEY).expect("writable");
    folder
}

#[test]
fn a_bucket_loses_nothing_that_was_archived() {
    let Some(server) = Server::start() else { return };
    let way = Way::to(&server);
    let settings = way.settings();
    let archive =
        format!("archive: {{to: 's3://backups/team/kv', intervalSeconds: 1, {settings}}}\n");
    let with_snapshots = format!("{archive}snapshotAfterBytes: 4096\n");
    let mut engine = Engine::start_in(prepare(&with_snapshots, "archive"));
    let mut book = Book::default();
    for _ in 0..2 {
        book.write(&mut engine.client(), 300);
        engine = Engine::start_in(engine.kill());
    }
    way.cut();
    book.write(&mut engine.client(), 300);
    wait_for(&engine, "degraded", |report| report.degraded && report.reason == "ArchiveFailing");
    let said = report(&engine);
    assert!(said.writable && !said.message.contains(KEY), "{said:?}");
    way.mend();
    wait_for(&engine, "caught up", |report| {
        !report.degraded
            && report.figures.get("archived_position") == report.figures.get("journal_position")
            && report.figures.get("archive_snapshot_position") > Some(&0)
    });
    drop(engine.kill());

    let recovery = |target: Option<i64>| {
        let target = target.map_or(String::new(), |target| format!(", targetTimeUs: {target}"));
        format!("recovery: {{from: 's3://backups/team/kv', {settings}{target}}}\n")
    };
    let engine = Engine::start_in(prepare(&recovery(None), "recovery"));
    assert_eq!(book.check(&mut engine.client(), i64::MAX), 900);
    for number in [250, 550, 850] {
        let target = book.writes[number].1;
        let engine = Engine::start_in(prepare(&recovery(Some(target)), "recovery"));
        book.check(&mut engine.client(), target);
    }
    way.cut();
    let engine = Engine::begin_in(prepare(&recovery(None), "recovery"));
    wait_for(&engine, "said", |report| report.reason == "RecoveryFailed");
    way.mend();
    wait_for(&engine, "recovered", |report| report.ready);
    assert_eq!(book.check(&mut engine.client(), i64::MAX), 900);

    let elsewhere = archive.replace("s3://backups", "s3://nowhere");
    let engine = Engine::start_in(prepare(&elsewhere, "archive"));
    wait_for(&engine, "degraded", |report| report.degraded && report.reason == "ArchiveFailing");
}
