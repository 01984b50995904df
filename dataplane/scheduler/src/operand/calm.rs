//! Word of what statuses show, which waits while many runs are under way: a thousand jobs of one second
//! would else have a thousand statuses written beside them, on the same cores and by the same API server
//! as the runs themselves.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::engine::Shared;

/// More runs in flight than this are many.
const MANY: u64 = 100;
/// Between two looks at how many there are, and before the first: partitions begin one after the other.
const LOOK: Duration = Duration::from_millis(100);
/// Nothing waits longer.
const HELD_MAX: Duration = Duration::from_secs(2);

/// The changes of `shared`, of which none is lost; two of them may become one.
pub(super) fn changes(shared: Arc<Shared>) -> watch::Receiver<u64> {
    let mut changes = shared.changes();
    let (to, told) = watch::channel(*changes.borrow_and_update());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = to.closed() => return,
            }
            let until = Instant::now() + HELD_MAX;
            loop {
                sleep(LOOK).await;
                if shared.figures().running <= MANY || Instant::now() >= until {
                    break;
                }
            }
            to.send_replace(*changes.borrow_and_update());
        }
    });
    told
}

#[cfg(test)]
mod tests {
    use orrery_kit::health::Health;

    use super::*;
    use crate::engine::Figures;

    #[tokio::test(start_paused = true)]
    async fn changes_wait_while_many_runs_are_under_way_and_none_is_lost() {
        let shared = Arc::new(Shared::new(2, Health::default()));
        let running = |running| Figures { running, ..Figures::default() };
        let mut told = changes(Arc::clone(&shared));
        let mut heard = async || {
            let asked = Instant::now();
            told.changed().await.expect("it goes on");
            (*told.borrow_and_update(), asked.elapsed())
        };
        shared.tell(0, running(MANY), true);
        let (count, after) = heard().await;
        assert_eq!(count, 1);
        assert!(after < HELD_MAX, "few are told of at once");
        // The second partition begins a moment later.
        shared.tell(0, running(MANY), true);
        shared.tell(1, running(1), true);
        let (count, after) = heard().await;
        assert_eq!(count, 3);
        assert!(after >= HELD_MAX, "{after:?}");
        shared.tell(0, running(MANY), true);
        sleep(LOOK * 2).await;
        shared.tell(0, running(0), true);
        let (count, after) = heard().await;
        assert_eq!(count, 5);
        assert!(after + LOOK * 2 < HELD_MAX, "they are told of when it is calm");
    }
}
