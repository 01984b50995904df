//! Logs on standard error: text for people, JSON lines for collectors.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Starts logging for this process. `filter` is a level or a list such as `info,orrery_kv=debug`.
/// A second call changes nothing (tests share a process).
pub fn init(format: Format, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let writer = BoxMakeWriter::new(std::io::stderr);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // An error here says that logging was started before.
    let _ = match format {
        Format::Text => {
            let coloured = std::io::stderr().is_terminal();
            builder.with_ansi(coloured).with_target(false).compact().try_init()
        }
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// `ORRERY_LOG` (`text` or `json`) and `ORRERY_LOG_LEVEL`, read once at start. Inside a pod JSON
/// is the default.
pub fn init_from_environment() {
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let format = match std::env::var("ORRERY_LOG").as_deref() {
        Ok("json") => Format::Json,
        Ok("text") => Format::Text,
        _ if in_pod => Format::Json,
        _ => Format::Text,
    };
    let filter = std::env::var("ORRERY_LOG_LEVEL").unwrap_or_else(|_| "info".to_owned());
    init(format, &filter);
}
