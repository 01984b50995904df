//! Another process's journal is scrubbed while it appends, trims and uses segments again.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use orrery_journal::{Damage, RealDisk, scrub_running};

use crate::careless::Care;
use crate::stage::Stage;

/// Small segments that are trimmed many times a second.
const TRIMMED: &str = "16384 2000 3";
/// The same, and nothing is ever trimmed.
const KEPT: &str = "16384 2000 1000000000";
/// Scrubs at least, and how many different lists of segments they must have seen.
const SCRUBS_MIN: usize = 100;
const LISTS_MIN: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_mins(1);

fn scrub(folder: &Path) -> Vec<Damage> {
    let disk = RealDisk::read_only(folder);
    scrub_running(&disk, &mut |_, _| {}, &mut || std::thread::sleep(PAUSE)).unwrap()
}

fn segments(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut segments: Vec<String> = names.filter(|name| name.starts_with("segment-")).collect();
    segments.sort();
    segments
}

/// Polls until there are several segments.
fn until_segments(folder: &Path, least: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let segments = segments(folder);
        if segments.len() >= least {
            return segments;
        }
        assert!(Instant::now() < deadline, "{segments:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_scrub_beside_a_running_process_raises_no_false_alarm() {
    let mut stage = Stage::new(Care::Full, TRIMMED);
    let live = stage.live();
    let (mut scrubs, mut alarms, mut lists) = (0, Vec::new(), BTreeSet::new());
    let deadline = Instant::now() + PATIENCE;
    let lived = stage.live_through(&mut stage.command(), |child, _| {
        until_segments(&live, 1);
        while scrubs < SCRUBS_MIN || lists.len() < LISTS_MIN {
            assert!(Instant::now() < deadline, "{} lists in {scrubs} scrubs", lists.len());
            lists.insert(segments(&live));
            alarms.extend(scrub(&live));
            scrubs += 1;
        }
        child.kill().unwrap();
    });
    assert_eq!(alarms, []);
    let (life, _) = lived.unwrap();
    println!("{scrubs} scrubs, {} lists, {} acknowledged", lists.len(), life.rounds);
}

#[test]
fn damage_in_the_folder_of_a_running_process_is_found() {
    let mut stage = Stage::new(Care::Full, KEPT);
    let live = stage.live();
    let mut found = Vec::new();
    let lived = stage.live_through(&mut stage.command(), |child, _| {
        let segment = until_segments(&live, 3)[1].clone();
        let file = OpenOptions::new().read(true).write(true).open(live.join(&segment)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
        found = scrub(&live);
        child.kill().unwrap();
        assert!(found.iter().any(|damage| damage.file == segment), "{found:?}");
    });
    lived.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
}
