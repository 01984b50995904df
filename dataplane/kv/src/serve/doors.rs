//! Where clients come in, and what `CONFIG GET` says of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use orrery_api::kv::Layout;
use orrery_api::kv::layout::{CLIENTS_PORT, followers_port};
use orrery_kit::certificates::Folder;
use orrery_kit::identity::Identity;
use orrery_kit::listen;

use super::{Member, ServeArgs, ServeError};
use crate::config::Config;
use crate::server::certificates::Certificates;
use crate::server::listener::Listener;
use crate::server::settings::Settings;
use crate::server::users::Users;
use orrery_kit::process;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Of a shard. The first one of a process also has the doors that lead to any of them, where there are
/// several: clients of a cluster begin there.
pub(super) fn listeners(
    config: &Config,
    args: &ServeArgs,
    member: &Member,
    identity: Option<Arc<Identity>>,
    is_first: bool,
) -> Result<Vec<Listener>, ServeError> {
    let own = match &config.spread {
        Some(spread) => resp(&spread.layout, member.id)?,
        None => any()?,
    };
    let also = (config.has_several() && is_first).then(any).transpose()?;
    let mut listeners = vec![];
    for address in std::iter::once(own).chain(also) {
        listeners.push(match &args.tls {
            Some(folder) => {
                let tally = Arc::clone(&member.shared.tls);
                Listener::tls(address, Certificates::load(Folder::new(folder), tally)?)?
            }
            None => Listener::tcp(address, false)?,
        });
    }
    if let Some(path) = config.unix_socket.as_ref().filter(|_| is_first) {
        listeners.push(Listener::unix(path)?);
    }
    if let Some(identity) = identity.filter(|_| config.is_grouped) {
        let default = SocketAddr::from((LOCALHOST, 9402 + member.id as u16));
        let address = listen::address(&followers_port(member.id), default)?;
        listeners.push(Listener::peers(address, identity)?);
    }
    if let Some(address) = listeners[0].local_address() {
        tracing::info!(%address, "listening");
    }
    Ok(listeners)
}

/// Where clients reach any shard.
fn any() -> Result<SocketAddr, listen::ListenError> {
    listen::address(CLIENTS_PORT, SocketAddr::from((LOCALHOST, 6379)))
}

/// Where clients reach a shard of a cluster.
pub(super) fn resp(layout: &Layout, shard: u32) -> Result<SocketAddr, listen::ListenError> {
    if layout.shards == 1 {
        return any();
    }
    let default = SocketAddr::from((LOCALHOST, 6380 + shard as u16));
    listen::address(&layout.clients_port(shard), default)
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
    let clients = process::raise_file_limit(config.clients_max) / config.shards().len();
    settings.put("maxclients", clients.max(1).to_string());
    settings.put("maxmemory", config.memory_of_shard().to_string());
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
