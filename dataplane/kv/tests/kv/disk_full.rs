//! A disk with no room left: writes get an error that says so, reads go on, nothing acknowledged is
//! lost by a kill in that state, and writes go on by themselves once there is room again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Client, Engine, Value, ok};
use crate::replication::group::report;

/// Two journal segments and some more.
const DISK_BYTES: u64 = 192 << 20;
const VALUE_BYTES: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// A small file system of its own; unmounted when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where it cannot be had; the reason is printed.
    pub(crate) fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).expect("writable");
        let size = format!("size={DISK_BYTES}");
        let options = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        match Command::new("mount").args(options).arg(&at).output() {
            Ok(output) if output.status.success() => Some(Self(at)),
            _ => {
                eprintln!("not run: a small tmpfs cannot be mounted; run as root to have it");
                None
            }
        }
    }

    /// Takes all room there is.
    pub(crate) fn fill(&self) {
        let chunk = vec![1; 64 * 1024];
        let mut file = fs::File::create(self.0.join("ballast")).expect("it is created");
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
    }

    /// Takes so many bytes.
    fn take(&self, bytes: usize) {
        fs::write(self.0.join("ballast"), vec![1; bytes]).expect("there is room");
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.0.join("ballast")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A process that just ended may still hold it for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn is_refusal(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with("MISCONF"))
}

/// Writes until it is refused; gives the number of acknowledged keys. A write whose record is the
/// one that finds no room is not answered: another connection goes on.
fn write_until_refused(engine: &Engine) -> usize {
    let value = "v".repeat(VALUE_BYTES);
    let mut client = engine.client();
    let mut acknowledged = 0;
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the disk never gets full");
        let key = format!("k{acknowledged}");
        client.send(&crate::process::encode(&format!("SET {key} {value}"))).expect("it takes it");
        match answered(engine, &mut client) {
            Some(reply) if reply == ok() => acknowledged += 1,
            Some(reply) if is_refusal(&reply) => return acknowledged,
            Some(other) => panic!("{other:?}"),
            None => return acknowledged,
        }
    }
}

/// The reply, or none when the server says meanwhile that it takes no more writes.
fn answered(engine: &Engine, client: &mut Client) -> Option<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if client.has_reply() {
            return Some(client.read().expect("a reply"));
        }
        if is_full(engine) {
            return client.has_reply().then(|| client.read().expect("a reply"));
        }
        assert!(Instant::now() < deadline, "neither a reply nor a full disk");
    }
}

fn is_full(engine: &Engine) -> bool {
    engine.client().run("INFO durability").text().contains("journal_writable:0")
}

fn check(engine: &Engine, acknowledged: usize) {
    let mut client = engine.client();
    for number in 0..acknowledged {
        let length = client.run(&format!("STRLEN k{number}"));
        assert_eq!(length, Value::Integer(VALUE_BYTES as i64), "k{number} of {acknowledged}");
    }
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what} in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn data_of(folder: &Path) -> PathBuf {
    folder.join("data")
}

#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_heals_by_itself() {
    let folder = Engine::prepare("");
    let Some(disk) = SmallDisk::mount(data_of(folder.path())) else { return };
    let engine = Engine::start_in(folder);
    assert_eq!(engine.client().run("SET before 1"), ok());
    disk.fill();
    let acknowledged = write_until_refused(&engine);
    wait_for("writes are refused", || is_refusal(&engine.client().run("SET more 1")));
    check(&engine, acknowledged);

    // Killed with the disk full, it still finds everything.
    let engine = Engine::start_in(engine.kill());
    check(&engine, acknowledged);
    disk.make_room();
    wait_for("writes are taken again", || engine.client().run("SET after 1") == ok());
    check(&engine, acknowledged);
    let engine = Engine::start_in(engine.kill());
    check(&engine, acknowledged);
    for key in ["before", "after"] {
        assert_ne!(engine.client().run(&format!("GET {key}")), Value::Bulk(None), "{key}");
    }
    drop(engine.stop());
    drop(disk);
}

#[test]
fn a_disk_that_fills_is_told_of_while_writes_are_taken() {
    let folder = Engine::prepare("");
    let Some(disk) = SmallDisk::mount(data_of(folder.path())) else { return };
    let engine = Engine::start_in(folder);
    let said = || {
        let report = report(&engine);
        assert!(report.ready, "{report:?}");
        report
    };
    // The journal takes what it needs first.
    let spare = || {
        let volume = nix::sys::statvfs::statvfs(&disk.0).expect("it is mounted");
        (volume.blocks_available() * volume.fragment_size()) as usize
    };
    wait_for("the journal has its room", || {
        let before = spare();
        std::thread::sleep(Duration::from_millis(300));
        before == spare()
    });
    assert_eq!(said().reason, "");
    let free = spare();
    disk.take(free - DISK_BYTES as usize / 10 + 4096);
    wait_for("it is said", || said().reason == "VolumeFilling");
    assert!(said().degraded && said().message.contains("9 % of"), "{:?}", said());
    assert_eq!(engine.client().run("SET taken 1"), ok());
    disk.make_room();
    wait_for("it is over", || said().reason.is_empty());
}
