//! Waiting for a condition with a deadline: the only way this crate and its users wait.

use std::time::{Duration, Instant};

use crate::ClusterError;

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `condition` gives a value, at most `limit`.
///
/// # Errors
/// [`ClusterError::Late`] naming `what` when it never did.
pub async fn poll_for<T, F, W>(
    what: &str,
    limit: Duration,
    mut condition: F,
) -> Result<T, ClusterError>
where
    F: FnMut() -> W,
    W: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(ClusterError::Late { what: what.to_owned(), seconds: limit.as_secs() });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Looks until `condition` holds, at most `limit`.
///
/// # Errors
/// As [`poll_for`].
pub async fn poll<F, W>(what: &str, limit: Duration, mut condition: F) -> Result<(), ClusterError>
where
    F: FnMut() -> W,
    W: Future<Output = bool>,
{
    poll_for(what, limit, || {
        let held = condition();
        async { held.await.then_some(()) }
    })
    .await
}
