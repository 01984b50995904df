//! Images for real nodes: an OCI archive around one program, without a container engine. Unlike the
//! product's own image it is made of what a test has just built, libraries and all.
//! Format: OCI image specification 1.1; the annotation is the one `ctr images import` reads.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use crate::ClusterError;

/// Unprivileged user and group of the program.
const USER: u32 = 65532;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes to `archive` an image `name` (with registry and tag, such as `localhost/web:1`) that runs
/// `program` as an unprivileged user.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write_image(name: &str, program: &Path, archive: &Path) -> Result<(), ClusterError> {
    let file = program.file_name().map(|name| name.to_string_lossy().into_owned());
    let file = file.unwrap_or_else(|| "program".to_owned());
    let mut files = vec![(file.clone(), program.to_owned())];
    files.extend(libraries(program));
    let read = |(to, from): (String, PathBuf)| {
        let content = fs::read(&from).map_err(ClusterError::file(from))?;
        Ok::<_, ClusterError>((to, content))
    };
    let files = files.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let blobs = File::create(archive).and_then(|out| write(name, &file, &files, out));
    blobs.map_err(ClusterError::file(archive))
}

/// The shared libraries of a program, where its loader looks for them. None of a static one.
fn libraries(program: &Path) -> Vec<(String, PathBuf)> {
    let Ok(output) = Command::new("ldd").arg(program).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    let paths =
        text.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    paths.map(|path| (path.trim_start_matches('/').to_owned(), PathBuf::from(path))).collect()
}

fn write(name: &str, file: &str, files: &[(String, Vec<u8>)], out: File) -> std::io::Result<()> {
    let mut layer = Builder::new(Vec::new());
    for (path, content) in files {
        append(&mut layer, path, content, 0o755)?;
    }
    let layer = layer.into_inner()?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "User": format!("{USER}:{USER}"), "Entrypoint": [format!("/{file}")] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["annotations"] = json!({ "io.containerd.image.name": name });
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    }))?;

    let mut archive = Builder::new(out);
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    append(&mut archive, "index.json", &index, 0o644)?;
    for blob in [layer, config, manifest] {
        append(&mut archive, &format!("blobs/sha256/{}", hex(&blob)), &blob, 0o644)?;
    }
    archive.into_inner().map(drop)
}

fn append<W: std::io::Write>(
    tar: &mut Builder<W>,
    path: &str,
    content: &[u8],
    mode: u32,
) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_cksum();
    tar.append_data(&mut header, path, content)
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(content))
}

fn hex(content: &[u8]) -> String {
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|four| b"0123456789abcdef"[usize::from(four)]);
    Sha256::digest(content).iter().flat_map(digits).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_blob_has_the_digest_it_is_named_by() {
        let folder = tempfile::tempdir().expect("a folder");
        let (program, archive) = (folder.path().join("web"), folder.path().join("image.tar"));
        fs::write(&program, "code").expect("a file");
        write_image("localhost/web:1", &program, &archive).expect("it is written");
        let mut blobs = 0;
        let file = File::open(archive).expect("a file");
        for entry in tar::Archive::new(file).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(name, hex(&content));
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3);
    }
}
