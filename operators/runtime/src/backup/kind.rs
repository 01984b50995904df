//! Engine kinds whose objects have archives, as Backups see them.
//!
//! Must not: know a system; each says itself which Backups are of it.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Resource;
use orrery_api::backup::BackupSpec;
use orrery_api::spec::ArchiveOf;
use orrery_operand::client::OperandClient;

use super::once::primary;
use crate::context::Context;
use crate::engine::Engine;
use crate::step::StepError;
use crate::system::{Carrier, Identity, Mode, System};

/// An object of an engine kind, for a Backup.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) archive: Option<ArchiveOf>,
    pub(crate) mode: Mode,
    pub(crate) is_leaving: bool,
}

/// What is there under a name.
#[derive(Debug)]
pub(crate) enum Sought {
    Missing,
    Unreadable,
    Found(Box<Found>),
}

/// One engine kind.
pub(crate) trait Kind: Send + Sync {
    fn kind(&self) -> Cow<'static, str>;

    /// Name of the object of this kind that a Backup is of, if it is of one.
    fn backed_up<'a>(&self, spec: &'a BackupSpec) -> Option<&'a str>;

    fn find<'a>(
        &'a self,
        ctx: &'a Context,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Sought>;

    /// The process that takes snapshots, started with `archive`, or what is awaited.
    fn primary<'a>(
        &'a self,
        ctx: &'a Context,
        identity: &'a Identity,
        archive: &'a ArchiveOf,
    ) -> BoxFuture<'a, Result<Result<OperandClient, String>, StepError>>;
}

/// See [`Kind`].
pub(crate) struct Of<S: System> {
    pub(crate) engine: Arc<Engine<S>>,
    pub(crate) system: PhantomData<fn() -> S>,
}

impl<S: System> Kind for Of<S> {
    fn kind(&self) -> Cow<'static, str> {
        S::Kind::kind(&())
    }

    fn backed_up<'a>(&self, spec: &'a BackupSpec) -> Option<&'a str> {
        S::backed_up(spec)
    }

    fn find<'a>(
        &'a self,
        ctx: &'a Context,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Sought> {
        async move {
            // Until the list of engines is complete, one that is not shown may well exist.
            self.engine.cache.complete().await;
            let found = self.engine.cache.get(&(namespace.to_owned(), name.to_owned()));
            let Some(found) = found else { return Sought::Missing };
            let Ok(object) = &found.0 else { return Sought::Unreadable };
            let options = &ctx.options;
            Sought::Found(Box::new(Found {
                identity: Identity::of(object, &options.image, &options.version, Carrier::Cluster),
                archive: S::archive(object),
                mode: S::mode(object),
                is_leaving: object.meta().deletion_timestamp.is_some(),
            }))
        }
        .boxed()
    }

    fn primary<'a>(
        &'a self,
        ctx: &'a Context,
        identity: &'a Identity,
        archive: &'a ArchiveOf,
    ) -> BoxFuture<'a, Result<Result<OperandClient, String>, StepError>> {
        primary::<S>(ctx, identity, Some(archive)).boxed()
    }
}
