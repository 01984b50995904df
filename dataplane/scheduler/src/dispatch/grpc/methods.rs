//! What is known of the methods of a target, service by service.
//!
//! A target is asked once for all calls that need the same service at the same time, and again when it
//! may have changed: after an age, when it does not understand what it is sent, when a body does not
//! fit. Asking again is bounded, so that a body that is wrong does not double every call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use http::Uri;
use prost_reflect::DescriptorPool;
use tokio::time::Instant;

use super::super::attempt::Attempt;
use super::reflection;
use crate::run::Outcome;

/// How long an answer is believed.
const AGE_MAX: Duration = Duration::from_mins(10);
/// How long it is believed whatever happens.
const AGE_MIN: Duration = Duration::from_secs(10);
/// Services of one target that are remembered.
const SERVICES_MAX: usize = 64;

struct Known {
    pool: DescriptorPool,
    since: Instant,
    is_doubted: bool,
}

impl Known {
    /// Whether the target is to be asked again; `wanted`: somebody would like to.
    fn is_old(&self, wanted: bool) -> bool {
        let age = self.since.elapsed();
        age >= AGE_MAX || (age >= AGE_MIN && (self.is_doubted || wanted))
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

/// See the module.
#[derive(Default)]
pub(super) struct Methods {
    services: Mutex<HashMap<Arc<str>, Slot>>,
}

impl Methods {
    /// The descriptors of a service, and whether they came just now. `again`: those that are known did
    /// not fit.
    pub(super) async fn of(
        &self,
        service: &Arc<str>,
        attempt: &Attempt,
        uri: &Uri,
        again: bool,
    ) -> Result<(DescriptorPool, bool), Outcome> {
        let slot = self.slot(service);
        let waited = tokio::time::timeout_at(attempt.deadline, slot.lock()).await;
        let Ok(mut known) = waited else {
            let note = "the target was asked for its methods, and did not answer".to_owned();
            return Err(Outcome::Failed { note });
        };
        if let Some(known) = known.as_ref().filter(|known| !known.is_old(again)) {
            return Ok((known.pool.clone(), false));
        }
        let pool = reflection::ask(attempt, uri, service).await?;
        let fresh = Known { pool: pool.clone(), since: Instant::now(), is_doubted: false };
        *known = Some(fresh);
        Ok((pool, true))
    }

    /// The target did not understand a call of this service.
    pub(super) async fn doubt(&self, service: &Arc<str>) {
        if let Some(known) = self.slot(service).lock().await.as_mut() {
            known.is_doubted = true;
        }
    }

    fn slot(&self, service: &Arc<str>) -> Slot {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if services.len() >= SERVICES_MAX
            && !services.contains_key(service)
            && let Some(other) = services.keys().next().cloned()
        {
            services.remove(&other);
        }
        Arc::clone(services.entry(Arc::clone(service)).or_default())
    }
}
