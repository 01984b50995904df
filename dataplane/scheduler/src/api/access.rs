//! Who is let in.
//!
//! With a token, whoever shows it. Without one, whoever is on this machine, and of the pages that a
//! browser shows there, those of this API alone: another page may send requests to it too, and a name
//! of its own may lead here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Uri};
use subtle::ConstantTimeEq as _;

use super::App;
use super::listen::Peer;
use super::problem::Problem;

/// What Dkron's clients send a token in.
const DKRON_TOKEN: &str = "x-dkron-token";
/// What anybody may have: the page, which asks for the token, and whether the process serves.
pub(super) const OPEN: [&str; 4] = ["/", "/page.css", "/page.js", "/healthz"];

/// Lets a request through or refuses it.
pub(super) async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_open = OPEN.contains(&request.uri().path());
    let admitted = match &app.token {
        Some(_) if is_open => Ok(()),
        Some(token) => shows(token.reveal(), request.headers(), app.engine.config.dkron_compat),
        None => is_near(&request),
    };
    let admitted = admitted.and_then(|()| {
        let is_owner = is_open || app.engine.shared.standing.is_owner();
        if is_owner { Ok(()) } else { Err(Problem::not_the_owner()) }
    });
    match admitted {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn shows(token: &str, headers: &HeaderMap, is_dkron: bool) -> Result<(), Problem> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, shown) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(shown.trim())
    });
    let of_dkron = headers.get(DKRON_TOKEN).filter(|_| is_dkron);
    let shown = bearer.or_else(|| of_dkron.and_then(|value| value.to_str().ok()));
    match shown {
        None => Err(Problem::unauthorized("send the token as Authorization: Bearer")),
        Some(shown) if bool::from(shown.as_bytes().ct_eq(token.as_bytes())) => Ok(()),
        Some(_) => Err(Problem::unauthorized("this is not the token")),
    }
}

/// Whether a request comes from this machine, and from no page of somebody else.
fn is_near(request: &Request) -> Result<(), Problem> {
    let peer = request.extensions().get::<Peer>();
    if !peer.is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback()) {
        return Err(Problem::forbidden("there is no token: only this machine is served"));
    }
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(HOST) else { return Ok(()) };
    if !is_own_name(host) {
        let message = "there is no token: the API is served at localhost and at addresses alone";
        return Err(Problem::forbidden(message));
    }
    match text(ORIGIN) {
        Some(origin) if origin.split_once("://").map(|(_, from)| from) != Some(host) => {
            Err(Problem::forbidden("there is no token: pages of others are not served"))
        }
        _ => Ok(()),
    }
}

/// Whether a host is `localhost` or an address, which no name server can turn to.
fn is_own_name(host: &str) -> bool {
    let Ok(uri) = format!("http://{host}/").parse::<Uri>() else { return false };
    let Some(name) = uri.host() else { return false };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_not_this_machine() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:80", "[::1]:8080", "10.0.0.1"] {
            assert!(is_own_name(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8080", "", "127.0.0.1.nip.io"] {
            assert!(!is_own_name(host), "{host}");
        }
    }

    #[test]
    fn a_token_is_shown_as_bearer_and_to_dkron_as_dkron_does() {
        let headers = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert!(shows("secret", &headers("authorization", "Bearer secret"), false).is_ok());
        assert!(shows("secret", &headers("authorization", "bearer  secret"), false).is_ok());
        assert!(shows("secret", &headers("authorization", "Basic secret"), false).is_err());
        assert!(shows("secret", &headers("authorization", "Bearer secrets"), false).is_err());
        assert!(shows("secret", &headers(DKRON_TOKEN, "secret"), false).is_err());
        assert!(shows("secret", &headers(DKRON_TOKEN, "secret"), true).is_ok());
        assert!(shows("secret", &HeaderMap::new(), true).is_err());
    }
}
