//! `orrery up`: progress on the terminal while `orrery_local::up` does the work.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orrery_local::control::{self, Request};
use orrery_local::folder::{Folder, make_folder};
use orrery_local::snapshot::Snapshot;
use orrery_local::{News, Options, UpError};

use crate::{cli, output, systems};

pub(crate) fn run(arguments: cli::Up) -> anyhow::Result<ExitCode> {
    if arguments.detach {
        return detach(&arguments);
    }
    orrery_kit::logs::init(orrery_kit::logs::Format::Text, &level(), None);
    let data = arguments.data.data;
    let options = Options {
        data: data.clone(),
        sources: arguments.paths,
        program: std::env::current_exe().context("failed to find the program's own file")?,
        release: systems::release(),
    };
    let started = Instant::now();
    let mut tell = |news: News<'_>| output::print(&told(&news, &data, started));
    match orrery_local::up::run(options, systems::kinds(), &mut tell) {
        Ok(()) => {
            output::print("stopped; all data is kept, `orrery up` goes on with it\n");
            Ok(ExitCode::SUCCESS)
        }
        Err(UpError::Wrong { problems }) => {
            output::problems(&problems);
            Err(UpError::Wrong { problems }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Own log lines would disturb the progress; trouble is told as events.
fn level() -> String {
    std::env::var("ORRERY_LOG_LEVEL").unwrap_or_else(|_| "error".to_owned())
}

fn told(news: &News<'_>, data: &Path, started: Instant) -> String {
    match news {
        News::Started { folder } => {
            format!("orrery {} · data in {}\n", systems::VERSION, folder.root().display())
        }
        News::Orphans(records) => {
            let names: Vec<&str> = records.iter().map(|record| record.process.as_str()).collect();
            format!("ended what a crashed run left behind: {}\n", names.join(", "))
        }
        News::Accepted([]) => "the files are right; nothing changes\n".to_owned(),
        News::Accepted(changes) => changes.iter().map(output::change).collect(),
        News::Refused(problems) => {
            output::problems(problems);
            "the edit is refused; what ran before goes on\n".to_owned()
        }
        News::Event(event) => {
            let seconds = started.elapsed().as_secs_f64();
            format!("  {seconds:>7.2}s  {}: {}\n", event.about, event.text)
        }
        News::Settled(snapshot) => {
            let summary = output::summary(snapshot, &systems::kinds(), data);
            format!("{summary}\n{}\n", output::bold("Ctrl-C stops; data stays."))
        }
        News::Stopping => "\nstopping\n".to_owned(),
    }
}

/// Longest wait for everything to be ready before the command returns anyway.
const READY_PATIENCE: Duration = Duration::from_mins(2);

/// Starts the same command in the background, in a session of its own, and returns when it settled.
fn detach(arguments: &cli::Up) -> anyhow::Result<ExitCode> {
    let data = &arguments.data.data;
    let folder = Folder::create(data)?;
    make_folder(&folder.logs())?;
    let log_path = folder.logs().join("up.log");
    let log = std::fs::File::create(&log_path).context("failed to create the log file")?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("up").args(&arguments.paths).arg("--data").arg(data);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut child = command.spawn().context("failed to start the background process")?;
    let snapshot = match settled(&folder, &mut child) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let text = std::fs::read_to_string(&log_path).unwrap_or_default();
            output::print(&text);
            return Err(error);
        }
    };
    output::print(&output::summary(&snapshot, &systems::kinds(), data));
    output::print(&format!(
        "\nprocess {} runs in the background; `orrery down` ends it\n",
        child.id()
    ));
    Ok(ExitCode::SUCCESS)
}

fn settled(folder: &Folder, child: &mut Child) -> anyhow::Result<Snapshot> {
    let deadline = Instant::now() + READY_PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("it ended at once ({status})");
        }
        match control::ask(folder, Request::Get) {
            Ok(snapshot) if snapshot.pid == child.id() && snapshot.settled => return Ok(snapshot),
            _ if Instant::now() >= deadline => {
                bail!("not everything is ready yet; see `orrery get` and `orrery logs`");
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
