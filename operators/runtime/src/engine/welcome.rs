//! The first round of an object that nobody has looked at.
//!
//! Must not: make anything.

use orrery_api::Reason;

use super::{Carried, Engine, PodsPlan};
use crate::controller::Next;
use crate::status::Progress;
use crate::step::StepError;
use crate::system::{Identity, Mode, System};

impl<S: System> Engine<S> {
    /// Tells that the object was seen, before anything is made. Among many new objects each is told
    /// so first, and the work of one does not keep the others waiting for a word.
    pub(super) async fn welcome(
        &self,
        object: &S::Kind,
        identity: &Identity,
        mode: Mode,
    ) -> Result<Next, StepError> {
        let message = "its children are made when its turn comes".to_owned();
        let progress = Progress::Waiting { reason: Reason::Starting, message };
        let pods = PodsPlan { frozen: true, ..PodsPlan::default() };
        let carried = Carried::nothing(progress, pods);
        self.report(object, identity, mode, carried).await?;
        Ok(Next::InTurn)
    }
}
