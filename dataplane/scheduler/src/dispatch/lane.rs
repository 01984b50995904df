//! One target: what waits for it, what is in flight, and when it may have the next call.
//!
//! Pure but for credentials: the clock comes in, and what may be sent comes out.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::client::Reach;
use super::figures::Gauges;
use super::queue::{Place, Queue};
use super::secret::Keeper;
use super::target::TargetName;
use crate::run::RunId;

/// What a lane does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Send(RunId),
    /// Nothing before this moment.
    Wait(Instant),
    /// Nothing before a call ends or another comes.
    Rest,
}

pub(super) struct Lane {
    pub(super) name: TargetName,
    pub(super) reach: Arc<Reach>,
    pub(super) keeper: Keeper,
    pub(super) gauges: Arc<Gauges>,
    queue: Queue,
    in_flight: usize,
    in_flight_max: usize,
    bucket: Option<Bucket>,
    paused_until: Option<Instant>,
    /// When it is woken next.
    pub(super) wake: Option<Instant>,
    /// Its place among those that are idle, the least recently used first.
    pub(super) idle_since: Option<u64>,
    /// Whether it is in the list of lanes to look at.
    pub(super) is_listed: bool,
    /// Whether it waits for one of all calls in flight to end.
    pub(super) is_stalled: bool,
}

impl Lane {
    pub(super) fn new(
        name: TargetName,
        reach: Arc<Reach>,
        keeper: Keeper,
        gauges: Arc<Gauges>,
        in_flight_max: usize,
        bucket: Option<Bucket>,
    ) -> Self {
        Self {
            name,
            reach,
            keeper,
            gauges,
            queue: Queue::default(),
            in_flight: 0,
            in_flight_max: in_flight_max.max(1),
            bucket,
            paused_until: None,
            wake: None,
            idle_since: None,
            is_listed: false,
            is_stalled: false,
        }
    }

    /// Nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn push(&mut self, place: &Place, run: RunId, cost: u32) {
        self.queue.push(place, run, cost);
        self.gauges.queued.store(self.queue.len() as u64, Relaxed);
    }

    /// Takes out a call that was not sent.
    pub(super) fn remove(&mut self, place: &Place) {
        let was_here = self.queue.remove(place);
        debug_assert!(was_here, "a queued call is in the queue of its lane");
        self.gauges.queued.store(self.queue.len() as u64, Relaxed);
    }

    /// What to do now. A call that is given is in flight from here on.
    pub(super) fn next(&mut self, now: Instant, now_ms: u64) -> Next {
        if self.queue.is_empty() {
            return self.unthrottled();
        }
        if self.in_flight >= self.in_flight_max {
            return Next::Rest;
        }
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return self.throttled(until, now_ms);
        }
        if self.paused_until.take().is_some() && self.bucket.is_none() {
            self.gauges.throttled_since_ms.store(0, Relaxed);
        }
        if let Some(Err(at)) = self.bucket.as_mut().map(|bucket| bucket.take(now)) {
            return self.throttled(at, now_ms);
        }
        let Some(run) = self.queue.pop() else {
            return Next::Rest;
        };
        self.in_flight += 1;
        self.gauges.queued.store(self.queue.len() as u64, Relaxed);
        self.gauges.in_flight.store(self.in_flight as u64, Relaxed);
        Next::Send(run)
    }

    /// A call that was in flight is no more.
    pub(super) fn ended(&mut self) {
        debug_assert!(self.in_flight > 0, "only what is in flight ends");
        self.in_flight = self.in_flight.saturating_sub(1);
        self.gauges.in_flight.store(self.in_flight as u64, Relaxed);
    }

    /// Sends nothing for a while; a longer pause stays.
    pub(super) fn pause(&mut self, pause: Duration, now: Instant) {
        let until = now + pause;
        self.paused_until = Some(self.paused_until.map_or(until, |before| before.max(until)));
    }

    fn throttled(&mut self, until: Instant, now_ms: u64) -> Next {
        let since = &self.gauges.throttled_since_ms;
        if since.load(Relaxed) == 0 {
            since.store(now_ms.max(1), Relaxed);
        }
        Next::Wait(until)
    }

    fn unthrottled(&mut self) -> Next {
        self.gauges.throttled_since_ms.store(0, Relaxed);
        Next::Rest
    }
}
