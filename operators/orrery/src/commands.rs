//! One module per command; what several need is here.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use orrery_local::control::{self, Request};
use orrery_local::folder::Folder;
use orrery_local::kinds::{KindInfo, Kinds};
use orrery_local::snapshot::Snapshot;
use serde_json::Value as Json;

use crate::cli::Command;
use crate::cluster::Cluster;

mod backup;
mod bench;
mod change;
mod check;
mod crds;
mod describe;
mod down;
mod family;
mod get;
mod logs;
mod operator;
mod report;
mod serve;
mod status;
mod up;
mod verify;

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(arguments) => up::run(arguments),
        Command::Down(arguments) => down::run(&arguments),
        Command::Get(arguments) => get::run(&arguments),
        Command::Describe(arguments) => describe::run(&arguments),
        Command::Logs(arguments) => logs::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Restart(on) => change::run(&on, &change::Change::Restart),
        Command::Hibernate(on) => change::run(&on, &change::Change::Hibernate),
        Command::Pause(on) => change::run(&on, &change::Change::Pause),
        Command::Fence(on) => change::run(&on, &change::Change::Fence),
        Command::Unfence(on) => change::run(&on, &change::Change::Unfence),
        Command::Resume(on) => change::run(&on, &change::Change::Resume),
        Command::Promote(arguments) => {
            change::run(&arguments.on, &change::Change::Promote(&arguments.to))
        }
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Crds(arguments) => crds::run(&arguments),
        Command::Operator(arguments) => operator::run(arguments),
        Command::Serve(system) => serve::run(system),
        Command::Completion(arguments) => Ok(completion(&arguments)),
        Command::Version(_) => Ok(version()),
    }
}

fn completion(arguments: &crate::cli::Completion) -> ExitCode {
    let mut command = <crate::cli::Cli as clap::CommandFactory>::command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "orrery", &mut script);
    crate::output::print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

fn version() -> ExitCode {
    let kinds = crate::systems::kinds();
    let systems: Vec<&str> = kinds.engines.iter().map(|engine| engine.system()).collect();
    crate::output::print(&format!(
        "orrery {}\nsystems: {}\n",
        crate::systems::VERSION,
        systems.join(", ")
    ));
    ExitCode::SUCCESS
}

/// Asks the `orrery up` of a data folder.
fn ask(data: &Path, request: Request) -> anyhow::Result<Snapshot> {
    let folder = open(data)?;
    Ok(control::ask(&folder, request)?)
}

fn open(data: &Path) -> anyhow::Result<Folder> {
    Folder::at(data).with_context(
        || "there is no data folder; start with `orrery up`, or name another folder with --data",
    )
}

/// An engine in a cluster, as a user names it.
struct Target {
    singular: String,
    name: String,
    /// Short name of its system.
    system: &'static str,
    /// Path of the API.
    path: String,
}

impl Target {
    /// `NAME` (where one kind of engine has an object of that name), `KIND NAME` or `KIND/NAME`.
    fn of(words: &[String], cluster: &Cluster) -> anyhow::Result<Self> {
        Self::one(Self::meant(words, &cluster.namespace)?, words, cluster)
    }

    /// As [`Target::of`], of one system alone.
    fn of_system(words: &[String], cluster: &Cluster, system: &str) -> anyhow::Result<Self> {
        let mut meant = Self::meant(words, &cluster.namespace)?;
        meant.retain(|target| target.system == system);
        if meant.is_empty() {
            bail!("this is for the engines of {system} alone");
        }
        Self::one(meant, words, cluster)
    }

    /// The one that there is.
    fn one(mut meant: Vec<Self>, words: &[String], cluster: &Cluster) -> anyhow::Result<Self> {
        if meant.len() == 1 {
            return Ok(meant.swap_remove(0));
        }
        let (mut found, mut kinds) = (Vec::new(), Vec::new());
        for target in meant {
            kinds.push(target.singular.clone());
            if cluster.has(&target.path)? {
                found.push(target);
            }
        }
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            0 => {
                let name = words.first().map_or("", String::as_str);
                let (kinds, namespace) = (kinds.join(" or "), &cluster.namespace);
                bail!("{name} was not found: no {kinds} of namespace {namespace} has that name")
            }
            _ => {
                let words: Vec<String> =
                    found.iter().map(|one| format!("{}/{}", one.singular, one.name)).collect();
                bail!("say which one is meant: {}", words.join(" or "))
            }
        }
    }

    /// Every engine that the words may mean.
    fn meant(words: &[String], namespace: &str) -> anyhow::Result<Vec<Self>> {
        let kinds = crate::systems::kinds();
        let words: Vec<&str> = words.iter().flat_map(|word| word.split('/')).collect();
        let (kind, name) = match words.as_slice() {
            [kind, name] => (Some(known(&kinds, kind)?), *name),
            [name] => (None, *name),
            _ => bail!("name one object: NAME, KIND NAME or KIND/NAME"),
        };
        let engines = kinds.engines.iter();
        let engines = engines.filter(|engine| kind.is_none_or(|k| k.kind == engine.info().kind));
        let targets: Vec<Self> = engines
            .map(|engine| {
                let info = engine.info();
                let (version, plural) = (&info.api_version, &info.plural);
                let path = format!("/apis/{version}/namespaces/{namespace}/{plural}/{name}");
                let (singular, system) = (info.singular.clone(), engine.system());
                Self { singular, name: name.to_owned(), system, path }
            })
            .collect();
        if let (true, Some(info)) = (targets.is_empty(), kind) {
            bail!("a {} has no pods of its own; name the engine it is bound to", info.kind);
        }
        Ok(targets)
    }
}

/// The kind a user means.
fn known<'a>(kinds: &'a Kinds, name: &str) -> anyhow::Result<&'a KindInfo> {
    kinds.find(name).with_context(|| {
        let names: Vec<&str> = kinds.all().map(|info| info.plural.as_str()).collect();
        format!("kind {name:?} is not known; known kinds: {}", names.join(", "))
    })
}

/// Objects that are meant by kind, name and namespace.
fn select<'a>(
    snapshot: &'a Snapshot,
    kind: Option<&str>,
    name: Option<&str>,
    namespace: Option<&str>,
) -> anyhow::Result<Vec<&'a Json>> {
    let kinds = crate::systems::kinds();
    let kind = kind.filter(|kind| *kind != "all");
    let info = kind.map(|kind| known(&kinds, kind)).transpose()?;
    let is = |value: &Json, wanted: Option<&str>| wanted.is_none_or(|wanted| *value == wanted);
    let found: Vec<&Json> = snapshot
        .objects
        .iter()
        .filter(|object| info.is_none_or(|info| object["kind"] == info.kind))
        .filter(|object| is(&object["metadata"]["name"], name))
        .filter(|object| is(&object["metadata"]["namespace"], namespace))
        .collect();
    if let (Some(name), Some(info), true) = (name, info, found.is_empty()) {
        let own = snapshot.objects.iter().filter(|object| object["kind"] == info.kind);
        let names: Vec<&str> =
            own.filter_map(|object| object["metadata"]["name"].as_str()).collect();
        let hint = if names.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there is: {}", names.join(", "))
        };
        bail!("{} {name:?} was not found; {hint}", info.kind);
    }
    Ok(found)
}
