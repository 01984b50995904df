//! The sections of INFO, with the field names dashboards read from Redis. A field that has no
//! meaning here is left out unless common tools fail without it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Call;
use super::auth::REDIS_VERSION;
use super::extra;
use super::info::Text;
use crate::namespaces::Class;
use crate::server::Shard;
use orrery_kit::process;

/// How Redis calls what this is part of.
pub(super) fn mode(shard: &Shard) -> &'static str {
    if shard.cluster.is_some() { "cluster" } else { "standalone" }
}

pub(super) fn server(call: &Call<'_>, text: &mut Text) {
    let shard = &*call.shard;
    let uptime = shard.clock.mono_ms / 1000;
    text.title("Server");
    text.field("redis_version", REDIS_VERSION);
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_mode", mode(shard));
    text.field("orrery_version", env!("CARGO_PKG_VERSION"));
    text.field("os", process::system());
    text.field("arch_bits", usize::BITS);
    text.field("multiplexing_api", "epoll");
    text.field("process_id", std::process::id());
    text.field("run_id", &shard.run_id);
    text.field("tcp_port", shard.settings.text("port"));
    text.field("server_time_usec", shard.clock.wall_us);
    text.field("uptime_in_seconds", uptime);
    text.field("uptime_in_days", uptime / 86_400);
    text.field("hz", shard.settings.text("hz"));
    text.field("configured_hz", shard.settings.text("hz"));
    text.field("executable", process::executable());
    text.field("config_file", "");
    text.field("io_threads_active", 0);
    text.field("shard", shard.id);
}

pub(super) fn clients(call: &Call<'_>, text: &mut Text) {
    let shard = &*call.shard;
    text.title("Clients");
    text.field("connected_clients", shard.clients.len());
    text.field("cluster_connections", 0);
    text.field("maxclients", shard.limits.clients_max);
    text.field("client_recent_max_input_buffer", call.connection.query.capacity());
    text.field("client_recent_max_output_buffer", call.connection.output.heap_bytes());
    let paused = shard.held.len();
    text.field("blocked_clients", shard.waiting.len() + paused);
    text.field("tracking_clients", 0);
    text.field("clients_in_timeout_table", shard.waiting.timed());
}

pub(super) fn memory(call: &Call<'_>, text: &mut Text) {
    let shard = &*call.shard;
    let used = shard.machine.used_bytes();
    let peak = shard.stats.memory_peak.max(used);
    let rss = process::resident_bytes();
    let limit = shard.settings.number("maxmemory") as u64;
    text.title("Memory");
    text.field("used_memory", used);
    text.field("used_memory_human", human(used));
    text.field("used_memory_rss", rss);
    text.field("used_memory_rss_human", human(rss));
    text.field("used_memory_peak", peak);
    text.field("used_memory_peak_human", human(peak));
    text.field("used_memory_dataset", used);
    text.field("total_system_memory", process::total_memory_bytes());
    text.field("total_system_memory_human", human(process::total_memory_bytes()));
    text.field("used_memory_lua", 0);
    text.field("used_memory_scripts", 0);
    text.field("number_of_cached_scripts", 0);
    text.field("maxmemory", limit);
    text.field("maxmemory_human", human(limit));
    text.field("maxmemory_policy", shard.settings.text("maxmemory-policy"));
    text.field("mem_fragmentation_ratio", format!("{:.2}", rss as f64 / used.max(1) as f64));
    text.field("mem_fragmentation_bytes", rss.saturating_sub(used));
    text.field("mem_clients_normal", shard.output_bytes_total.max(0));
    text.field("mem_allocator", "mimalloc");
    text.field("active_defrag_running", 0);
    text.field("lazyfree_pending_objects", 0);
}

pub(super) fn persistence(call: &Call<'_>, text: &mut Text) {
    let shard = &*call.shard;
    let snapshots = &shard.snapshots;
    text.title("Persistence");
    text.field("loading", 0);
    text.field("async_loading", 0);
    text.field("current_cow_size", 0);
    text.field("current_save_keys_processed", snapshots.keys_done());
    text.field("rdb_changes_since_last_save", snapshots.records_since());
    text.field("rdb_bgsave_in_progress", i32::from(snapshots.is_running()));
    text.field("rdb_last_save_time", snapshots.last_success_ms / 1000);
    text.field("rdb_last_bgsave_status", if snapshots.last_failed { "err" } else { "ok" });
    text.field("rdb_last_bgsave_time_sec", snapshots.last_seconds);
    text.field("rdb_saves", snapshots.finished);
    text.field("aof_enabled", 1);
    text.field("aof_rewrite_in_progress", i32::from(snapshots.is_running()));
    text.field("aof_rewrite_scheduled", 0);
    text.field("aof_last_rewrite_time_sec", snapshots.last_seconds);
    text.field("aof_last_bgrewrite_status", if snapshots.last_failed { "err" } else { "ok" });
    text.field("aof_last_write_status", if shard.log.is_writable() { "ok" } else { "err" });
}

