//! What a shard lets other threads see: figures for metrics, `Report` and probes.
//!
//! The loop stores whole values now and then; nobody ever waits for it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use orrery_archiving::Figure;
use orrery_archiving::Figures;
use orrery_kit::health::Health;
pub(crate) use orrery_kit::health::Readiness;
use orrery_kit::vitals::Vitals;
use orrery_operand::v1::{Follower, Link};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::replication::copy::Discarded;
use crate::server::stream::tls::Tally;

/// What `Report` says about role, epochs and links. The numbers are those of its message.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) role: i32,
    pub(crate) epoch: u64,
    pub(crate) durable_epoch: u64,
    pub(crate) completed_epoch: u64,
    /// Of a group: see `Report`.
    pub(crate) whole: Option<bool>,
    pub(crate) known_epoch: u64,
    pub(crate) followers: Vec<Follower>,
    pub(crate) link: Option<Link>,
    /// Followers that must have a write before it is acknowledged.
    pub(crate) synchronous: u32,
    /// Records put aside because their history was not that of the primary.
    pub(crate) discarded: u64,
    /// The last of them.
    pub(crate) last_discarded: Discarded,
}

/// The figures of one shard.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) health: Health,
    pub(crate) tls: Arc<Tally>,
    declared_hash: Mutex<String>,
    view: Mutex<View>,
    pub(crate) connected_clients: Figure,
    pub(crate) commands: Figure,
    pub(crate) input_bytes: Figure,
    pub(crate) output_bytes: Figure,
    pub(crate) error_replies: Figure,
    pub(crate) gated_replies: Figure,
    pub(crate) rejected_connections: Figure,
    pub(crate) keys: Figure,
    pub(crate) used_bytes: Figure,
    pub(crate) hits: Figure,
    pub(crate) misses: Figure,
    pub(crate) expired: Figure,
    pub(crate) evicted: Figure,
    pub(crate) appended: Figure,
    pub(crate) durable: Figure,
    pub(crate) epoch: Figure,
    pub(crate) fenced_below: Figure,
    /// 1 while writes are accepted.
    pub(crate) writable: Figure,
    pub(crate) snapshot_position: Figure,
    pub(crate) operations_per_second: Figure,
    /// 0 when there is no limit.
    pub(crate) memory_limit_bytes: Figure,
    pub(crate) followers: Figure,
    pub(crate) followers_in_sync: Figure,
    pub(crate) link_up: Figure,
    pub(crate) lag_records: Figure,
    pub(crate) source_lag_bytes: Figure,
    pub(crate) discarded_records: Figure,
    pub(crate) archive: Arc<Figures>,
    /// Where a recovery from an archive ended; 0 when there was none.
    pub(crate) recovered_position: Figure,
}

impl Shared {
    /// `view`: what is known before recovery. `tls`: that of the process.
    pub(crate) fn new(health: Health, view: View, tls: Arc<Tally>) -> Self {
        Self { health, tls, view: Mutex::new(view), ..Self::default() }
    }

