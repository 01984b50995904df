//! One connection with a runtime of its own, which runs while a call waits for it and at no other time.

use std::fmt;
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;

use crate::{Failure, Link, Target};

/// A connection with what drives it.
pub struct Session<A> {
    link: Option<Link<A>>,
    runtime: Option<Runtime>,
}

impl<A> Drop for Session<A> {
    fn drop(&mut self) {
        self.link = None;
        if let Some(runtime) = self.runtime.take() {
            // A name that is looked up may take longer than any call has.
            runtime.shutdown_background();
        }
    }
}

impl<A> fmt::Debug for Session<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl<A> Session<A> {
    /// Connects.
    pub fn open(target: &Target, deadline: Instant) -> Result<Self, Failure<A>> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Lost(format!("no runtime: {error}")))?;
        let mut session = Self { link: None, runtime: Some(runtime) };
        let link = session.within(deadline, async |_| {
            target.connect().await.map(Link::widen).map_err(Failure::widen)
        })?;
        session.link = Some(link);
        Ok(session)
    }

    /// Does some work until the deadline.
    fn within<T>(
        &mut self,
        deadline: Instant,
        work: impl AsyncFnOnce(Option<&mut Link<A>>) -> Result<T, Failure<A>>,
    ) -> Result<T, Failure<A>> {
        let Some(runtime) = &self.runtime else {
            return Err(Failure::Lost("it was closed".to_owned()));
        };
        let link = self.link.as_mut();
        runtime.block_on(async {
            timeout_at(deadline.into(), work(link))
                .await
                .unwrap_or_else(|_| Err(Failure::Lost("no answer in time".to_owned())))
        })
    }

    /// Does `work` until the deadline. After anything but an answer of the work itself the connection
    /// is of no more use.
    pub fn run<T>(
        &mut self,
        deadline: Instant,
        work: &mut impl AsyncFnMut(&mut Link<A>) -> Result<T, Failure<A>>,
    ) -> Result<T, Failure<A>> {
        self.within(deadline, async |link| match link {
            Some(link) => work(link).await,
            None => Err(Failure::Lost("it was closed".to_owned())),
        })
    }
}
