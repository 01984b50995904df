//! Which image an object runs whose spec names a release of a catalog.
//!
//! A release that is not there, or not any more, takes nothing away: an object that runs goes on with
//! the image its StatefulSet has, is looked after in full, and says what is missing. One that does
//! not run yet waits.
//!
//! Must not: read the image from a cache. What is built from it replaces pods.

use k8s_openapi::api::apps::v1::StatefulSet;

use super::Engine;
use crate::catalogs;
use crate::children::store::controller_of;
use crate::labels;
use crate::step::{DereferenceError, StepError};
use crate::system::{Identity, System};

impl<S: System> Engine<S> {
    /// The identity with what runs, and what is missing if that is not what the spec asks for.
    pub(super) async fn released(
        &self,
        object: &S::Kind,
        identity: &Identity,
        validated: &S::Validated,
    ) -> Result<(Identity, Option<String>), StepError> {
        let spec = S::engine_spec(object);
        let Some(asked) = spec.and_then(|spec| spec.release.as_ref()) else {
            return Ok((identity.clone(), None));
        };
        let stored = self.statuses.newest(object, S::status(object));
        let ran = stored.as_ref().and_then(|status| S::common(status).version.as_deref());
        if let Some(refusal) = catalogs::refusal(asked, &self.ctx.options.version, ran) {
            return Err(refusal.into());
        }
        let why = match catalogs::image(&self.ctx.client, asked).await? {
            Ok(image) => return Ok((identity.running(asked, image), None)),
            Err(why) => why,
        };
        match self.in_effect(identity, validated).await? {
            Some(running) => {
                let why = format!("{why}; until then {} runs on", running.image);
                Ok((running, Some(why)))
            }
            None => Err(DereferenceError::Release(why).into()),
        }
    }

    /// The identity with the release the object was given last.
    async fn in_effect(
        &self,
        identity: &Identity,
        validated: &S::Validated,
    ) -> Result<Option<Identity>, StepError> {
        let api = self.set_api(identity);
        for built in S::build(validated, identity).stateful_sets {
            let name = built.metadata.name.unwrap_or_default();
            let set = api.get_opt(&name).await.map_err(|source| {
                let what = "StatefulSet";
                DereferenceError::Read { what, name, source }
            })?;
            let own = set.filter(|set| {
                let owner = controller_of(&set.metadata);
                owner.is_some_and(|owner| Some(&owner.uid) == identity.uid.as_ref())
            });
            if let Some(found) = own.and_then(|set| of_template(&set, S::NAME, identity)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// What the template of a StatefulSet runs. None when it says no release and another image than this
/// operator's: then the spec named that image before, and pods would be replaced to run it unnamed.
fn of_template(set: &StatefulSet, system: &str, identity: &Identity) -> Option<Identity> {
    let template = &set.spec.as_ref()?.template;
    let containers = &template.spec.as_ref()?.containers;
    let image = containers.iter().find(|container| container.name == system)?.image.clone()?;
    let metadata = template.metadata.as_ref()?;
    let version = metadata.labels.as_ref()?.get(labels::VERSION)?.clone();
    let release = metadata.annotations.as_ref().and_then(|all| all.get(labels::RELEASE)).cloned();
    let is_known = release.is_some() || image == identity.image;
    is_known.then(|| Identity { image, version, release, ..identity.clone() })
}
