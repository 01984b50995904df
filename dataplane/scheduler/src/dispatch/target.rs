//! Where runs go, and how much of it at a time.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::pool::PoolMembers;
use super::secret::{Auth, SigningKey};

/// Calls in flight to a target that says nothing of it.
const IN_FLIGHT_DEFAULT: usize = 64;
/// Longest question to a target that says nothing of it.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// What a lane is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetName {
    /// Named in the configuration.
    Named(Arc<str>),
    /// Known by its address alone: scheme, host and port.
    AdHoc(Arc<str>),
}

impl TargetName {
    pub fn named(name: &str) -> Self {
        Self::Named(name.into())
    }

    /// The lane of an address; `None` when it has no scheme this crate speaks, or no host.
    pub fn ad_hoc(uri: &Uri) -> Option<Self> {
        origin(uri).map(|origin| Self::AdHoc(origin.into()))
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Named(name) | Self::AdHoc(name) => name,
        }
    }
}

/// Scheme, host and port of an address, always with the port and in lower case.
pub(super) fn origin(uri: &Uri) -> Option<String> {
    let (scheme, port) = match uri.scheme_str()? {
        "http" => ("http", 80),
        "https" => ("https", 443),
        _ => return None,
    };
    let host = uri.host()?.to_ascii_lowercase();
    Some(format!("{scheme}://{host}:{}", uri.port_u16().unwrap_or(port)))
}

/// Whether two addresses are of the same scheme, host and port.
pub(super) fn is_same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().or((uri.scheme_str() == Some("https")).then_some(443));
    one.scheme() == other.scheme()
        && port(one).unwrap_or(80) == port(other).unwrap_or(80)
        && match (one.host(), other.host()) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        }
}

/// A target of the configuration.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: TargetName,
    /// Where its calls may go. `None`: anywhere, and then its Secrets go there as well.
    pub origin: Option<Uri>,
    /// Calls sent and not over; one that the target runs after its answer counts until it ends.
    pub max_in_flight: usize,
    /// Calls sent in a second; a tenth of it may be sent at once.
    pub rate_per_second: Option<u32>,
    /// Longest time to ask how a run stands. That of a run is in its action, which says more than
    /// the target, be it shorter or longer.
    pub timeout: Duration,
    /// What the target knows this engine by.
    pub auth: Option<Auth>,
    /// What requests are signed with.
    pub signing: Option<SigningKey>,
    /// Certificates of authorities in PEM that are trusted beside those of the machine.
    pub ca_pem: Option<String>,
    /// Whether names may lead to addresses of private networks, as those of a cluster do.
    pub allow_private: bool,
    /// It is a pool of pods, and these take its runs.
    pub pool: Option<PoolMembers>,
}

impl Target {
    /// A target with the limits of one that says nothing.
    pub fn new(name: &str) -> Self {
        Self {
            name: TargetName::named(name),
            origin: None,
            max_in_flight: IN_FLIGHT_DEFAULT,
            rate_per_second: None,
            timeout: TIMEOUT_DEFAULT,
            auth: None,
            signing: None,
            ca_pem: None,
            allow_private: true,
            pool: None,
        }
    }
}

/// What holds for every target that is known by its address alone.
#[derive(Debug, Clone)]
pub struct AdHoc {
    pub max_in_flight: usize,
    pub timeout: Duration,
    pub allow_private: bool,
    /// How many are remembered; the least recently used idle one makes room for another.
    pub targets_max: usize,
}

impl Default for AdHoc {
    fn default() -> Self {
        Self {
            max_in_flight: IN_FLIGHT_DEFAULT,
            timeout: TIMEOUT_DEFAULT,
            allow_private: true,
            targets_max: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_names_one_lane_however_it_is_written() {
        let lane = TargetName::ad_hoc(&uri("https://Example.org/a?b")).expect("a lane");
        assert_eq!(lane.as_str(), "https://example.org:443");
        assert_eq!(Some(lane), TargetName::ad_hoc(&uri("https://example.org:443/c")));
        assert_eq!(None, TargetName::ad_hoc(&uri("ftp://example.org/")));
        assert_eq!(None, TargetName::ad_hoc(&uri("/run")));
        assert_ne!(TargetName::named("http://a:80"), TargetName::AdHoc("http://a:80".into()));
    }

    #[test]
    fn origins_are_compared_with_their_port() {
        assert!(is_same_origin(&uri("http://a/x"), &uri("http://A:80/y")));
        assert!(is_same_origin(&uri("https://a/x"), &uri("https://a:443/y")));
        assert!(!is_same_origin(&uri("http://a/x"), &uri("https://a/x")));
        assert!(!is_same_origin(&uri("http://a:80/x"), &uri("http://a:81/x")));
        assert!(!is_same_origin(&uri("http://a/x"), &uri("http://b/x")));
        assert!(!is_same_origin(&uri("/x"), &uri("/x")));
    }
}
