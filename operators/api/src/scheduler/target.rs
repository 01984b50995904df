//! Where runs are sent: services by name, with their limits and credentials.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::LocalRef;

/// Calls of a target at the same time unless told otherwise.
pub const MAX_IN_FLIGHT_DEFAULT: i32 = 64;
/// Seconds a call may take unless told otherwise.
pub const TIMEOUT_SECONDS_DEFAULT: i64 = 30;

/// A service that runs are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// What actions name it by.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Http.
    #[serde(rename = "type", default)]
    pub type_: TargetType,
    /// Host name or IP address.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])$")
    )]
    pub host: String,
    /// Its port. Left out: 80, or 443 with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i32>,
    /// Path of actions that name none. Left out: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^/\S*$"))]
    pub path: Option<String>,
    /// "On" or "Off". Write the quotes: kubectl reads the bare words as booleans.
    #[serde(default)]
    pub tls: TargetTls,
    /// Secret with the authority of its certificate under the key `ca.crt`. Left out: the authorities
    /// of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<LocalRef>,
    /// The most calls at the same time.
    #[serde(default = "max_in_flight")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_in_flight: i32,
    /// The most calls in a second. Left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate_per_second: Option<i32>,
    /// The longest a call may take, in seconds, where the schedule says nothing.
    #[serde(default = "timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: i64,
    /// Secret with the credentials of the calls: `token` (sent as Bearer), `username` and `password`
    /// (sent as Basic), or `header` and `value`. A changed Secret is taken over by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_ref: Option<LocalRef>,
    /// Secret with the key `secret`, which the calls are signed with as Standard Webhooks says. A
    /// changed Secret is taken over by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_ref: Option<LocalRef>,
}

fn max_in_flight() -> i32 {
    MAX_IN_FLIGHT_DEFAULT
}

fn timeout_seconds() -> i64 {
    TIMEOUT_SECONDS_DEFAULT
}

/// What a target speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TargetType {
    /// HTTP/1.1, or HTTP/2 where TLS agrees on it.
    #[default]
    Http,
}

/// Whether a target speaks TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TargetTls {
    /// It does not.
    #[default]
    Off,
    /// It does.
    On,
}
