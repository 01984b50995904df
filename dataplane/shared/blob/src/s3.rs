//! Buckets: endpoint, region and credentials from the files of a mounted Secret.
//!
//! The files have the names that S3 tools give these settings, with or without `AWS_` before them,
//! so a Secret made for another tool fits. Read at every opening, so a rotated Secret is used by
//! the next one. What the caller names itself goes before what the Secret names.

use std::io;
use std::path::Path;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use crate::{Access, BlobError, DEADLINE, OBJECT_BYTES_MAX, deadline};

const ACCESS_KEY_ID: &str = "ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "SESSION_TOKEN";
const REGION: &str = "REGION";
const ENDPOINT_URL: &str = "ENDPOINT_URL";
/// What may stand before these names.
const PREFIX: &str = "AWS_";
const CA_CERTIFICATE: &str = "ca.crt";

/// Used when the Secret names none; stores that are no cloud take any.
const REGION_DEFAULT: &str = "us-east-1";
/// Requests beside the first one, within [`DEADLINE`].
const RETRIES_MAX: usize = 4;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of a server that is to send something.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest secret file, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// The bucket behind `address`.
pub(crate) fn open(address: &str, bucket: &str, access: &Access) -> Result<AmazonS3, BlobError> {
    let file = |name: &str| match &access.secret {
        Some(folder) => read(&folder.join(name)),
        None => Ok(None),
    };
    let read = |name: &str| match file(&format!("{PREFIX}{name}"))? {
        None => file(name),
        found => Ok(found),
    };
    let need = |file| {
        let missing = || BlobError::CredentialMissing { address: address.to_owned(), file };
        read(file)?.ok_or_else(missing)
    };
    let unusable = |source: object_store::Error| BlobError::Unusable {
        address: address.to_owned(),
        source: Box::new(source),
    };
    // One provider in the whole product; whoever comes first has set the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let named = |name: &Option<String>, file: &str| match name {
        Some(name) => Ok(Some(name.clone())),
        None => read(file),
    };
    let endpoint = named(&access.endpoint, ENDPOINT_URL)?;
    let is_plain = endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
    let mut options = ClientOptions::new()
        .with_allow_http(is_plain)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(SILENCE)
        .with_timeout(deadline(OBJECT_BYTES_MAX));
    let authority = file(CA_CERTIFICATE)?;
    if let Some(pem) = &authority {
        for certificate in Certificate::from_pem_bundle(pem.as_bytes()).map_err(unusable)? {
            options = options.with_root_certificate(certificate);
        }
    }
    // Whoever names an authority means that one; without TLS none is needed.
    options = options.with_no_system_certificates(is_plain || authority.is_some());
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: CONNECT_TIMEOUT, ..BackoffConfig::default() },
        max_retries: RETRIES_MAX,
        retry_timeout: DEADLINE / 2,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_access_key_id(need(ACCESS_KEY_ID)?)
        .with_secret_access_key(need(SECRET_ACCESS_KEY)?)
        .with_region(named(&access.region, REGION)?.unwrap_or_else(|| REGION_DEFAULT.to_owned()))
        .with_client_options(options)
        .with_retry(retry);
    if let Some(token) = read(SESSION_TOKEN)? {
        builder = builder.with_token(token);
    }
    if let Some(url) = endpoint {
        builder = builder.with_endpoint(url.trim_end_matches('/'));
    }
    builder.build().map_err(unusable)
}

/// The content of one file of the Secret, without its line end; `None` when there is no such file.
fn read(path: &Path) -> Result<Option<String>, BlobError> {
    let refused = |source| BlobError::Credential { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(refused(io::Error::other("it is too long")));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(refused)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(refused(io::Error::other("it is empty")));
    }
    Ok(Some(text.to_owned()))
}
