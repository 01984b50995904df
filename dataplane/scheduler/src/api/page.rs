//! The page for people: three files that are part of the program. It talks to the API as every other
//! client does, and runs nothing that is not in these files.

use axum::response::{IntoResponse as _, Response};
use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};

const HTML: &str = include_str!("page/index.html");
const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");

/// What the page may load and do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`.
pub(super) async fn html() -> Response {
    file("text/html; charset=utf-8", HTML)
}

/// `GET /page.css`.
pub(super) async fn css() -> Response {
    file("text/css; charset=utf-8", CSS)
}

/// `GET /page.js`.
pub(super) async fn js() -> Response {
    file("text/javascript; charset=utf-8", JS)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        // Another release has other files under the same names.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
