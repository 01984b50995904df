//! What every carrier must pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orrery_journal::Carrier;
use orrery_journal::carrier::suite::{self, Open};
use orrery_journal_kafka::suite::Broker;

use crate::broker::carrier;

#[test]
fn it_passes_the_suite_of_all_carriers() {
    let Some(broker) = Broker::shared() else { return };
    let number = AtomicU64::new(0);
    let fresh = || -> Box<Open> {
        let journal = format!("suite/{}", number.fetch_add(1, Ordering::SeqCst));
        let broker = Arc::clone(&broker);
        Box::new(move || Arc::new(carrier(&broker, &journal)) as Arc<dyn Carrier>)
    };
    suite::run(&fresh, &|name| println!("{name}"));
}
