//! MinIO, the server of a bucket. It is built from its Go module, which takes minutes: where it is not
//! in the cache yet, only `make e2e` builds it.

use std::ffi::OsStr;
use std::ops::{Deref, DerefMut};
use std::process::Command;

use orrery_e2e_cluster::{is_built, not_run, tool};
use orrery_e2e_tests::minio::Minio;

const BUILD: &str = "ORRERY_BUILD_MINIO";
pub(crate) const BUCKET: &str = "backups";

/// A server with one bucket, and the folder of its files.
pub(crate) struct Server {
    minio: Minio,
    _folder: tempfile::TempDir,
}

impl Deref for Server {
    type Target = Minio;

    fn deref(&self) -> &Minio {
        &self.minio
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Minio {
        &mut self.minio
    }
}

/// One on loopback. None where there is no such program; the reason was printed.
pub(crate) fn start() -> Option<Server> {
    start_at("127.0.0.1", |program| Command::new(program))
}

/// The same at another address, by commands that are made elsewhere: in a network namespace.
pub(crate) fn start_at(host: &str, command: impl Fn(&OsStr) -> Command) -> Option<Server> {
    if !is_built("minio") && std::env::var_os(BUILD).is_none() {
        not_run("minio is not in the cache; make e2e builds it");
        return None;
    }
    let program = match tool("minio") {
        Ok(program) => program,
        Err(error) => {
            not_run(&format!("no minio: {error}"));
            return None;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let minio = Minio::start_at(&program, folder.path(), BUCKET, host, command);
    Some(Server { minio: minio.unwrap_or_else(|error| panic!("{error}")), _folder: folder })
}
