//! The part of the operator that goes on by itself: it confirms an epoch again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use orrery_operand::client::OperandClient;
use orrery_operand::v1::RenewRequest;

use super::group::{Shape, block_on};
use crate::process::Engine;

/// Goes on confirming an epoch to one process until it is dropped.
pub(crate) struct Keeper {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn keep(engine: &Engine, epoch: u64, shape: Shape) -> Self {
        let address = format!("127.0.0.1:{}", engine.management);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            block_on(async {
                let operator = OperandClient::new(&address, None).expect("an address");
                let mut said_at = 0;
                while !stopped.load(Ordering::Relaxed) {
                    // One that is stopped or gone does not answer.
                    let patience = Duration::from_millis(300);
                    let asked = tokio::time::timeout(patience, operator.report()).await;
                    if let Ok(Ok(report)) = asked {
                        said_at = report.said_at;
                    }
                    let (followers, synchronous, lease_milliseconds) = shape;
                    let request = RenewRequest {
                        shard: 0,
                        epoch,
                        followers,
                        synchronous,
                        lease_milliseconds,
                        said_at,
                    };
                    let _ = tokio::time::timeout(patience, operator.renew(request)).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the keeper does not panic");
        }
    }
}
