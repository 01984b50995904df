//! Compiles `operand.proto` into Rust without protoc. The result is committed, so that no build
//! needs a protocol compiler; a test of orrery-operand compares the recorded hash of the source.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Writes `operators/operand/src/generated/orrery.operand.v1.rs`.
pub fn generate(root: &Path) -> Result<()> {
    let folder = root.join("operators/operand/proto");
    let source = folder.join("orrery/operand/v1/operand.proto");
    let descriptors =
        protox::compile([&source], [&folder]).context("failed to compile the proto")?;
    let out = root.join("operators/operand/src/generated");
    std::fs::create_dir_all(&out)?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .btree_map(".")
        .compile_fds(descriptors)
        .context("failed to generate code")?;
    let file = out.join("orrery.operand.v1.rs");
    let hash = Sha256::digest(std::fs::read(&source)?);
    let hash = orrery_operand::set_hash::hex(&hash);
    let code = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("// source sha256: {hash}\n{code}"))?;
    println!("wrote {}", file.display());
    Ok(())
}
