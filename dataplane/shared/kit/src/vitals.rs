//! What the metrics of every data plane have, whatever its job: whether it serves, since when it runs,
//! what it takes of the machine, and how full its volume is.

use std::path::PathBuf;
use std::time::SystemTime;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::health::Health;
use crate::process;

/// Read when somebody asks for metrics.
#[derive(Debug)]
pub struct Vitals {
    health: Health,
    data: PathBuf,
    started_seconds: i64,
    /// What `ready` means for this system.
    ready: &'static str,
}

impl Vitals {
    /// Of the process that begins now. `data` is a folder on its volume; `ready` is the help text of
    /// the metric of that name.
    pub fn begin(health: Health, data: PathBuf, ready: &'static str) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let started_seconds = now.map_or(0, |now| now.as_secs() as i64);
        Self { health, data, started_seconds, ready }
    }

    /// Writes the figures: name, meaning and value of each gauge.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, help, value) in self.gauges() {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }

    fn gauges(&self) -> Vec<(&'static str, &'static str, i64)> {
        let ready = i64::from(self.health.readiness().ready);
        let resident = process::resident_bytes() as i64;
        let mut figures = vec![
            ("ready", self.ready, ready),
            ("start_time_seconds", "Start of the process in Unix time", self.started_seconds),
            ("resident_memory_bytes", "Memory of the process in RAM", resident),
        ];
        if let Some((size, available)) = process::volume_bytes(&self.data) {
            figures.push(("volume_size_bytes", "Size of the data volume", size as i64));
            let help = "Free space of the data volume";
            figures.push(("volume_available_bytes", help, available as i64));
        }
        figures
    }
}
