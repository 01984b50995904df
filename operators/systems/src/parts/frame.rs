//! What all children of one engine object share: whose they are, and what its user wants on them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use orrery_api::spec::EngineSpec;
use orrery_runtime::{Identity, labels};

use super::names;
use crate::labels::merged;

/// Value of `app.kubernetes.io/component`.
pub(crate) const COMPONENT: &str = "server";

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// Value of `app.kubernetes.io/name`, and the word behind the object's name in those of children.
    pub(crate) system: &'static str,
    pub(crate) identity: &'a Identity,
    pub(crate) engine: &'a EngineSpec,
}

impl Frame<'_> {
    /// Name of most children.
    pub(crate) fn main(&self) -> String {
        names::main(&self.identity.name, self.system)
    }

    /// Name of the Service that gives every pod a name of its own.
    pub(crate) fn headless(&self) -> String {
        names::headless(&self.identity.name, self.system)
    }

    /// Metadata of a child, with the labels and annotations the user wants on every child.
    pub(crate) fn metadata(&self, name: &str) -> ObjectMeta {
        let user = &self.engine.metadata;
        let annotations = (!user.annotations.is_empty()).then(|| user.annotations.clone());
        ObjectMeta { annotations, ..self.identity.child(name, self.labels()) }
    }

    /// Labels of a child and of the pods.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let own = self.identity.labels(self.system, COMPONENT);
        merged(own, &self.engine.metadata.labels)
    }

    /// Labels the pods are selected by.
    pub(crate) fn selector(&self) -> BTreeMap<String, String> {
        labels::selector(self.system, &self.identity.name, COMPONENT)
    }

    /// The pods of the object.
    pub(crate) fn selected(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector()), ..LabelSelector::default() }
    }
}
