//! What every carrier must pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orrery_journal::Carrier;
use orrery_journal::carrier::suite::{self, Open};
use orrery_journal_kafka::KafkaCarrier;

use crate::broker::{options, shared};

#[test]
fn it_passes_the_suite_of_all_carriers() {
    let Some((world, _guard)) = shared() else { return };
    let number = AtomicU64::new(0);
    let host = world.broker.host();
    let fresh = || -> Box<Open> {
        let journal = format!("suite/{}", number.fetch_add(1, Ordering::SeqCst));
        let host = host.clone();
        let open = move || KafkaCarrier::open(options(host.clone(), &journal)).unwrap();
        Box::new(move || Arc::new(open()) as Arc<dyn Carrier>)
    };
    suite::run(&fresh, &|name| println!("{name}"));
}
