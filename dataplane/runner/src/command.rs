//! One command, from its start to its end: a process group of its own, with a bounded time.
//!
//! Must not: end before everything in the group has. A command that was told to end has
//! [`KILL_AFTER_SECONDS`] to do so.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use orrery_api::scheduler::runner::{KILL_AFTER_SECONDS, RunRequest, RunState, RunWord};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::leftovers::signal_group;
use crate::tail::Tail;

/// What variables of the runner itself begin with.
const OWN_VARIABLES: &str = "ORRERY_";
/// Bytes of output that are read at once.
const CHUNK_BYTES: usize = 8 << 10;
/// How long output is read once the command is over: who left its group may hold it open.
const OUTPUT_WAIT: Duration = Duration::from_secs(1);
/// How long a command that was told to end may take.
const KILL_AFTER: Duration = Duration::from_secs(KILL_AFTER_SECONDS);
/// Longest run, so that no moment lies beyond what the clock counts.
const TIMEOUT_MAX: Duration = Duration::from_hours(30 * 24);

/// Starts what is asked for; how the run ended where nothing can be started.
pub(crate) fn start(request: &RunRequest) -> Result<(Child, u32), RunState> {
    let over = |state, message| RunState { state, exit_code: None, message };
    let mut words = request.command.iter();
    let Some(program) = words.next().filter(|program| !program.is_empty()) else {
        return Err(over(RunWord::Refused, "the command has no program".to_owned()));
    };
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(OWN_VARIABLES) {
            command.env_remove(name);
        }
    }
    let child = command
        .args(words)
        .args(&request.args)
        .envs(request.env.iter().map(|variable| (&variable.name, &variable.value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let child = child.map_err(|error| {
        let state = match error.kind() {
            // The machine has no room for it; another time, or in another pod, it may.
            ErrorKind::WouldBlock | ErrorKind::OutOfMemory => RunWord::Failed,
            _ => RunWord::Refused,
        };
        over(state, format!("failed to start {program:?}: {error}"))
    })?;
    let Some(pid) = child.id() else {
        return Err(over(RunWord::Failed, "the process ended before it was looked at".to_owned()));
    };
    Ok((child, pid))
}

/// Waits for the end, or brings it about: when the time is over, or `stop` has a word.
pub(crate) async fn attend(
    (mut child, pid): (Child, u32),
    time: Duration,
    mut stop: watch::Receiver<Option<RunWord>>,
) -> RunState {
    let tail = Arc::<Mutex<Tail>>::default();
    let readers = [
        child.stdout.take().map(|from| tokio::spawn(copy(from, tokio::io::stdout(), tail.clone()))),
        child.stderr.take().map(|from| tokio::spawn(copy(from, tokio::io::stderr(), tail.clone()))),
    ];
    let told = async {
        let word = stop.wait_for(Option::is_some).await.map(|word| *word);
        match word {
            Ok(word) => word.unwrap_or(RunWord::Stopped),
            Err(_) => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        biased;
        status = child.wait() => Ok(status),
        word = told => Err(word),
        () = sleep(time.min(TIMEOUT_MAX)) => Err(RunWord::TimedOut),
    };
    let (status, word) = match ended {
        Ok(status) => (status, None),
        Err(word) => {
            signal_group(pid, Signal::SIGTERM);
            let in_time = timeout(KILL_AFTER, child.wait()).await;
            let status = if let Ok(status) = in_time {
                status
            } else {
                signal_group(pid, Signal::SIGKILL);
                child.wait().await
            };
            (status, Some(word))
        }
    };
    // What it started ends with it. Its number is used for no other group while one of them lives, and
    // numbers come around again after thousands of processes.
    signal_group(pid, Signal::SIGKILL);
    for mut reader in readers.into_iter().flatten() {
        if timeout(OUTPUT_WAIT, &mut reader).await.is_err() {
            reader.abort();
        }
    }
    let text = tail.lock().unwrap_or_else(PoisonError::into_inner).text();
    match status {
        Ok(status) => over(status, word, text),
        Err(error) => RunState {
            state: word.unwrap_or(RunWord::Failed),
            exit_code: None,
            message: format!("failed to wait for the process: {error}"),
        },
    }
}

/// What the end of a process means for its run.
fn over(status: ExitStatus, word: Option<RunWord>, text: String) -> RunState {
    let message = match status.signal() {
        Some(number) if word.is_none() => {
            let name = Signal::try_from(number).map_or("a signal", Signal::as_str);
            if text.is_empty() {
                format!("ended by {name}")
            } else {
                format!("ended by {name}: {text}")
            }
        }
        _ => text,
    };
    let state = word.unwrap_or(if status.success() { RunWord::Succeeded } else { RunWord::Failed });
    RunState { state, exit_code: status.code().filter(|_| word.is_none()), message }
}

/// Reads to the end: the newest bytes are kept, all of them go where the output of the pod goes.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    tail: Arc<Mutex<Tail>>,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        tail.lock().unwrap_or_else(PoisonError::into_inner).push(&chunk[..count]);
        // A pod whose output nobody takes still runs its commands.
        _ = to.write_all(&chunk[..count]).await;
        _ = to.flush().await;
    }
}
