//! Peers behind a pipe: a program that answers JSON lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A running program; it ends when it is dropped.
#[derive(Debug)]
pub struct Piped {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Piped {
    pub fn start(mut command: Command) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("{error}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(fail)?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, input, output })
    }

    pub fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let fail = |error: std::io::Error| format!("{request}: {error}");
        writeln!(self.input, "{request}").map_err(fail)?;
        self.input.flush().map_err(fail)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(fail)?;
        serde_json::from_str(&line).map_err(|error| format!("{request}: `{line}`: {error}"))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
