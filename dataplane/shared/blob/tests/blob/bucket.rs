//! A bucket played by a few lines of HTTP: credentials, refusals and retries.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use orrery_blob::{Access, Address, BlobError, Put, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SECRET_KEY: &str = "a-key-that-is-never-shown";

/// Answers every request with the next status of the list, the last one for ever; counts requests.
async fn bucket(statuses: &'static [u16]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if read_request(&mut stream).await.is_err() {
                continue;
            }
            let number = counted.fetch_add(1, Ordering::AcqRel);
            let status = statuses[number.min(statuses.len() - 1)];
            let answer = format!(
                "HTTP/1.1 {status} Status\r\nETag: \"1\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, count)
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let (mut request, mut content) = (vec![], 0);
    let mut head = None;
    while head.is_none_or(|head| request.len() < head + content) {
        request.push(stream.read_u8().await?);
        if head.is_none() && request.ends_with(b"\r\n\r\n") {
            head = Some(request.len());
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            content = length.map_or(0, |digits| digits.parse().unwrap());
        }
    }
    Ok(())
}

fn secret(folder: &Path, url: &str) {
    std::fs::write(folder.join("AWS_ACCESS_KEY_ID"), "id\n").unwrap();
    std::fs::write(folder.join("AWS_SECRET_ACCESS_KEY"), SECRET_KEY).unwrap();
    std::fs::write(folder.join("AWS_ENDPOINT_URL"), url).unwrap();
}

fn access(folder: &Path) -> Access {
    Access { secret: Some(folder.to_owned()), ..Access::default() }
}

async fn put_new(statuses: &'static [u16]) -> (Result<Put, BlobError>, usize) {
    let (url, count) = bucket(statuses).await;
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), &url);
    let address: Address = "s3://backups/kv".parse().unwrap();
    let store = Store::open(&address, &access(folder.path())).unwrap();
    assert!(!format!("{store:?}").contains(SECRET_KEY));
    let put = store.put_new("a", Bytes::from_static(b"content")).await;
    (put, count.load(Ordering::Acquire))
}

#[tokio::test]
async fn a_bucket_that_stumbles_is_asked_again() {
    let (put, requests) = put_new(&[503, 200]).await;
    assert_eq!(put.expect("the second request succeeds"), Put::Created);
    assert_eq!(requests, 2);
}

#[tokio::test]
async fn an_object_that_exists_is_left_alone() {
    assert_eq!(put_new(&[412]).await.0.expect("it is no failure"), Put::Exists);
}

#[tokio::test]
async fn a_refused_key_is_denied_at_once_and_not_shown() {
    let (put, requests) = put_new(&[403]).await;
    let error = put.expect_err("the key is refused");
    assert!(matches!(error, BlobError::Denied { .. }), "{error}");
    assert!(!error.to_string().contains(SECRET_KEY));
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_bucket_that_stays_broken_fails_after_bounded_retries() {
    let (put, requests) = put_new(&[500]).await;
    assert!(matches!(put, Err(BlobError::Failed { .. })), "{put:?}");
    assert_eq!(requests, 5);
}

#[tokio::test]
async fn an_endpoint_that_is_named_goes_before_that_of_the_secret() {
    let (url, count) = bucket(&[200]).await;
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "http://127.0.0.1:1");
    std::fs::remove_file(folder.path().join("AWS_ACCESS_KEY_ID")).unwrap();
    std::fs::write(folder.path().join("ACCESS_KEY_ID"), "id").unwrap();
    let access = Access { endpoint: Some(url), ..access(folder.path()) };
    let store = Store::open(&"s3://backups".parse().unwrap(), &access).unwrap();
    let put = store.put_new("a", Bytes::from_static(b"content")).await;
    assert_eq!(put.expect("the named one answers"), Put::Created);
    assert_eq!(count.load(Ordering::Acquire), 1);
}

#[test]
fn a_secret_without_a_key_names_the_file_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("AWS_ACCESS_KEY_ID"), "id").unwrap();
    let address: Address = "s3://backups".parse().unwrap();
    let error = Store::open(&address, &access(folder.path())).expect_err("half a Secret");
    assert!(error.to_string().contains("SECRET_ACCESS_KEY"), "{error}");
    std::fs::write(folder.path().join("AWS_SECRET_ACCESS_KEY"), "\n").unwrap();
    let error = Store::open(&address, &access(folder.path())).expect_err("an empty file");
    assert!(matches!(error, BlobError::Credential { .. }), "{error}");
}
