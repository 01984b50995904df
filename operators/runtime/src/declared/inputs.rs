//! What declared objects point to, as each was seen last.
//!
//! Must not: hold Secrets, nor be read where the object's own round has to judge: that reads anew. The
//! rounds of engines take what is held, so that a set of many objects does not read as many objects
//! each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::board::Key;
use crate::context::Context;
use crate::step::StepError;
use crate::step::dereference::dereference;
use crate::system::{Reference, Referenced};

/// By the object that points.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    held: Mutex<HashMap<Key, Held>>,
}

#[derive(Debug)]
struct Held {
    references: Vec<Reference>,
    found: Arc<Referenced>,
}

impl Inputs {
    /// Reads the references, and says whether they lead to something else than before.
    pub(crate) async fn read(
        &self,
        ctx: &Context,
        key: &Key,
        references: &[Reference],
    ) -> Result<(Arc<Referenced>, bool), StepError> {
        if references.is_empty() {
            self.forget(key);
            return Ok((Arc::default(), false));
        }
        let found = Arc::new(dereference(ctx, &key.0, references).await?);
        let new = Held { references: references.to_vec(), found: Arc::clone(&found) };
        let old = self.lock().insert(key.clone(), new);
        let is_new = old.is_none_or(|old| old.found != found);
        Ok((found, is_new))
    }

    /// What is held, unless the object points to something else by now. What is missing since it was
    /// seen is still held: a schedule does not forget its holidays with a ConfigMap.
    pub(crate) async fn newest(
        &self,
        ctx: &Context,
        key: &Key,
        references: &[Reference],
    ) -> Result<Arc<Referenced>, StepError> {
        if let Some(held) = self.lock().get(key).filter(|held| held.references == references) {
            return Ok(Arc::clone(&held.found));
        }
        Ok(self.read(ctx, key, references).await?.0)
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
