//! Where clients come in, and what `CONFIG GET` says of it.

use std::net::SocketAddr;
use std::sync::Arc;

use orrery_kit::certificates::Folder;
use orrery_kit::identity::Identity;
use orrery_kit::listen;

use super::{ServeArgs, ServeError};
use crate::config::Config;
use crate::metrics::Shared;
use crate::process;
use crate::server::certificates::Certificates;
use crate::server::listener::Listener;
use crate::server::settings::Settings;
use crate::server::users::Users;

pub(super) fn listeners(
    config: &Config,
    args: &ServeArgs,
    shared: &Shared,
    identity: Option<Arc<Identity>>,
) -> Result<Vec<Listener>, ServeError> {
    let address = listen::address("resp", SocketAddr::from(([127, 0, 0, 1], 6379)))?;
    let tcp = match &args.tls {
        Some(folder) => {
            let certificates = Certificates::load(Folder::new(folder), Arc::clone(&shared.tls))?;
            Listener::tls(address, certificates)?
        }
        None => Listener::tcp(address, false)?,
    };
    let mut listeners = vec![tcp];
    if let Some(path) = &config.unix_socket {
        listeners.push(Listener::unix(path)?);
    }
    if let Some(identity) = identity.filter(|_| config.is_grouped) {
        let address = listen::address("replication", SocketAddr::from(([127, 0, 0, 1], 9402)))?;
        listeners.push(Listener::peers(address, identity)?);
    }
    if let Some(address) = listeners[0].local_address() {
        tracing::info!(%address, "listening");
    }
    Ok(listeners)
}

pub(super) fn settings(
    config: &Config,
    args: &ServeArgs,
    users: &Users,
    listeners: &[Listener],
) -> Settings {
    let mut settings = Settings::default();
    if let Some(address) = listeners[0].local_address() {
        settings.put("port", address.port().to_string());
        settings.put("bind", address.ip().to_string());
        if args.tls.is_some() {
            settings.put("tls-port", address.port().to_string());
        }
    }
    settings.put("databases", config.databases.to_string());
    settings.put("maxclients", process::raise_file_limit(config.clients_max).to_string());
    settings.put("maxmemory", config.memory_limit_bytes.to_string());
    if let Some(path) = &config.unix_socket {
        settings.put("unixsocket", path.display().to_string());
    }
    settings.put("dir", args.data.display().to_string());
    settings.put("enable-debug-command", if config.debug_commands { "yes" } else { "no" });
    if users.password().is_some() {
        // Shown as set, never as text.
        settings.put("requirepass", "(secret)");
    }
    settings
}
