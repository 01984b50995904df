//! Logs on standard error: text for people, JSON lines for collectors.

mod json;

use std::io::IsTerminal as _;

use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Another reader of what is logged and of the spans around it, such as an exporter of traces.
pub type Reader = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging for this process. `filter` is a level or a list such as `info,orrery_kv=debug`;
/// `reader` sees everything, whatever the filter. A second call changes nothing (tests share a
/// process).
pub fn init(format: Format, filter: &str, reader: Option<Reader>) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => {
            let coloured = std::io::stderr().is_terminal();
            lines.with_ansi(coloured).with_target(false).compact().with_filter(filter).boxed()
        }
        Format::Json => {
            lines.fmt_fields(JsonFields::new()).event_format(json::Flat).with_filter(filter).boxed()
        }
    };
    // An error here says that logging was started before.
    let _ = tracing_subscriber::registry()
        .with(reader.into_iter().chain([lines]).collect::<Vec<_>>())
        .try_init();
}

/// `ORRERY_LOG` (`text` or `json`) and `ORRERY_LOG_LEVEL`, read once at start. Inside a pod JSON
/// is the default.
pub fn init_from_environment(reader: Option<Reader>) {
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let format = match std::env::var("ORRERY_LOG").as_deref() {
        Ok("json") => Format::Json,
        Ok("text") => Format::Text,
        _ if in_pod => Format::Json,
        _ => Format::Text,
    };
    let filter = std::env::var("ORRERY_LOG_LEVEL").unwrap_or_else(|_| "info".to_owned());
    init(format, &filter, reader);
}
