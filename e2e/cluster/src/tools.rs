//! Programs the tests run that are not ours: built from pinned sources into the cache when first
//! asked for, and from then on just found.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::say::say;
use crate::{ClusterError, cache, go, process};

/// How often a long build says that it is alive.
const PROGRESS: Duration = Duration::from_secs(30);

/// For a whole build; a registry may keep a connection open and send nothing.
const LIMIT: Duration = Duration::from_mins(20);

/// Where a program comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A main package of the Go module in `kubernetes/` beside this crate, with the version that
    /// its `go.mod` requires of `module`.
    Module { package: &'static str, module: &'static str },
    /// Another name of a program: links to `of`, which looks at the name it is called by.
    Name { of: &'static str },
    /// A main package of somebody else's module at a fixed version.
    Published { package: &'static str, version: &'static str },
}

struct Tool {
    name: &'static str,
    source: Source,
    /// What a first build takes on two cores, for the line that announces it.
    takes: &'static str,
}

/// The module whose version all parts of the cluster say they are.
const KUBERNETES: &str = "k8s.io/kubernetes";

const TOOLS: &[Tool] = &[
    Tool {
        name: "kubernetes",
        source: Source::Module { package: ".", module: KUBERNETES },
        takes: "5 minutes",
    },
    Tool { name: "kubectl", source: Source::Name { of: "kubernetes" }, takes: "" },
    Tool {
        name: "coredns",
        source: Source::Module { package: "./dns", module: "github.com/coredns/coredns" },
        takes: "1 minute",
    },
    Tool {
        name: "pause",
        source: Source::Module { package: "./pause", module: KUBERNETES },
        takes: "10 seconds",
    },
    Tool {
        name: "toy",
        source: Source::Module { package: "./toy", module: KUBERNETES },
        takes: "20 seconds",
    },
    Tool {
        name: "helm",
        source: Source::Published { package: "helm.sh/helm/v3/cmd/helm", version: "v3.19.4" },
        takes: "90 seconds",
    },
    Tool {
        name: "minio",
        source: Source::Published {
            package: "github.com/minio/minio",
            version: "v0.0.0-20260212201848-7aac2a2c5b7c",
        },
        takes: "5 minutes",
    },
];

/// The path of a program, built first when it is not in the cache: `kubernetes`, `kubectl`,
/// `coredns`, `helm`, `minio`, or one for pods of tests: `pause`, `toy`. Blocks for as long as that
/// takes.
///
/// # Errors
/// [`ClusterError::Missing`] for a name that is not in the table or when there is no compiler,
/// [`ClusterError::Build`] with the end of its output when the build fails.
pub fn tool(name: &str) -> Result<PathBuf, ClusterError> {
    let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
        let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        return Err(ClusterError::Missing(format!(
            "no tool {name}; there are {}",
            names.join(", ")
        )));
    };
    match tool.source {
        Source::Module { package, module } => module_tool(tool, package, module),
        Source::Published { package, version } => published_tool(tool, package, version),
        Source::Name { of } => Ok(self::tool(of)?.with_file_name(name)),
    }
}

/// Whether a program of the table that somebody published is in the cache.
pub fn is_built(name: &str) -> bool {
    let version = TOOLS.iter().find_map(|tool| match tool.source {
        Source::Published { version, .. } if tool.name == name => Some(version),
        _ => None,
    });
    let Some(version) = version else { return false };
    cache::folder().is_ok_and(|folder| folder.join(name_in_cache(name, version)).exists())
}

fn name_in_cache(name: &str, version: &str) -> String {
    format!("{name}-{version}")
}

