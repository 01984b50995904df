//! Clients none of whose requests may fail, on threads of their own, while something is changed under
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use orrery_e2e_cluster::poll;

use crate::kubernetes::LIMIT;

/// See the module.
pub(crate) struct Unfailing {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Unfailing {
    /// One thread for each number: so many requests over one connection, then another one. `connect`
    /// gives what makes a request, by the number of the thread; whatever fails panics.
    pub(crate) fn start<R: FnMut()>(
        per_connection: &[u64],
        connect: impl Fn(usize) -> R + Clone + Send + 'static,
    ) -> Self {
        let (stop, requests) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = per_connection.iter().copied().enumerate().map(|(number, per)| {
            let (stop, requests, connect) = (stop.clone(), requests.clone(), connect.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut request = connect(number);
                    for _ in 0..per {
                        request();
                        requests.fetch_add(1, Ordering::Relaxed);
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                }
            })
        });
        let threads = threads.collect();
        Self { stop, requests, threads }
    }

    /// Waits for a hundred requests more.
    pub(crate) async fn go_on(&self) {
        let wanted = self.requests.load(Ordering::Relaxed) + 100;
        let more = poll("requests are answered", LIMIT, || async {
            assert!(self.threads.iter().all(|thread| !thread.is_finished()), "a request failed");
            self.requests.load(Ordering::Relaxed) >= wanted
        });
        more.await.expect("they are");
    }

    /// Ends them. Gives how many requests were answered.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no request failed");
        }
        self.requests.load(Ordering::Relaxed)
    }
}
