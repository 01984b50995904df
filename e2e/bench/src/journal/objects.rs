//! The journal carried by an object store beside single puts of objects as large as its groups, in the
//! same run: over a folder of this disk, and over a store in memory that takes 15 ms for each request,
//! as one in the same region does.
//!
//! One group is under way at a time. So a record that arrives waits for the rest of one put and for its
//! own: two round trips at most; and closed-loop clients are all in the same group: 64 records a put.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use orrery_blob::{Access, Address, Store};
use orrery_journal_objects::ObjectCarrier;

use super::ours::Ours;
use super::{CLIENTS, clients};
use crate::Options;
use crate::row::{Bar, Row, median};

pub const NAME: &str = "carried by an object store, 64 clients of 150 B";
const REQUEST: Duration = Duration::from_millis(15);
/// Longest time of a request, repetitions included.
const LIMIT: Duration = Duration::from_secs(10);
/// Records of one run at full scale, over the folder and at [`REQUEST`] a request.
const RECORDS_FOLDER: u64 = 100_000;
const RECORDS_DISTANT: u64 = 20_000;
/// Single puts of one run.
const PUTS: u64 = 200;
/// A frame of 150 bytes with its header and padding.
const FRAME_BYTES: usize = 208;

pub fn rows(folder: &Path, options: &Options) -> Result<(), String> {
    let bucket = folder.join("bucket");
    let address = |name: &str| Address::Folder(bucket.join(name));
    let open = |name| Store::create(&address(name), &Access::default());
    let near = |name| open(name).map_err(|error| error.to_string());
    let records = options.scaled(RECORDS_FOLDER);
    measure(folder, "a folder", &near("journal")?, &near("single")?, records, options)?;
    let distant = || {
        let wait_put_per_call = REQUEST;
        let config = ThrottleConfig {
            wait_put_per_call,
            wait_get_per_call: REQUEST,
            wait_list_per_call: REQUEST,
            ..ThrottleConfig::default()
        };
        Store::of(Arc::new(ThrottledStore::new(InMemory::new(), config)), "15 ms away")
    };
    let records = options.scaled(RECORDS_DISTANT);
    measure(folder, "15 ms a request", &distant(), &distant(), records, options)
}

fn measure(
    folder: &Path,
    kind: &str,
    store: &Store,
    single: &Store,
    records: u64,
    options: &Options,
) -> Result<(), String> {
    let carrier = ObjectCarrier::in_store(0, store, LIMIT).map_err(|error| error.to_string())?;
    let carrier = Arc::new(carrier);
    let copy = folder.join(format!("copy of {kind}"));
    let mut ours = Ours::open_carried(&copy, Arc::<ObjectCarrier>::clone(&carrier))?;
    let name = |what: &str| format!("{NAME}, {kind}, {what}");
    let mut p50 = Row::new(name("p50 beside one put"), "ms", Bar::AtMost(2.0));
    let mut p99 = Row::new(name("p99 beside one put"), "ms", Bar::None);
    let mut rate = Row::new(name("records/s"), "/s", Bar::None);
    let mut puts = Row::new(name("puts per million records"), "", Bar::AtMost(2.0));
    // As few as 64 clients allow.
    let fewest = 1e6 / CLIENTS as f64;
    clients::run(&mut ours, records / 10)?;
    for round in 0..options.rounds {
        let before = carrier.requests().puts;
        let a = clients::run(&mut ours, records)?;
        let made = (carrier.requests().puts - before) as f64;
        let taken = single_puts(single, round)?;
        p50.pairs.push((a.p50_ms, quantile(&taken, 50)));
        p99.pairs.push((a.p99_ms, quantile(&taken, 99)));
        rate.pairs.push((a.per_second, 1e3 / median(taken.iter().copied())));
        puts.pairs.push((made * 1e6 / records as f64, fewest));
    }
    for row in [p50, p99, rate, puts] {
        println!("{}", row.line());
    }
    Ok(())
}

/// Milliseconds of single puts, one after the other, ascending.
fn single_puts(store: &Store, round: usize) -> Result<Vec<f64>, String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let content = Bytes::from(vec![0x5a; CLIENTS * FRAME_BYTES]);
    let puts = async {
        let mut taken = Vec::new();
        for number in 0..PUTS {
            let begun = Instant::now();
            store.put_new(&format!("{round}/{number}"), content.clone()).await?;
            taken.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(taken)
    };
    let taken = runtime.map_err(|error| error.to_string())?.block_on(puts);
    let mut taken = taken.map_err(|error: orrery_blob::BlobError| error.to_string())?;
    taken.sort_by(f64::total_cmp);
    Ok(taken)
}

fn quantile(ascending: &[f64], percent: usize) -> f64 {
    ascending
        .get((ascending.len() * percent / 100).min(ascending.len() - 1))
        .copied()
        .unwrap_or(0.0)
}