fn module_tool(tool: &Tool, package: &str, module: &str) -> Result<PathBuf, ClusterError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes");
    let read = |name: PathBuf| fs::read(&name).map_err(ClusterError::file(name));
    let (requirements, sums) = (read(folder.join("go.mod"))?, read(folder.join("go.sum"))?);
    let main = read(folder.join(package).join("main.go"))?;
    let text = String::from_utf8_lossy(&requirements);
    let required = |module| {
        let missing = || ClusterError::Missing(format!("kubernetes/go.mod does not name {module}"));
        required(&text, module).ok_or_else(missing)
    };
    let version = required(module)?;
    let flags = linker_flags(required(KUBERNETES)?);
    let key = cache::key([&requirements[..], &sums, &main, flags.as_bytes()]);
    let name = format!("{}-{version}-{key}", tool.name);
    let built = cache::once(&name, |part| {
        let mut command = go::command()?;
        command.current_dir(&folder).args(["build", "-trimpath", "-ldflags", &flags, "-o"]);
        command.arg(part.join(tool.name)).arg(package);
        build(tool, version, command, part)?;
        for other in TOOLS {
            if matches!(other.source, Source::Name { of } if of == tool.name) {
                let link = part.join(other.name);
                std::os::unix::fs::symlink(tool.name, &link).map_err(ClusterError::file(link))?;
            }
        }
        Ok(())
    })?;
    Ok(built.join(tool.name))
}

fn published_tool(tool: &Tool, package: &str, version: &str) -> Result<PathBuf, ClusterError> {
    let folder = cache::once(&name_in_cache(tool.name, version), |part| {
        let mut command = go::command()?;
        command.env_remove("GOFLAGS").env("GOBIN", part);
        command.args(["install", "-trimpath", "-ldflags=-s -w", &format!("{package}@{version}")]);
        build(tool, version, command, part)
    })?;
    Ok(folder.join(tool.name))
}

/// Strips symbols, and says the version as a release does: clients and the chart ask for it.
fn linker_flags(version: &str) -> String {
    let package = "k8s.io/component-base/version";
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
    format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} \
         -X {package}.gitMinor={minor}"
    )
}

/// The version that a `go.mod` requires of `module`.
fn required<'a>(requirements: &'a str, module: &str) -> Option<&'a str> {
    requirements.lines().find_map(|line| {
        let mut words = line.split_whitespace().filter(|word| *word != "require");
        (words.next() == Some(module)).then(|| words.next()).flatten()
    })
}

/// Runs a build to its end, saying now and then that it goes on. One that hangs is begun once more:
/// what it fetched and built so far is kept.
fn build(
    tool: &Tool,
    version: &str,
    mut command: Command,
    part: &Path,
) -> Result<(), ClusterError> {
    let Tool { name, takes, .. } = tool;
    say(&format!("building {name} {version}, once, about {takes} on two cores"));
    let log = part.join("build.log");
    let mut ended = attempt(name, &mut command, &log)?;
    if ended.is_none() {
        say(&format!("building {name} took {} s, once more", LIMIT.as_secs()));
        ended = attempt(name, &mut command, &log)?;
    }
    if ended == Some(true) {
        return Ok(());
    }
    Err(ClusterError::Build { tool: (*name).to_owned(), output: process::tail(&log) })
}

/// Whether it succeeded; none when it had to be ended.
fn attempt(name: &str, command: &mut Command, log: &Path) -> Result<Option<bool>, ClusterError> {
    let out = File::create(log).map_err(ClusterError::file(log))?;
    let errors = out.try_clone().map_err(ClusterError::file(log))?;
    let start = |cause| ClusterError::Start { program: "go".to_owned(), cause };
    let mut child =
        command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn().map_err(start)?;
    let (begun, mut said) = (Instant::now(), Duration::ZERO);
    loop {
        if let Some(status) = child.try_wait().map_err(start)? {
            if status.success() {
                say(&format!("built {name} in {} s", begun.elapsed().as_secs()));
            }
            return Ok(Some(status.success()));
        }
        if begun.elapsed() >= LIMIT {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        }
        if begun.elapsed() >= said + PROGRESS {
            said = begun.elapsed();
            say(&format!("still building {name}, {} s", said.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_the_module() {
        let file = "module x\n\nrequire (\n\tk8s.io/kubernetes v1.34.4\n\tk8s.io/kube v0.1.0\n)\n";
        assert_eq!(required(file, "k8s.io/kubernetes"), Some("v1.34.4"));
        assert_eq!(required("require k8s.io/api v0.34.4", "k8s.io/api"), Some("v0.34.4"));
        assert_eq!(required(file, "k8s.io/other"), None);
        assert!(linker_flags("v1.34.4").ends_with("gitMinor=34"));
    }

    #[test]
    fn an_unknown_tool_is_named_with_those_there_are() {
        let error = tool("docker").expect_err("not in the table").to_string();
        assert!(error.contains("docker") && error.contains("helm"), "{error}");
    }
}
