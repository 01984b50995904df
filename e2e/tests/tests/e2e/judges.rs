//! Asks the tools of others, built from the Go module `judges`, what they make of a text.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use orrery_e2e_cluster::{ClusterError, go_program};

/// The verdict of a judge, or its complaint; an error when the judges cannot be built here.
pub(crate) fn ask(judge: &str, input: &str) -> Result<Result<String, String>, ClusterError> {
    let program = go_program(&Path::new(env!("CARGO_MANIFEST_DIR")).join("judges"))?;
    let mut child = Command::new(program)
        .arg(judge)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("what was built runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("a judge reads all");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(Ok(text(&output.stdout)));
    }
    Ok(Err(text(&output.stderr)))
}