pub(super) fn durability(call: &Call<'_>, text: &mut Text) {
    let shard = &*call.shard;
    text.title("Durability");
    // What carries it by its kind alone: where it is, is not for clients.
    let carrier = shard.log.carrier().map(|carrier| carrier.name());
    let backend = carrier.as_deref().and_then(|name| name.split_once("://"));
    text.field("journal_backend", backend.map_or("local", |(scheme, _)| scheme));
    text.field("journal_durability", "disk");
    text.field("journal_position", shard.log.appended());
    text.field("journal_durable_position", shard.durable);
    text.field("journal_epoch", shard.log.epoch());
    text.field("journal_writable", i32::from(shard.log.is_writable()));
    text.field("journal_snapshot_position", shard.snapshots.position);
    text.field("gated_replies", shard.stats.gated_replies);
    text.field("gated_clients", shard.gated.len());
    let spaces = shard.machine.namespaces();
    for class in [Class::Cache, Class::Session, Class::Store, Class::Config, Class::Flag] {
        let of_class = spaces.iter().filter(|space| space.rules.class == class);
        let (keys, bytes) =
            of_class.fold((0, 0), |sum, space| (sum.0 + space.keys, sum.1 + space.used_bytes));
        let name = format!("{class:?}").to_lowercase();
        text.field(format_args!("keys_{name}"), keys);
        text.field(format_args!("bytes_{name}"), bytes);
    }
    text.field("namespaces", spaces.iter().count() - 1);
}

pub(super) fn tls(call: &Call<'_>, text: &mut Text) {
    let tally = &call.shard.shared.tls;
    let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    text.title("TLS");
    text.field("tls_enabled", i32::from(count(&tally.loaded) > 0));
    text.field("tls_handshakes", count(&tally.completed));
    text.field("tls_handshake_failures", count(&tally.failed));
    text.field("tls_handshakes_in_progress", count(&tally.in_progress));
    text.field("tls_certificates_loaded", count(&tally.loaded));
    text.field("tls_certificates_unusable", count(&tally.unusable));
    text.field("tls_certificate_expiry", tally.expires_s.load(Ordering::Relaxed));
}

pub(super) fn stats(call: &Call<'_>, text: &mut Text) {
    let shard = &*call.shard;
    let (stats, figures) = (&shard.stats, shard.machine.stats());
    text.title("Stats");
    text.field("total_connections_received", stats.connections_received);
    text.field("total_commands_processed", stats.commands_processed);
    text.field("instantaneous_ops_per_sec", stats.ops.per_second() as u64);
    text.field("total_net_input_bytes", stats.input_bytes);
    text.field("total_net_output_bytes", stats.output_bytes);
    text.field("instantaneous_input_kbps", format!("{:.2}", stats.input.per_second() / 1024.0));
    text.field("instantaneous_output_kbps", format!("{:.2}", stats.output.per_second() / 1024.0));
    text.field("rejected_connections", stats.connections_rejected);
    let syncs = shard.replicas.syncs();
    text.field("sync_full", syncs.full);
    text.field("sync_partial_ok", syncs.partial_ok);
    text.field("sync_partial_err", syncs.partial_err);
    text.field("expired_keys", figures.expired_keys);
    text.field("expired_stale_perc", "0.00");
    text.field("evicted_keys", figures.evicted_keys);
    text.field("evicted_clients", 0);
    text.field("keyspace_hits", figures.keyspace_hits);
    text.field("keyspace_misses", figures.keyspace_misses);
    text.field("pubsub_channels", 0);
    text.field("pubsub_patterns", 0);
    text.field("latest_fork_usec", 0);
    text.field("total_forks", 0);
    text.field("migrate_cached_sockets", 0);
    text.field("slave_expires_tracked_keys", 0);
    text.field("tracking_total_keys", 0);
    text.field("unexpected_error_replies", 0);
    text.field("total_error_replies", stats.error_replies);
    text.field("total_reads_processed", stats.reads);
    text.field("total_writes_processed", stats.writes);
    text.field("client_output_buffer_limit_disconnections", stats.output_limit_closed);
    text.field("client_query_buffer_limit_disconnections", stats.query_limit_closed);
    text.field("unknown_outcome_disconnections", stats.unknown_outcomes);
}

pub(super) fn cpu(_: &Call<'_>, text: &mut Text) {
    let (user, system) = process::cpu_seconds();
    text.title("CPU");
    text.field("used_cpu_sys", format!("{system:.6}"));
    text.field("used_cpu_user", format!("{user:.6}"));
    text.field("used_cpu_sys_children", "0.000000");
    text.field("used_cpu_user_children", "0.000000");
}

pub(super) fn modules(_: &Call<'_>, text: &mut Text) {
    text.title("Modules");
}

pub(super) fn commandstats(call: &Call<'_>, text: &mut Text) {
    text.title("Commandstats");
    for spec in extra::all() {
        let stats = call.shard.stats.commands[spec.index];
        if stats.calls + stats.rejected == 0 {
            continue;
        }
        let (usec, per_call) = (stats.micros(), stats.micros_per_call());
        text.field(
            format_args!("cmdstat_{}", spec.full_name),
            format_args!(
                "calls={},usec={usec:.0},usec_per_call={per_call:.2},rejected_calls={},\
                 failed_calls={}",
                stats.calls, stats.rejected, stats.failed
            ),
        );
    }
}

pub(super) fn errorstats(call: &Call<'_>, text: &mut Text) {
    text.title("Errorstats");
    for (code, count) in &call.shard.stats.errors {
        text.field(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn cluster(call: &Call<'_>, text: &mut Text) {
    text.title("Cluster");
    text.field("cluster_enabled", i32::from(call.shard.cluster.is_some()));
}

pub(super) fn keyspace(call: &Call<'_>, text: &mut Text) {
    text.title("Keyspace");
    for (number, db) in call.shard.machine.databases().iter().enumerate() {
        if !db.is_empty() {
            text.field(
                format_args!("db{number}"),
                format_args!("keys={},expires={},avg_ttl=0", db.len(), db.expires()),
            );
        }
    }
}

/// Bytes as `1.23M`, the way Redis rounds them.
fn human(bytes: u64) -> String {
    let units = [(1u64 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, letter)) => format!("{:.2}{letter}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
}
