//! A snapshot of everything into the archives, as of one moment.
//!
//! Every partition puts a snapshot. The moment comes behind all of them: then the clock is awaited to be
//! past it, and what partitions have written by then is archived. So everything up to the moment is there,
//! and nothing that is written later is of it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use orrery_archiving::demand::{At, DemandError};
use orrery_archiving::post::Post;
use orrery_kit::env::Env;

use super::{Archived, Archives};
use crate::partition::{Handle, Newest, Unavailable};

/// Clocks have ticks; how often it is looked whether one has passed.
const TICK: Duration = Duration::from_millis(1);

/// The moment is not archived, or not known to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MomentError {
    #[error("recovering")]
    Recovering,
    #[error(transparent)]
    Partition(#[from] Unavailable),
    #[error(transparent)]
    Demand(#[from] DemandError),
}

/// What is asked for one moment of.
pub(crate) struct Moment<'a> {
    pub(crate) archives: &'a Archives,
    pub(crate) handles: &'a [Handle],
    pub(crate) env: &'a dyn Env,
}

impl Moment<'_> {
    /// Archives everything up to a moment; gives it, in microseconds since the Unix epoch. `goes_on` says
    /// whether anybody still waits.
    pub(crate) async fn take(
        &self,
        goes_on: &(dyn Fn(u64) -> bool + Sync),
    ) -> Result<i64, MomentError> {
        let each = self.archives.each.iter().map(|archived| {
            let post = archived.posts.current().ok_or(MomentError::Recovering)?;
            Ok((archived, post))
        });
        let each: Vec<(&Archived, Arc<Post>)> = each.collect::<Result<_, MomentError>>()?;
        let mut newest_ms = 0;
        let mut before = vec![];
        for handle in self.handles {
            let newest = handle.snapshot().await?;
            newest_ms = newest_ms.max(newest.last_ms);
            before.push(newest);
        }
        let snapshots = each.iter().zip(&before).filter(|(_, newest)| newest.position > 0);
        try_join_all(snapshots.map(|((archived, post), newest)| async {
            at(archived, post)?.snapshot(newest.position, goes_on).await?;
            Ok::<(), MomentError>(())
        }))
        .await?;
        // A clock that was set back is behind what is written already.
        let moment_ms = newest_ms.max(self.now_ms());
        while self.now_ms() == moment_ms {
            tokio::time::sleep(TICK).await;
        }
        for ((archived, post), handle) in each.iter().zip(self.handles) {
            let Newest { position, .. } = handle.newest().await?;
            at(archived, post)?.records(position, goes_on).await?;
        }
        Ok(moment_ms.saturating_mul(1000))
    }

    fn now_ms(&self) -> i64 {
        self.env.wall_us() / 1000
    }
}

fn at<'a>(archived: &'a Archived, post: &'a Arc<Post>) -> Result<At<'a>, MomentError> {
    let mandate = post.mandate.as_ref().ok_or(MomentError::Recovering)?;
    Ok(At { posts: &archived.posts, post, mandate, figures: &archived.figures })
}
