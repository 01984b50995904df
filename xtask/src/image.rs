//! An OCI image archive from one static binary, without a container engine. Same input, same
//! digest: sorted entries, no times. Format: OCI image specification 1.1 (layout, manifest,
//! config); the annotations are those that `ctr images import`, `kind load image-archive` and
//! `skopeo` read.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::json;
use sha2::{Digest, Sha256};

/// Unprivileged user and group of the image; the pods run as the same.
const UID: u32 = 65532;
const PASSWD: &str = "orrery:x:65532:65532:orrery:/:/sbin/nologin\n";

pub fn run(args: &[&str]) -> Result<()> {
    let mut binary = None;
    let mut to = None;
    let mut tag = "orrery:latest".to_owned();
    let mut ca = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
    for pair in args.chunks(2) {
        match pair {
            ["--binary", file] => binary = Some(PathBuf::from(file)),
            ["--to", file] => to = Some(PathBuf::from(file)),
            ["--tag", name] => (*name).clone_into(&mut tag),
            ["--ca-bundle", file] => ca = PathBuf::from(file),
            other => bail!("unknown argument of image: {}", other.join(" ")),
        }
    }
    let binary = binary.context("--binary FILE is missing")?;
    let to = to.context("--to FILE.tar is missing")?;
    let program =
        fs::read(&binary).with_context(|| format!("failed to read {}", binary.display()))?;
    let ca_bundle = fs::read(&ca).unwrap_or_default();
    let archive = archive(&program, &ca_bundle, &tag)?;
    fs::write(&to, &archive).with_context(|| format!("failed to write {}", to.display()))?;
    println!("wrote {} ({tag}, {} bytes)", to.display(), archive.len());
    Ok(())
}

/// The whole OCI archive as bytes.
fn archive(program: &[u8], ca_bundle: &[u8], tag: &str) -> Result<Vec<u8>> {
    let layer = layer(program, ca_bundle)?;
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(6));
    gzip.write_all(&layer)?;
    let compressed = gzip.finish()?;
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "User": format!("{UID}:{UID}"), "Entrypoint": ["/orrery"], "WorkingDir": "/",
            "Env": ["SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &compressed)],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
    entry["annotations"] = json!({
        "io.containerd.image.name": full_name(tag),
        "org.opencontainers.image.ref.name": full_name(tag),
    });
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    }))?;

    let mut files = vec![
        ("index.json".to_owned(), index),
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ];
    for blob in [compressed, config, manifest] {
        files.push((format!("blobs/sha256/{}", hex(&blob)), blob));
    }
    files.sort();
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in &files {
        append(&mut tar, path, content, 0o644)?;
    }
    Ok(tar.into_inner()?)
}

/// The uncompressed layer: the program, certificates, a user.
fn layer(program: &[u8], ca_bundle: &[u8]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "etc/passwd", PASSWD.as_bytes(), 0o644)?;
    append(&mut tar, "etc/ssl/certs/ca-certificates.crt", ca_bundle, 0o644)?;
    append(&mut tar, "orrery", program, 0o755)?;
    Ok(tar.into_inner()?)
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    tar.append_data(&mut header, path, content)?;
    Ok(())
}

fn descriptor(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(content))
}

fn hex(content: &[u8]) -> String {
    orrery_operand::set_hash::hex(&Sha256::digest(content))
}

/// containerd wants a full reference: a name without a registry is one of this machine.
fn full_name(tag: &str) -> String {
    match tag.split_once('/') {
        Some((host, _)) if host.contains('.') || host.contains(':') || host == "localhost" => {
            tag.to_owned()
        }
        _ => format!("localhost/{tag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_input_gives_the_same_archive() -> Result<()> {
        let first = archive(b"program", b"certificates", "orrery:1")?;
        let second = archive(b"program", b"certificates", "orrery:1")?;
        assert_eq!(first, second);
        assert_ne!(first, archive(b"other", b"certificates", "orrery:1")?);
        Ok(())
    }

    #[test]
    fn every_blob_has_the_digest_it_is_named_by() -> Result<()> {
        let bytes = archive(b"program", b"", "orrery:1")?;
        let mut blobs = 0;
        for entry in tar::Archive::new(bytes.as_slice()).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.display().to_string();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content)?;
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(name, hex(&content));
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3);
        Ok(())
    }
}
