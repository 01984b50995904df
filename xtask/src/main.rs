//! Repository chores that `make` calls: generate committed files, check the dependency gates, plant
//! bugs that the tests must catch, write the OCI image. Nothing of it ships in the product.

mod gates;
mod generate;
mod image;
mod mutations;
mod observe;
#[cfg(feature = "protocol")]
mod protocol;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask <chore>

  generate            write crds/, chart files and docs that are made from the code
  generate --check    fail when a committed file differs from what the types say
  protocol            regenerate the management protocol (needs --features protocol)
  gates               check the dependency rules (no aws-lc-sys, no openssl, no kube in data planes)
  mutations [TEXT]    plant bugs in a copy of the crates that have a list of them, those with TEXT in
                      their name, and fail when the tests miss one
  image --binary FILE --to FILE.tar [--tag NAME:TAG]
                      write an OCI image archive without a container engine
";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = repository_root();
    match words.as_slice() {
        ["generate"] => generate::write(&root),
        ["generate", "--check"] => generate::check(&root),
        ["gates"] => gates::check(&root),
        ["mutations"] => mutations::run(&root, None),
        ["mutations", only] => mutations::run(&root, Some(only)),
        ["image", rest @ ..] => image::run(rest),
        #[cfg(feature = "protocol")]
        ["protocol"] => protocol::generate(&root),
        #[cfg(not(feature = "protocol"))]
        ["protocol"] => {
            bail!("run `cargo run -p xtask --features protocol -- protocol`")
        }
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown chore\n{USAGE}"),
    }
}

fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}
