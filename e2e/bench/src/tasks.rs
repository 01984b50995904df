//! Closed-loop clients that are tasks of one thread.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use tokio::task::LocalSet;

use crate::measured::{Begun, Measured};

/// Carries out so many operations by so many clients, all on the thread that polls this; a client knows its
/// number.
pub async fn tasks<C, F>(operations: u64, clients: usize, carry_out: C) -> Result<Measured, String>
where
    C: Fn(usize) -> F + Clone + 'static,
    F: Future<Output = Result<(), String>>,
{
    let begun = Begun::now()?;
    let begun_operations = Rc::new(Cell::new(0));
    let local = LocalSet::new();
    let clients: Vec<_> = (0..clients)
        .map(|number| {
            let (carry_out, begun) = (carry_out.clone(), Rc::clone(&begun_operations));
            local.spawn_local(async move {
                let mut latencies = Vec::new();
                while begun.replace(begun.get() + 1) < operations {
                    let since = Instant::now();
                    carry_out(number).await?;
                    latencies.push(since.elapsed());
                }
                Ok::<_, String>(latencies)
            })
        })
        .collect();
    local
        .run_until(async {
            let mut latencies = Vec::new();
            for client in clients {
                latencies.append(&mut client.await.map_err(|error| error.to_string())??);
            }
            begun.measured(latencies)
        })
        .await
}
