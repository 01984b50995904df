//! What every carrier must pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orrery_journal::Carrier;
use orrery_journal::carrier::suite::{self, Open};

use crate::server::Server;

#[test]
fn it_passes_the_suite_of_all_carriers() {
    let Some(server) = Server::shared() else { return };
    let number = AtomicU64::new(0);
    let fresh = || -> Box<Open> {
        let journal = format!("suite/{}", number.fetch_add(1, Ordering::SeqCst));
        let server = Arc::clone(&server);
        Box::new(move || Arc::new(server.carrier(&journal)) as Arc<dyn Carrier>)
    };
    suite::run(&fresh, &|name| println!("{name}"));
}