    pub(crate) fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_view(&self, view: View) {
        self.followers.set(view.followers.len() as u64);
        let in_sync = view.followers.iter().filter(|follower| follower.in_sync).count();
        self.followers_in_sync.set(in_sync as u64);
        self.link_up.set(u64::from(view.link.as_ref().is_some_and(|link| link.up)));
        self.discarded_records.set(view.discarded);
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    pub(crate) fn set_readiness(&self, readiness: Readiness, declared: &str) {
        let Readiness { ready, reason, message } = readiness;
        let trouble = self.archive.trouble();
        match (ready, reason.as_str()) {
            (true, "") if !trouble.is_empty() => {
                self.health.set_degraded("ArchiveFailing", trouble);
            }
            (true, "") => self.health.set_ready(),
            (true, reason) => self.health.set_degraded(reason, message),
            (false, reason) => self.health.set_not_ready(reason, message),
        }
        let mut hash = self.declared_hash.lock().unwrap_or_else(PoisonError::into_inner);
        if *hash != declared {
            declared.clone_into(&mut hash);
        }
    }

    /// Hash of the declared set in force; empty when none was declared.
    pub(crate) fn declared_hash(&self) -> String {
        self.declared_hash.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counters(&self) -> [(&'static str, &'static str, &Figure); 10] {
        [
            ("commands", "Commands processed", &self.commands),
            ("input_bytes", "Bytes received from clients", &self.input_bytes),
            ("output_bytes", "Bytes sent to clients", &self.output_bytes),
            ("error_replies", "Replies that were errors", &self.error_replies),
            ("gated_replies", "Replies that waited for the journal", &self.gated_replies),
            ("rejected_connections", "Connections refused", &self.rejected_connections),
            ("keyspace_hits", "Reads that found their key", &self.hits),
            ("keyspace_misses", "Reads that did not", &self.misses),
            ("expired_keys", "Keys deleted after their deadline", &self.expired),
            ("evicted_keys", "Keys evicted", &self.evicted),
        ]
    }

    fn gauges(&self) -> [(&'static str, &'static str, &Figure); 19] {
        [
            ("writable", "1 while writes are accepted", &self.writable),
            (
                "memory_limit_bytes",
                "Memory keys may take; 0 without a limit",
                &self.memory_limit_bytes,
            ),
            ("connected_clients", "Connected clients", &self.connected_clients),
            ("keys", "Keys in all databases", &self.keys),
            ("used_memory_bytes", "Memory of keys and values", &self.used_bytes),
            ("journal_position", "Last journal position appended", &self.appended),
            ("journal_durable_position", "Last journal position on disk", &self.durable),
            ("journal_epoch", "Fencing epoch of new records", &self.epoch),
            (
                "snapshot_position",
                "Journal position of the newest snapshot",
                &self.snapshot_position,
            ),
            ("followers", "Links of followers", &self.followers),
            ("followers_in_sync", "Followers that have caught up", &self.followers_in_sync),
            (
                "archived_position",
                "Last journal position in the archive",
                &self.archive.archived_position,
            ),
            (
                "archive_lag_records",
                "Records on disk that are not in the archive",
                &self.archive.lag_records,
            ),
            (
                "archive_snapshot_position",
                "Journal position of the newest snapshot in the archive",
                &self.archive.snapshot_position,
            ),
            (
                "recovered_position",
                "Last journal position recovered from an archive; 0 without a recovery",
                &self.recovered_position,
            ),
            ("link_up", "1 while the link to the primary is up", &self.link_up),
            ("lag_records", "Records of the primary not on disk here", &self.lag_records),
            (
                "source_lag_bytes",
                "Bytes of a Redis that is taken over not on disk here",
                &self.source_lag_bytes,
            ),
            (
                "discarded_records",
                "Records put aside because the primary does not have them",
                &self.discarded_records,
            ),
        ]
    }
}

impl Tally {
    fn counters(&self) -> [(&'static str, &'static str, &AtomicU64); 4] {
        [
            ("tls_handshakes", "TLS handshakes that succeeded", &self.completed),
            ("tls_handshake_failures", "TLS handshakes that did not", &self.failed),
            ("tls_certificates_loaded", "Certificates taken over", &self.loaded),
            ("tls_certificates_unusable", "Certificates that could not be used", &self.unusable),
        ]
    }

    fn gauges(&self) -> [(&'static str, &'static str, i64); 2] {
        let in_progress = self.in_progress.load(Ordering::Relaxed) as i64;
        let expires_s = self.expires_s.load(Ordering::Relaxed);
        [
            ("tls_handshakes_in_progress", "TLS handshakes in progress", in_progress),
            (
                "tls_certificate_expiry_timestamp_seconds",
                "End of the certificate in use; 0 without TLS",
                expires_s,
            ),
        ]
    }
}

/// The figures of the shards, and those of the process.
#[derive(Debug)]
struct Exporter {
    /// The shards by id; the figures of several are told apart by a label.
    shards: Vec<(u32, Arc<Shared>)>,
    vitals: Vitals,
}

impl Exporter {
    /// One metric of every shard.
    fn of_shards<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        metric: impl Fn(&Shared) -> M,
    ) -> Result<(), std::fmt::Error> {
        let Some((_, first)) = self.shards.first() else { return Ok(()) };
        let kind = metric(first).metric_type();
        let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
        if let [(_, only)] = &*self.shards {
            return metric(only).encode(encoder);
        }
        for (id, shared) in &self.shards {
            metric(shared).encode(encoder.encode_family(&[("shard", id.to_string())])?)?;
        }
        Ok(())
    }
}

impl Collector for Exporter {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some((_, first)) = self.shards.first() else { return Ok(()) };
        for (index, (name, help, _)) in first.counters().into_iter().enumerate() {
            let metric = |shared: &Shared| ConstCounter::new(shared.counters()[index].2.get());
            self.of_shards(&mut encoder, (name, help), metric)?;
        }
        // Certificates and handshakes are counted for the process as a whole.
        for (name, help, figure) in first.tls.counters() {
            let metric = ConstCounter::new(figure.load(Ordering::Relaxed));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        for (name, help, figure) in first.tls.gauges() {
            let metric = ConstGauge::new(figure);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        for (index, (name, help, _)) in first.gauges().into_iter().enumerate() {
            let metric = |shared: &Shared| ConstGauge::new(shared.gauges()[index].2.get() as i64);
            self.of_shards(&mut encoder, (name, help), metric)?;
        }
        self.vitals.encode(&mut encoder)
    }
}

/// A registry with the figures of shards under `orrery_kv_…`; `data` is the folder on their volume.
pub(crate) fn registry(
    shards: Vec<(u32, Arc<Shared>)>,
    health: Health,
    data: PathBuf,
) -> Arc<Mutex<Registry>> {
    let vitals = Vitals::begin(health, data, "1 while clients are served");
    let mut registry = Registry::with_prefix("orrery_kv");
    registry.register_collector(Box::new(Exporter { shards, vitals }));
    Arc::new(Mutex::new(registry))
}

/// Every metric of this data plane in the text format, with the values of an idle process: what
/// `docs/metrics.md` is made from.
pub fn metrics_text() -> String {
    let shared = Arc::new(Shared::default());
    let registry = registry(vec![(0, shared)], Health::default(), PathBuf::from("."));
    let registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("writing to a String does not fail");
    text
}
