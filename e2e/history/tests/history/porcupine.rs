//! The Go module porcupine, which others rely on, gives the same verdicts.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orrery_e2e_tests::cache;
use orrery_history::Verdict;
use orrery_history::register::{Input, KeyOperation, Output, Value, registers};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::simulated::{self, Size, spoil};

/// Histories that are compared, unless `ORRERY_PORCUPINE_HISTORIES` says otherwise.
const HISTORIES: u64 = 3000;
const SOURCE: [&str; 2] =
    [include_str!("../../porcupine/go.mod"), include_str!("../../porcupine/main.go")];

/// Builds the program once. An error is why it cannot be.
fn program() -> Result<PathBuf, String> {
    cache::built("porcupine", &SOURCE, "porcupine", |program| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("porcupine");
        let mut build = Command::new("go");
        build.current_dir(source).args(["build", "-trimpath", "-o"]).arg(program).arg(".");
        build.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=readonly");
        build
    })
}

fn number(value: Value) -> String {
    value.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// As `porcupine/main.go` reads it.
fn encoded(history: &[KeyOperation]) -> String {
    let mut line = String::new();
    for operation in history.iter().filter(|operation| !operation.is_failed()) {
        let (kind, a, b) = match operation.input.1 {
            Input::Read => ("read", None, None),
            Input::Write(value) => ("write", value, None),
            Input::Swap(value) => ("swap", value, None),
            Input::Change { expected, new } => ("change", expected, new),
        };
        let output = match operation.output() {
            None => "-".to_owned(),
            Some(Output::Value(value)) => number(*value),
            Some(Output::Written) => "0".to_owned(),
            Some(Output::Changed(changed)) => u8::from(*changed).to_string(),
        };
        let (client, invoked_us) = (operation.client, operation.invoked_us);
        let (returned, a, b) = (number(operation.returned_us()), number(a), number(b));
        let _ = write!(line, "{client}:{invoked_us}:{returned}:{kind}:{a}:{b}:{output} ");
    }
    line
}

fn asked(program: &Path, histories: &[Vec<KeyOperation>]) -> Vec<String> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("what was built runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let text: String = histories.iter().map(|history| encoded(history) + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads all");
    assert!(output.status.success(), "it judges all");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Right ones, and of each two more with wrong answers.
fn histories(count: u64) -> Vec<Vec<KeyOperation>> {
    let mut all = vec![];
    for seed in 0..count.div_ceil(3) {
        let mut random = StdRng::seed_from_u64(seed);
        let size = Size { clients: 2 + (seed % 4) as u32, operations: 5, keys: 1 };
        let right = simulated::registers(&mut random, size);
        for spoiled in [0, 1, 3] {
            let mut history = right.clone();
            (0..spoiled).for_each(|_| spoil(&mut random, &mut history));
            all.push(history);
        }
    }
    all
}

#[test]
fn porcupine_gives_the_same_verdicts() {
    let program = match program() {
        Ok(program) => program,
        Err(why) => return println!("not run: {why}"),
    };
    let count = orrery_e2e_tests::setting("ORRERY_PORCUPINE_HISTORIES", HISTORIES);
    let histories = histories(count);
    let verdicts = asked(&program, &histories);
    assert_eq!(verdicts.len(), histories.len());
    let mut illegal = 0;
    for (history, verdict) in histories.iter().zip(&verdicts) {
        let own = match registers(history) {
            Verdict::Ok => "ok",
            Verdict::Anomaly(_) => "illegal",
            Verdict::Undecided => "unknown",
        };
        assert_eq!(own, verdict, "{history:#?}");
        illegal += usize::from(own == "illegal");
    }
    println!("{} histories, {illegal} of them illegal", histories.len());
    assert!((histories.len() / 5..histories.len() * 4 / 5).contains(&illegal), "both: {illegal}");
}
