//! Starts the process under test, keeps the book of what it promised, and compares.

use std::env;
use std::io::BufReader;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::{RealDisk, scrub};

use crate::careless::Care;
use crate::writer::{self, FAILED, WRITERS};

const SIGKILL: i32 = 9;
/// Only a process that hangs takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Killed,
    /// It ended itself, because the journal failed.
    Failed,
}

/// How long it took to open the journal and replay it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    pub(crate) time: Duration,
    /// Of the one thread that does it.
    pub(crate) cpu: Duration,
    /// Bytes of the records that were replayed.
    pub(crate) tail_bytes: u64,
}

/// What a process said before it ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life {
    /// What it found, if it came so far.
    pub(crate) found: Option<[u64; WRITERS]>,
    pub(crate) recovery: Option<Recovery>,
    /// The last round of each writer that it acknowledged; 0 for none.
    pub(crate) acknowledged: [u64; WRITERS],
    /// How many it acknowledged.
    pub(crate) rounds: u64,
}

/// A folder, and what was promised about it.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: tempfile::TempDir,
    care: Care,
    sizes: &'static str,
    promised: [u64; WRITERS],
}

impl Stage {
    pub(crate) fn new(care: Care, sizes: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("live")).unwrap();
        Self { folder, care, sizes, promised: [0; WRITERS] }
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.folder.path().join("live")
    }

    pub(crate) fn side(&self) -> PathBuf {
        self.folder.path().join("side")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["writer::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(writer::FOLDER, self.live())
            .env(writer::CARE, self.care.name())
            .env(writer::SIZES, self.sizes)
            .stdout(Stdio::piped());
        command
    }

    /// Runs a process to its end, which `meanwhile` may bring about, who is told of each round that is
    /// acknowledged; and compares what it found with
    /// what was promised before, and takes down what it promises.
    pub(crate) fn live_through(
        &mut self,
        command: &mut Command,
        meanwhile: impl FnOnce(&mut Child, &Receiver<()>),
    ) -> Result<(Life, End), String> {
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (begun, begins) = mpsc::channel();
        let reader = thread::spawn(move || listen(output, &begun));
        meanwhile(&mut child, &begins);
        let status = wait(&mut child);
        let (life, last_words) = reader.join().unwrap();
        if let Some(found) = life.found {
            self.compare(&found)?;
            self.promised = found;
        }
        for (promised, acknowledged) in self.promised.iter_mut().zip(life.acknowledged) {
            *promised = acknowledged.max(*promised);
        }
        match (status.signal(), status.code()) {
            (Some(SIGKILL), _) => Ok((life, End::Killed)),
            (_, Some(FAILED)) => Ok((life, End::Failed)),
            _ => Err(format!("{status}: {last_words}")),
        }
    }

    fn compare(&self, found: &[u64; WRITERS]) -> Result<(), String> {
        for (writer, (found, promised)) in found.iter().zip(self.promised).enumerate() {
            if *found < promised {
                return Err(format!("writer {writer}: {found} of {promised} rounds are left"));
            }
            // One round of each writer may be durable and not yet acknowledged.
            if *found > promised + 1 {
                return Err(format!("writer {writer}: {found} rounds, promised {promised}"));
            }
        }
        Ok(())
    }

    /// What a crash leaves is no damage.
    pub(crate) fn assert_undamaged(&self) -> Result<(), String> {
        let found = scrub(&RealDisk::new(self.live()).unwrap());
        match found.map_err(|error| error.to_string())?.first() {
            None => Ok(()),
            Some(damage) => Err(format!("{damage:?}")),
        }
    }

    /// Keeps the folder for whoever looks into what went wrong.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    pub(crate) fn promised(&self) -> u64 {
        self.promised.iter().sum()
    }
}

/// The library to preload, which cargo has built beside this test.
pub(crate) fn library() -> PathBuf {
    let test = env::current_exe().unwrap();
    let library = test.with_file_name("liborrery_powerloss_shim.so");
    assert!(library.exists(), "{} is not there", library.display());
    library
}

pub(crate) fn preload(command: &mut Command, live: &Path, side: &Path) {
    command
        .env("LD_PRELOAD", library())
        .env("ORRERY_POWERLOSS_LIVE", live)
        .env("ORRERY_POWERLOSS_SIDE", side);
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the process hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a process says, and its last words.
fn listen(output: impl std::io::BufRead, begun: &Sender<()>) -> (Life, String) {
    let (mut life, mut last_words) = (Life::default(), String::new());
    for line in output.lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        match kind {
            "recovered" => {
                let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
                let [time, cpu] = [numbers[0], numbers[1]].map(Duration::from_micros);
                life.recovery = Some(Recovery { time, cpu, tail_bytes: numbers[2] });
                life.found = Some(numbers[3..].try_into().unwrap());
            }
            "acknowledged" => {
                let mut number = || words.next().unwrap().parse::<u64>().unwrap();
                let writer = number() as usize;
                life.acknowledged[writer] = number();
                life.rounds += 1;
                // Whoever waits for it waits for the first only.
                let _ = begun.send(());
            }
            "ends" => last_words = line,
            _ => {}
        }
    }
    (life, last_words)
}
