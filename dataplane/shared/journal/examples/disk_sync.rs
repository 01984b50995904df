//! What a durable write costs on the disk under a folder, by how the file was prepared.
//!
//! `cargo run --profile ci -p orrery-journal --example disk_sync -- <folder> [bytes] [rounds]`
//!
//! Prints, for each way, writes per second and latencies; on a busy machine the lowest tenth
//! (p10) tells most about the disk. The ways take turns in slices, so that a disturbance hits all of them alike.
//! `docs/journal.md` quotes the numbers and says what follows from them.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};

const FILE_BYTES: u64 = 32 << 20;
const SLICE: usize = 100;

#[derive(Clone, Copy, Debug)]
enum Prepared {
    /// The file grows with every write.
    Growing,
    /// Blocks reserved, extents still unwritten.
    Fallocated,
    /// Blocks written and synced before.
    Zeroed,
}

struct Way {
    name: &'static str,
    prepared: Prepared,
    dsync: bool,
    file: File,
    offset: u64,
    latencies: Vec<Duration>,
}

impl Way {
    fn new(folder: &Path, name: &'static str, prepared: Prepared, dsync: bool) -> Self {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let path = folder.join(format!("disk_sync-{}", name.replace([' ', '+'], "_")));
        let mut file = options.open(&path).expect("the folder can be written");
        match prepared {
            Prepared::Growing => {}
            Prepared::Fallocated => {
                fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES as i64).expect("fallocate");
            }
            Prepared::Zeroed => {
                let zeros = vec![0; 1 << 20];
                for _ in 0..FILE_BYTES >> 20 {
                    file.write_all(&zeros).expect("room for the file");
                }
            }
        }
        file.sync_all().expect("sync");
        if dsync {
            file = OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_DSYNC)
                .open(&path)
                .expect("the file exists");
        }
        Self { name, prepared, dsync, file, offset: 0, latencies: Vec::new() }
    }

    fn write_durably(&mut self, bytes: &[u8]) {
        if self.offset + bytes.len() as u64 > FILE_BYTES {
            self.offset = 0;
            if matches!(self.prepared, Prepared::Growing) {
                self.file.set_len(0).expect("truncate");
            }
        }
        let start = Instant::now();
        self.file.write_all_at(bytes, self.offset).expect("write");
        if !self.dsync {
            self.file.sync_data().expect("sync");
        }
        self.latencies.push(start.elapsed());
        self.offset += bytes.len() as u64;
    }

    fn report(mut self) {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let total: Duration = self.latencies.iter().sum();
        println!(
            "{:<24} {:>6.0} writes/s   p10 {:>6.0} us   p50 {:>6.0} us   p99 {:>6.0} us",
            self.name,
            count as f64 / total.as_secs_f64(),
            self.latencies[count / 10].as_secs_f64() * 1e6,
            self.latencies[count / 2].as_secs_f64() * 1e6,
            self.latencies[count * 99 / 100].as_secs_f64() * 1e6,
        );
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().expect("usage: disk_sync <folder> [bytes] [rounds]");
    let folder = Path::new(&folder);
    let bytes = args.next().map_or(4096, |a| a.parse().expect("bytes"));
    let rounds: usize = args.next().map_or(20, |a| a.parse().expect("rounds"));
    let mut ways = [
        Way::new(folder, "growing + fdatasync", Prepared::Growing, false),
        Way::new(folder, "fallocate + fdatasync", Prepared::Fallocated, false),
        Way::new(folder, "zeroed + fdatasync", Prepared::Zeroed, false),
        Way::new(folder, "fallocate + O_DSYNC", Prepared::Fallocated, true),
        Way::new(folder, "zeroed + O_DSYNC", Prepared::Zeroed, true),
    ];
    let body = vec![0x5a; bytes];
    for _ in 0..rounds {
        for way in &mut ways {
            for _ in 0..SLICE {
                way.write_durably(&body);
            }
        }
    }
    println!("{bytes} B per write, {} writes each", rounds * SLICE);
    ways.into_iter().for_each(Way::report);
}
