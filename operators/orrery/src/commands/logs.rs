//! `orrery logs`: reads the files that the supervisor writes, or asks a cluster.

mod pods;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use orrery_local::control::Request;
use orrery_local::process::log;
use orrery_local::snapshot::{ProcessView, Snapshot};

use crate::{cli, output, systems};

const POLL: Duration = Duration::from_millis(100);

pub(crate) fn run(arguments: &cli::Logs) -> anyhow::Result<ExitCode> {
    if arguments.cluster || arguments.choice.context.is_some() || is_plugin() {
        return pods::run(arguments);
    }
    let snapshot = super::ask(&arguments.data.data, Request::Get)?;
    let processes = processes(&snapshot, arguments)?;
    let several = processes.len() > 1;
    let mut followed = Vec::new();
    for process in &processes {
        let prefix = if several { format!("{}: ", process.name) } else { String::new() };
        let (text, position) = match log::tail(&process.log, arguments.lines) {
            Ok(tail) => tail,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (String::new(), 0),
            Err(error) => {
                let message = format!("failed to read {}", process.log.display());
                return Err(error).context(message);
            }
        };
        show(&text, &prefix);
        let inode = std::fs::metadata(&process.log).map_or(0, |metadata| metadata.ino());
        followed.push(Followed { path: process.log.clone(), prefix, position, inode });
    }
    if !arguments.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        followed.iter_mut().for_each(Followed::go_on);
        std::thread::sleep(POLL);
    }
}

/// Whether kubectl started this as its plugin.
pub(super) fn is_plugin() -> bool {
    let name = std::env::args_os().next().map(PathBuf::from);
    name.as_deref()
        .and_then(std::path::Path::file_stem)
        .is_some_and(|name| name == "kubectl-orrery")
}

fn show(text: &str, prefix: &str) {
    if prefix.is_empty() {
        output::print(text);
    } else {
        let lines: Vec<String> = text.lines().map(|line| format!("{prefix}{line}\n")).collect();
        output::print(&lines.concat());
    }
}

fn processes<'a>(
    snapshot: &'a Snapshot,
    arguments: &cli::Logs,
) -> anyhow::Result<Vec<&'a ProcessView>> {
    let (kind, name) = match arguments.target.as_slice() {
        [kind, name] => {
            let kinds = systems::kinds();
            let Some(info) = kinds.find(kind) else { bail!("kind {kind:?} is not known") };
            (Some(info.kind.clone()), name)
        }
        [name] => (None, name),
        _ => bail!("name a process or a resource"),
    };
    let wanted = |process: &&ProcessView| {
        let owned = process.owner.name == *name
            && kind.as_ref().is_none_or(|kind| process.owner.kind == *kind);
        let named = kind.is_none() && process.name == *name;
        let namespace = arguments.choice.namespace.as_ref();
        (owned || named) && namespace.is_none_or(|namespace| process.namespace == *namespace)
    };
    let found: Vec<&ProcessView> = snapshot.processes.iter().filter(wanted).collect();
    if found.is_empty() {
        let names: Vec<&str> = snapshot.processes.iter().map(|p| p.name.as_str()).collect();
        bail!("no process runs for {name:?}; processes: {}", names.join(", "));
    }
    Ok(found)
}

struct Followed {
    path: PathBuf,
    prefix: String,
    position: u64,
    inode: u64,
}

impl Followed {
    /// Prints what came since the last look. A rotated file is read to its end first.
    fn go_on(&mut self) {
        let Ok(metadata) = std::fs::metadata(&self.path) else { return };
        if metadata.ino() != self.inode {
            let rest = self.rest(&log::old(&self.path, 1));
            show(&rest, &self.prefix);
            (self.inode, self.position) = (metadata.ino(), 0);
        }
        let path = self.path.clone();
        let text = self.rest(&path);
        show(&text, &self.prefix);
    }

    fn rest(&mut self, path: &std::path::Path) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(self.position))?;
            let mut bytes = Vec::new();
            file.take(log::FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        self.position += bytes.len() as u64;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
