//! A snapshot whose disk takes nothing: what must be put aside for it stays within a bound, because
//! writes wait; reads do not.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use orrery_operand::client::OperandClient;

use crate::process::{Client, Engine, Value, bulk, encode, ok};

const KEYS: usize = 6_000;
const VALUE_BYTES: usize = 16 * 1024;
/// What is put aside, what is on its way to the disk, and what the allocator keeps; all values
/// together are 96 MiB.
const GROWN_KIB_MAX: u64 = 72 * 1024;
const PATIENCE: Duration = Duration::from_mins(1);

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn value(word: &str, number: usize) -> String {
    format!("{word}-{number:06}-{}", "0123456789abcdef".repeat(VALUE_BYTES / 16))
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < PATIENCE, "{what} in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends all writes from a thread and returns once all are acknowledged.
fn write_all(mut client: Client, word: &'static str) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for first in (0..KEYS).step_by(100) {
            for number in first..first + 100 {
                let set = encode(&format!("SET k{number} {}", value(word, number)));
                client.send(&set).expect("it takes it");
            }
            for _ in 0..100 {
                assert_eq!(client.read().expect("a reply"), ok());
            }
        }
    })
}

fn snapshot_to(management: u16, folder: &Path) -> Result<(), String> {
    let address = format!("127.0.0.1:{management}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = async {
        let operator = OperandClient::new(&address, None).expect("an address");
        operator.snapshot(&format!("file://{}", folder.display()), |_| {}).await
    };
    runtime.expect("a runtime").block_on(work).map(|_| ()).map_err(|error| error.to_string())
}

/// How often `word-` stands in the bytes.
fn count(image: &[u8], word: &str) -> usize {
    memchr::memmem::find_iter(image, format!("{word}-").as_bytes()).count()
}

#[test]
fn writes_wait_for_a_snapshot_that_is_behind_and_reads_do_not() {
    let engine = Engine::start("");
    write_all(engine.client(), "old").join().expect("it is filled");
    let folder = tempfile::tempdir().expect("a temporary folder");
    // A pipe takes the place of the file: it holds 64 KiB until somebody reads.
    let pipe = folder.path().join("dump.rdb.tmp");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("coreutils").success());
    let mut pipe = OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe");
    let before = resident_kib(engine.pid());

    let (management, target) = (engine.management, folder.path().to_owned());
    let snapshot = std::thread::spawn(move || snapshot_to(management, &target));
    let mut reader = engine.client();
    wait_for("the snapshot begins", || {
        reader.run("INFO persistence").text().contains("rdb_bgsave_in_progress:1")
    });
    let writer = write_all(engine.client(), "new");
    wait_for("a write waits", || {
        reader.run("INFO clients").text().contains("blocked_clients:1\r\n")
    });
    assert_eq!(reader.run("ECHO hi"), bulk("hi"));
    let Value::Bulk(Some(last)) = reader.run(&format!("GET k{}", KEYS - 1)) else {
        panic!("there")
    };
    assert!(last.starts_with(b"old-"), "the last write waits");
    let grown = resident_kib(engine.pid()).saturating_sub(before);
    assert!(grown < GROWN_KIB_MAX, "{grown} KiB more during the snapshot");

    // The disk takes everything again: the snapshot ends, and so do the writes.
    let drain = std::thread::spawn(move || {
        let (mut image, mut piece) = (Vec::new(), vec![0; 1 << 20]);
        // The end of an RDB file: its mark and eight bytes of checksum, at the end of a read.
        while image.len() < 9 || image[image.len() - 9] != 0xff {
            let len = pipe.read(&mut piece).expect("it is a pipe");
            image.extend_from_slice(&piece[..len]);
        }
        image
    });
    writer.join().expect("every write is acknowledged");
    let image = drain.join().expect("the image is whole");
    assert_eq!((count(&image, "old"), count(&image, "new")), (KEYS, 0));
    // A pipe cannot be synced, and what is not synced is not a snapshot.
    let error = snapshot.join().expect("it answers").expect_err("it is no file");
    assert!(error.contains("failed to write"), "{error}");
    assert!(matches!(reader.run("GET k0"), Value::Bulk(Some(v)) if v.starts_with(b"new-")));
}
