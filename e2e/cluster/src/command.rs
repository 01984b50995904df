//! Runs a program to its end with a limit: one that hangs is a failure with a name.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::ClusterError;

/// How often the program is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// For the end of the output of a program that has ended.
const PIPES_LIMIT: Duration = Duration::from_secs(10);

/// [`Command::output`] with a limit. The program leads a process group, and what is left of that
/// when it has ended is killed. Blocks.
///
/// # Errors
/// [`ClusterError::Start`] when it cannot be started, [`ClusterError::Command`] with what it wrote
/// so far when it did not end in time.
pub fn output_within(command: &mut Command, limit: Duration) -> Result<Output, ClusterError> {
    let name = format!("{command:?}");
    let start = |cause| ClusterError::Start { program: name.clone(), cause };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(start)?;
    let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let group = Pid::from_raw(child.id().cast_signed());
    let deadline = Instant::now() + limit;
    let mut status = child.try_wait().map_err(start)?;
    while status.is_none() && Instant::now() < deadline {
        std::thread::sleep(INTERVAL);
        status = child.try_wait().map_err(start)?;
    }
    // Nobody is left in most cases.
    let _ = killpg(group, Signal::SIGKILL);
    let stdout = out.recv_timeout(PIPES_LIMIT).unwrap_or_default();
    let stderr = err.recv_timeout(PIPES_LIMIT).unwrap_or_default();
    let Some(status) = status else {
        let _ = child.wait();
        let [stdout, stderr] = [&stdout, &stderr].map(|bytes| String::from_utf8_lossy(bytes));
        let output = format!("not ended after {} s\n{stdout}\n{stderr}", limit.as_secs());
        return Err(ClusterError::Command { command: name, output });
    };
    Ok(Output { status, stdout, stderr })
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (done, all) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = done.send(bytes);
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Output, ClusterError> {
        output_within(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn a_program_that_ends_gives_what_it_wrote() {
        let output = shell("echo out; echo err >&2; exit 3", Duration::from_mins(1));
        let output = output.expect("it ends");
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children_and_named() {
        let error = shell("echo so far; sleep 600 & wait", Duration::from_millis(300));
        let error = error.expect_err("it hangs").to_string();
        assert!(error.contains("sleep 600") && error.contains("so far"), "{error}");
    }

    #[test]
    fn a_child_left_behind_does_not_hold_the_output() {
        let output = shell("sleep 600 & echo done", Duration::from_mins(1)).expect("it ends");
        assert_eq!(output.stdout, b"done\n");
    }
}
