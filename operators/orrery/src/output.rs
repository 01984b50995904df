//! How things are said on the terminal: problems, changes, progress, tables.
//!
//! Must not: decide anything.

mod progress;

use std::io::{IsTerminal as _, Write as _};

use jiff::Timestamp;
use orrery_api::Reason;
use orrery_local::kinds::{KindInfo, Kinds};
use orrery_local::objects::{Change, Fate, Key};
use orrery_local::snapshot::Snapshot;
use orrery_local::spec::Problem;
use orrery_local::table::{self, Shape};
use serde_json::Value as Json;

pub(crate) use progress::Progress;

/// Prints to standard output; a closed pipe (`| head`) ends the program quietly.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// An error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", red("error:"));
}

/// What is wrong, one line each.
pub(crate) fn problems(problems: &[Problem]) {
    for problem in problems {
        eprintln!("{} {problem}", red("error:"));
    }
}

fn red(text: &str) -> String {
    paint(text, "31", std::io::stderr().is_terminal())
}

/// Bold on a terminal.
pub(crate) fn bold(text: &str) -> String {
    paint(text, "1", std::io::stdout().is_terminal())
}

fn paint(text: &str, colour: &str, terminal: bool) -> String {
    if terminal && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A change, one line per object and one per field.
pub(crate) fn change(change: &Change) -> String {
    match change {
        Change::Created(key) => format!("  + {key}\n"),
        Change::Removed(key, Fate::Kept) => format!("  - {key} (its data is kept)\n"),
        Change::Removed(key, Fate::Deleted) => {
            format!("  - {key} (with its data: its deletionPolicy is Delete)\n")
        }
        Change::Changed(key, fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("      {field}\n")).collect();
            format!("  ~ {key}\n{}", fields.concat())
        }
    }
}

/// What a change brings, one line per sentence, below the change.
pub(crate) fn outlook(words: &[String]) -> String {
    words.iter().map(|sentence| ["      ", sentence, "\n"].concat()).collect()
}

/// Objects of a snapshot of one kind.
pub(crate) fn of_kind<'a>(objects: &'a [Json], info: &KindInfo) -> Vec<&'a Json> {
    let mut own: Vec<&Json> = objects.iter().filter(|object| object["kind"] == info.kind).collect();
    own.sort_by_key(|object| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        (text("namespace"), text("name"))
    });
    own
}

/// A list per kind, as `kubectl get` prints several kinds.
pub(crate) fn lists(objects: &[Json], kinds: &[&KindInfo], wide: bool) -> String {
    let namespaces = objects.iter().any(|object| object["metadata"]["namespace"] != "default");
    let shown: Vec<&KindInfo> =
        kinds.iter().copied().filter(|info| !of_kind(objects, info).is_empty()).collect();
    let shape = Shape { wide, namespaces, kinds: shown.len() > 1 };
    let now = Timestamp::now();
    let lists: Vec<String> =
        shown.iter().map(|info| table::render(info, &of_kind(objects, info), shape, now)).collect();
    lists.join("\n")
}

/// What is said of an object that one machine does not carry out.
pub(crate) fn elsewhere(object: &str, why: &str) -> String {
    format!("{object} does nothing here ({}): {why}\n", Reason::NotOnThisCarrier)
}

/// The end of a good start: resources, where they listen, and what to type next.
pub(crate) fn summary(snapshot: &Snapshot, kinds: &Kinds, data: &std::path::Path) -> String {
    let infos: Vec<&KindInfo> = kinds.all().collect();
    let mut text = format!("\n{}", lists(&snapshot.objects, &infos, false));
    let mut not_here = String::new();
    for object in &snapshot.objects {
        let word = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let kind = word(&object["kind"]);
        if let Some(elsewhere) = kinds.elsewhere_of(&kind) {
            let metadata = &object["metadata"];
            let (namespace, name) = (word(&metadata["namespace"]), word(&metadata["name"]));
            not_here
                .push_str(&self::elsewhere(&format!("{kind} {namespace}/{name}"), elsewhere.why));
        }
    }
    if !not_here.is_empty() {
        text = format!("{text}\n{not_here}");
    }
    let mut hints = Vec::new();
    for process in snapshot.processes.iter().filter(|process| process.ready) {
        for (name, port) in &process.ports {
            let speaks_tls = speaks_tls(snapshot, &process.owner);
            if let Some(hint) = hint(&process.owner.kind, name, *port, speaks_tls) {
                hints.push(vec![hint, format!("talk to {}", process.name)]);
            }
        }
    }
    let flag = if data == std::path::Path::new(crate::cli::DATA_DEFAULT) {
        String::new()
    } else {
        format!(" --data {}", data.display())
    };
    hints.push(vec![format!("orrery get{flag}"), "this list again, from another terminal".into()]);
    if let Some(process) = snapshot.processes.first() {
        let command = format!("orrery logs {} -f{flag}", process.name);
        hints.push(vec![command, "what a process writes".into()]);
    }
    text.push_str("\nNext:\n");
    let lines: Vec<String> =
        table::align(&hints).lines().map(|line| format!("  {line}\n")).collect();
    text + &lines.concat()
}

/// Whether the clients of an object must speak TLS.
fn speaks_tls(snapshot: &Snapshot, owner: &Key) -> bool {
    snapshot.objects.iter().any(|object| {
        let metadata = &object["metadata"];
        object["kind"] == owner.kind.as_str()
            && metadata["namespace"] == owner.namespace.as_str()
            && metadata["name"] == owner.name.as_str()
            && !object["spec"]["resp"]["tls"].is_null()
    })
}

/// What to type to talk to a port.
fn hint(kind: &str, port_name: &str, port: u16, speaks_tls: bool) -> Option<String> {
    match port_name {
        "resp" if speaks_tls => Some(format!("redis-cli --tls --cacert <file> -p {port}")),
        "resp" => Some(format!("redis-cli -p {port}")),
        "api" if kind == "Scheduler" => {
            Some(format!("curl 'http://127.0.0.1:{port}/v1/explain?cron=0+7+*+*+MON-FRI'"))
        }
        "api" if speaks_tls => {
            Some(format!("curl -N --cacert <file> https://localhost:{port}/v1/watch"))
        }
        "api" => Some(format!("curl -N http://127.0.0.1:{port}/v1/watch")),
        "http" => Some(format!("curl http://127.0.0.1:{port}/metrics")),
        _ => None,
    }
}
