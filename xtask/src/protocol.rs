//! Compiles the protocols into Rust without protoc. The results are committed, so that no build
//! needs a protocol compiler; tests compare the recorded hashes of the sources.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A protocol: its package, the crate it is of, and where the code goes.
struct Protocol {
    package: &'static str,
    krate: &'static str,
    out: &'static str,
    /// Whether its messages are read from JSON as well.
    is_json: bool,
}

const PROTOCOLS: [Protocol; 2] = [
    Protocol {
        package: "orrery.operand.v1",
        krate: "operators/operand",
        out: "src/generated",
        is_json: false,
    },
    Protocol {
        package: "orrery.scheduler.v1",
        krate: "dataplane/scheduler",
        out: "src/api/grpc/generated",
        is_json: true,
    },
];

/// Writes the code of every protocol.
pub fn generate(root: &Path) -> Result<()> {
    PROTOCOLS.iter().try_for_each(|protocol| generate_one(root, protocol))
}

fn generate_one(root: &Path, protocol: &Protocol) -> Result<()> {
    let krate = root.join(protocol.krate);
    let folder = krate.join("proto");
    let words: Vec<&str> = protocol.package.split('.').collect();
    let source = folder.join(words.join("/")).join(format!("{}.proto", words[1]));
    let descriptors =
        protox::compile([&source], [&folder]).context("failed to compile the proto")?;
    let out = krate.join(protocol.out);
    std::fs::create_dir_all(&out)?;
    let mut builder = tonic_prost_build::configure().out_dir(&out).btree_map(".");
    if protocol.is_json {
        builder = builder
            .build_client(true)
            .message_attribute(".", "#[derive(serde::Deserialize)]")
            .message_attribute(".", "#[serde(rename_all = \"camelCase\", default)]");
    }
    builder.compile_fds(descriptors).context("failed to generate code")?;
    let file = out.join(format!("{}.rs", protocol.package));
    let hash = Sha256::digest(std::fs::read(&source)?);
    let hash = orrery_operand::set_hash::hex(&hash);
    let code = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("// source sha256: {hash}\n{code}"))?;
    println!("wrote {}", file.display());
    Ok(())
}
