//! The API as its clients meet it.

mod access;
mod ahead;
mod bulk;
mod calls;
mod dkron;
mod following;
mod grpc;
mod jobs;
mod ledger;
mod once;
mod page;
mod rows;
mod rules;
mod runs;
mod tls;

/// A job that is far away, as it is put.
const YEARLY: &str = r#"{"spec": {"when": {"cron": "0 7 1 1 *", "timeZone": "Europe/Paris"},
    "action": {"http": {"url": "http://127.0.0.1:9/run"}}}}"#;

/// The same with other fields of its spec.
fn yearly_with(fields: &str) -> String {
    format!(
        r#"{{"spec": {{"when": {{"cron": "0 7 1 1 *"}},
            "action": {{"http": {{"url": "http://127.0.0.1:9/run"}}}}, {fields}}}}}"#
    )
}

/// A line of a job that is far away.
fn line(name: &str) -> String {
    format!(
        r#"{{"name": "{name}", "spec": {{"when": {{"cron": "0 7 1 1 *"}}, "action": {{"http": {{"url": "http://127.0.0.1:9/run"}}}}}}}}"#
    )
}
