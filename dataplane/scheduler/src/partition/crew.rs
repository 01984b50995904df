//! What the partitions of a process share.

use std::sync::Arc;

use orrery_kit::env::Env;

use crate::archive::Inherited;
use crate::dispatch::Dispatcher;
use crate::engine::{Resolver, Shared};

/// What all partitions of a process work with.
#[derive(Clone)]
pub struct Crew {
    pub env: Arc<dyn Env>,
    pub dispatcher: Arc<Dispatcher>,
    pub resolver: Arc<Resolver>,
    pub shared: Arc<Shared>,
}

impl Crew {
    /// Says what it was called in keys of runs before it was recovered, once and before the first.
    pub(crate) fn inherit(&self, before: Vec<Inherited>) {
        self.resolver.inherit(before);
    }

    /// Says what the engine is called, once and for good.
    pub(crate) fn name(&self, engine: &str) {
        self.dispatcher.errands().name(engine);
        self.resolver.name(engine);
    }
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("shared", &self.shared).finish_non_exhaustive()
    }
}
