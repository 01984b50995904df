//! Obtains the suite: Debian's source package `redis`, by apt-get, into the cache.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use orrery_e2e_tests::{cache, program};

/// Version of the suite; the package's patch level may differ.
const VERSION: &str = "7.0.15";

/// Folder of the unpacked source, with the client tools the suite expects linked into `src/`.
pub fn redis_source() -> Result<PathBuf, String> {
    let folder = cache::folder(&format!("redis-suite-{VERSION}"))?;
    let source = folder.join("source");
    if !source.join("tests/test_helper.tcl").is_file() {
        eprintln!("obtaining the Redis {VERSION} suite with apt-get source …");
        let archive = download(&folder)?;
        fs::create_dir_all(&source).map_err(|error| error.to_string())?;
        run(Command::new("tar")
            .arg("xzf")
            .arg(archive)
            .args(["--strip-components=1", "-C"])
            .arg(&source))?;
    }
    for tool in ["redis-cli", "redis-benchmark"] {
        let link = source.join("src").join(tool);
        if link.symlink_metadata().is_ok() {
            continue;
        }
        let found = program(&[tool])
            .ok_or_else(|| format!("{tool} is not installed: apt-get install redis-tools"))?;
        symlink(found, &link).map_err(|error| format!("{}: {error}", link.display()))?;
    }
    if program(&["tclsh"]).is_none() {
        return Err("tclsh is not installed: apt-get install tcl".to_owned());
    }
    Ok(source)
}

/// Downloads the source package with package lists of its own, so that the machine's settings stay
/// as they are: the machine's sources, as source sources.
fn download(folder: &Path) -> Result<PathBuf, String> {
    let parts = folder.join("sources");
    let lists = folder.join("lists");
    for path in [&parts, &lists] {
        fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    copy_sources(&parts)?;
    let options = [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        format!("Dir::Etc::sourceparts={}", parts.display()),
        format!("Dir::State::lists={}", lists.display()),
    ];
    let apt = || {
        let mut command = Command::new("apt-get");
        command.current_dir(folder);
        for option in &options {
            command.args(["-o", option]);
        }
        command
    };
    run(apt().args(["-qq", "update"]))?;
    run(apt().args(["-qq", "source", "--download-only", "redis"]))?;
    let archive = folder.join(format!("redis_{VERSION}.orig.tar.gz"));
    if !archive.is_file() {
        return Err(format!(
            "the package is not of version {VERSION}: {} is absent",
            archive.display()
        ));
    }
    Ok(archive)
}

/// Both forms of apt's sources: deb822 files and one-line lists.
fn copy_sources(to: &Path) -> Result<(), String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").map_err(|error| error.to_string())?;
    files.extend(parts.flatten().map(|entry| entry.path()));
    for file in files {
        let (Ok(text), Some(name)) = (fs::read_to_string(&file), file.file_name()) else {
            continue;
        };
        let Some(kind) = file.extension().and_then(|extension| extension.to_str()) else {
            continue;
        };
        let changed: Vec<String> = match kind {
            "sources" => text.lines().map(deb822_line).collect(),
            "list" => text.lines().map(list_line).collect(),
            _ => continue,
        };
        fs::write(to.join(name), changed.join("\n") + "\n").map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn deb822_line(line: &str) -> String {
    if line.starts_with("Types:") { "Types: deb-src".to_owned() } else { line.to_owned() }
}

fn list_line(line: &str) -> String {
    match line.strip_prefix("deb ") {
        Some(rest) => format!("deb-src {rest}"),
        None => line.to_owned(),
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)))
}
