//! Metrics of the archives of all partitions together; all 0 without an archive.

use std::time::SystemTime;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::archive::Archives;

pub(super) fn encode(
    archives: Option<&Archives>,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    let now_s = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let of = |figure: &dyn Fn(&Archives) -> u64| archives.map_or(0, figure);
    let gauges = [
        (
            "archive_lag_records",
            "Records on disk that are not in the archive",
            of(&Archives::lag_records),
        ),
        (
            "archive_lag_seconds",
            "For how long there have been such records; 0 without any",
            of(&|archives| archives.lag_s(now_s)),
        ),
        (
            "archive_last_success_timestamp_seconds",
            "When something was put into the archive last, in Unix time; 0 before the first",
            of(&Archives::put_at_s),
        ),
    ];
    for (name, help, value) in gauges {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
    }
    let counters = [
        (
            "archive_failures",
            "Attempts to archive that failed",
            of(&|archives| archives.sum(|figures| figures.failures.get())),
        ),
        (
            "archive_bytes",
            "Bytes of records and snapshots put into the archive",
            of(&|archives| archives.sum(|figures| figures.written_bytes.get())),
        ),
    ];
    for (name, help, value) in counters {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
    }
    Ok(())
}
