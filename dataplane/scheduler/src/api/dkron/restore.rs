//! Jobs of a file that was saved before: what Dkron lists is what it takes back.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::job::JobSent;
use super::jobs::set;
use super::render;
use crate::api::App;
use crate::api::input::{BULK_BYTES_MAX, read};
use crate::api::problem::Problem;
use crate::engine::JOBS_PER_REQUEST_MAX;

/// Name of the part that is the file.
const FILE: &str = "file";

/// `POST /v1/restore`, a form with the file. Gives a sentence for each job.
pub(in super::super) async fn restore(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let uri = request.uri().clone();
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = kind
        .and_then(boundary)
        .map(str::to_owned)
        .ok_or_else(|| Problem::malformed("the body is multipart/form-data with the part file"))?;
    // The semaphore is never closed.
    let _room = app.bulk.acquire().await.ok();
    let bytes = read(request, BULK_BYTES_MAX).await?;
    let file = part(&bytes, &boundary, FILE)
        .ok_or_else(|| Problem::malformed("the form has no part file"))?;
    let jobs: Vec<JobSent> = serde_json::from_slice(file)
        .map_err(|error| Problem::malformed(format!("the file is no list of jobs: {error}")))?;
    if jobs.len() > JOBS_PER_REQUEST_MAX {
        let detail = format!("at most {JOBS_PER_REQUEST_MAX} jobs in one file");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", detail));
    }
    let mut results = vec![];
    for job in jobs {
        let name = job.name.clone();
        results.push(match set(&app, job).await {
            Ok(_) => format!("success create {name}"),
            Err(problem) => format!("fail create {name}: {}: {}", problem.title, problem.detail),
        });
    }
    Ok(render(StatusCode::OK, &uri, &results))
}

/// The boundary in the type of a form.
fn boundary(kind: &str) -> Option<&str> {
    let mut parts = kind.split(';').map(str::trim);
    parts.next().filter(|kind| kind.eq_ignore_ascii_case("multipart/form-data"))?;
    let boundary = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value.trim_matches('"'))
    })?;
    (!boundary.is_empty()).then_some(boundary)
}

/// The content of the part with this name (RFC 7578).
fn part<'a>(body: &'a [u8], boundary: &str, name: &str) -> Option<&'a [u8]> {
    let mark = format!("--{boundary}");
    let mut at = find(body, mark.as_bytes())?;
    loop {
        let rest = body[at + mark.len()..].strip_prefix(b"\r\n")?;
        let end = find(rest, format!("\r\n{mark}").as_bytes())?;
        let (head, content) = rest[..end].split_at(find(&rest[..end], b"\r\n\r\n")?);
        let head = String::from_utf8_lossy(head);
        let is_it = head.split("\r\n").any(|line| {
            let (header, value) = line.split_once(':').unwrap_or_default();
            let is_named = |part: &str| {
                part.trim().split_once('=').is_some_and(|(key, value)| {
                    key.eq_ignore_ascii_case("name") && value.trim_matches('"') == name
                })
            };
            header.eq_ignore_ascii_case("content-disposition") && value.split(';').any(is_named)
        });
        if is_it {
            return Some(&content[4..]);
        }
        at = body.len() - rest.len() + end + 2;
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_among_the_parts_of_a_form() {
        let body = b"--xy\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n1\r\n--xy\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"jobs.json\"\r\n\
            Content-Type: application/json\r\n\r\n[\r\n]\r\n--xy--\r\n";
        assert_eq!(part(body, "xy", "file"), Some(&b"[\r\n]"[..]));
        assert_eq!(part(body, "xy", "other"), Some(&b"1"[..]));
        assert_eq!(part(body, "xy", "none"), None);
        assert_eq!(part(&body[..60], "xy", "file"), None);
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("multipart/mixed; boundary=a"), None);
    }
}
