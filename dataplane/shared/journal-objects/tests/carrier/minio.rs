//! A real server of buckets, where its program is there already.

use orrery_blob::{Access, Address};
use orrery_e2e_tests::minio::{self, PASSWORD, USER};

const BUCKET: &str = "journals";

/// A server with one bucket, and the folder of its files and credentials.
pub(super) struct Bucket {
    #[allow(dead_code, reason = "the example does not kill it")]
    pub(super) server: minio::Minio,
    folder: tempfile::TempDir,
    endpoint: String,
}

impl Bucket {
    /// None where there is no such program; the reason was printed.
    pub(super) fn start() -> Option<Self> {
        let program = minio::built().map_err(|why| println!("not run: {why}")).ok()?;
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::create_dir(&secret).unwrap();
        std::fs::write(secret.join("ACCESS_KEY_ID"), USER).unwrap();
        std::fs::write(secret.join("SECRET_ACCESS_KEY"), PASSWORD).unwrap();
        let server = minio::Minio::start(&program, folder.path(), BUCKET).unwrap();
        let endpoint = server.endpoint();
        Some(Self { server, folder, endpoint })
    }

    pub(super) fn access(&self) -> Access {
        Access {
            secret: Some(self.folder.path().join("secret")),
            endpoint: Some(self.endpoint.clone()),
            region: None,
        }
    }

    pub(super) fn address(prefix: &str) -> Address {
        Address::Bucket { bucket: BUCKET.to_owned(), prefix: prefix.to_owned() }
    }
}
