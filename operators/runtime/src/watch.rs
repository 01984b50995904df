//! Watches that keep their promises: each with its own backoff, each expected to show signs of
//! life, each reporting what vanished while it was not connected.
//!
//! Must not: share a backoff. kube's Controller puts one backoff over all watches merged into it,
//! so a single failing watch can stop all; here no watch enters a Controller, only triggers do.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::board::Key;
use crate::cache::Cache;
use crate::liveness::Liveness;

/// How watches are made.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// The server ends a watch after this long; a connection that died silently is noticed 5 s
    /// later. Whole seconds.
    pub timeout: Duration,
    /// First list as a stream instead of pages.
    pub streaming_lists: bool,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(50), streaming_lists: true }
    }
}

impl WatchOptions {
    fn config(&self, selector: Option<&str>) -> Config {
        let config = Config::default().timeout(self.timeout.as_secs() as u32);
        let config = if self.streaming_lists { config.streaming_lists() } else { config };
        match selector {
            Some(selector) => config.labels(selector),
            None => config,
        }
    }
}

/// Watches all objects of a kind in one namespace, or in all. Errors are logged and waited out.
pub fn events<K>(
    client: &Client,
    namespace: Option<&str>,
    selector: Option<&str>,
    options: &WatchOptions,
    liveness: &Liveness,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    watched(api, K::url_path(&(), namespace), selector, options, liveness)
}

/// Watches all objects of a kind that belongs to no namespace.
pub fn cluster_events<K>(
    client: &Client,
    options: &WatchOptions,
    liveness: &Liveness,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    watched(Api::all(client.clone()), K::url_path(&(), None), None, options, liveness)
}

fn watched<K>(
    api: Api<K>,
    path: String,
    selector: Option<&str>,
    options: &WatchOptions,
    liveness: &Liveness,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    liveness.expect(&path);
    watcher(api, options.config(selector)).default_backoff().filter_map(move |result| {
        let event = match result {
            Ok(event) => Some(event),
            Err(error) => {
                warn!(path, %error, "watch failed, trying again");
                None
            }
        };
        std::future::ready(event)
    })
}

/// The watches of several namespaces as one. Their lists are put together, because a store takes a
/// new list as all there is.
pub fn merged<K: Clone + Send + Sync + Resource + 'static>(
    mut streams: Vec<BoxStream<'static, Event<K>>>,
) -> BoxStream<'static, Event<K>> {
    if streams.len() == 1 {
        return streams.remove(0);
    }
    let scopes = streams.len();
    let numbered = streams.into_iter().enumerate().map(|(n, stream)| stream.map(move |e| (n, e)));
    let all = futures::stream::select_all(numbered.map(StreamExt::boxed));
    let lists = Lists { current: vec![None; scopes], arriving: vec![Vec::new(); scopes] };
    all.scan(lists, |lists, (n, event)| std::future::ready(Some(lists.take(n, event))))
        .flat_map(futures::stream::iter)
        .boxed()
}

struct Lists<K> {
    /// Complete lists, kept up to date; none until the first is complete.
    current: Vec<Option<HashMap<Key, K>>>,
    arriving: Vec<Vec<K>>,
}

impl<K: Clone + Resource> Lists<K> {
    fn take(&mut self, scope: usize, event: Event<K>) -> Vec<Event<K>> {
        match event {
            Event::Init => {
                self.arriving[scope].clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.arriving[scope].push(object);
                Vec::new()
            }
            Event::InitDone => {
                let list = std::mem::take(&mut self.arriving[scope]);
                let list = list.into_iter().map(|object| (key_of(&object), object)).collect();
                self.current[scope] = Some(list);
                if self.current.iter().any(Option::is_none) {
                    return Vec::new();
                }
                let objects = self.current.iter().flatten().flat_map(HashMap::values);
                let applies = objects.cloned().map(Event::InitApply);
                std::iter::once(Event::Init)
                    .chain(applies)
                    .chain(std::iter::once(Event::InitDone))
                    .collect()
            }
            Event::Apply(object) => {
                if let Some(list) = &mut self.current[scope] {
                    list.insert(key_of(&object), object.clone());
                }
                self.once_complete(Event::Apply(object))
            }
            Event::Delete(object) => {
                if let Some(list) = &mut self.current[scope] {
                    list.remove(&key_of(&object));
                }
                self.once_complete(Event::Delete(object))
            }
        }
    }

    /// Before all first lists are there, single events only go into the lists.
    fn once_complete(&self, event: Event<K>) -> Vec<Event<K>> {
        if self.current.iter().all(Option::is_some) { vec![event] } else { Vec::new() }
    }
}

/// An object before and after.
#[derive(Debug)]
pub struct Change<K> {
    /// As it was in the cache; none when it is new.
    pub old: Option<Arc<K>>,
    /// As it is in the cache; none when it is gone.
    pub new: Option<Arc<K>>,
}

impl<K: Resource<DynamicType = ()>> Change<K> {
    /// Whether something changed that a reconcile looks at: spec, deletion or finalizers. Status
    /// does not count, or each of our own status writes would call us again.
    pub fn matters(&self) -> bool {
        let (Some(old), Some(new)) = (&self.old, &self.new) else {
            return true;
        };
        let (old, new) = (old.meta(), new.meta());
        old.uid != new.uid
            || old.generation != new.generation
            || old.deletion_timestamp != new.deletion_timestamp
            || old.finalizers != new.finalizers
    }

    /// The object, as it is or was last.
    pub fn object(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

/// Namespace and name of an object.
pub fn key_of<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

struct Changes<K, E> {
    events: E,
    cache: Cache<K>,
    arriving: HashMap<Key, Arc<K>>,
    ready: VecDeque<Change<K>>,
}

/// Keeps the cache and tells every change of it, after it is in the cache. What vanished while the
/// watch was not connected is told when the new list is complete.
pub fn changes<K, E>(events: E, cache: Cache<K>) -> impl Stream<Item = Change<K>> + Send
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
    E: Stream<Item = Event<K>> + Send + Unpin,
{
    let start = Changes { events, cache, arriving: HashMap::new(), ready: VecDeque::new() };
    futures::stream::unfold(start, |mut changes| async move {
        loop {
            if let Some(change) = changes.ready.pop_front() {
                return Some((change, changes));
            }
            let event = changes.events.next().await?;
            changes.take(event);
        }
    })
}

impl<K: Resource<DynamicType = ()>, E> Changes<K, E> {
    fn take(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) => {
                let (key, new) = kept(object);
                let old = self.cache.insert(key, Arc::clone(&new));
                self.ready.push_back(Change { old, new: Some(new) });
            }
            Event::Delete(object) => {
                let (key, last) = kept(object);
                let old = self.cache.remove(&key).unwrap_or(last);
                self.ready.push_back(Change { old: Some(old), new: None });
            }
            Event::Init => self.arriving.clear(),
            Event::InitApply(object) => self.arriving.extend([kept(object)]),
            Event::InitDone => self.relisted(),
        }
    }

    fn relisted(&mut self) {
        let list = std::mem::take(&mut self.arriving);
        let all: Vec<_> = list.iter().map(|(key, new)| (key.clone(), Arc::clone(new))).collect();
        let mut before = self.cache.replace(list);
        for (key, new) in all {
            self.ready.push_back(Change { old: before.remove(&key), new: Some(new) });
        }
        debug!(gone = before.len(), "list complete");
        for old in before.into_values() {
            self.ready.push_back(Change { old: Some(old), new: None });
        }
    }
}

/// An object as it is kept: without the ledger of who owns which field, its greater half.
fn kept<K: Resource>(mut object: K) -> (Key, Arc<K>) {
    object.meta_mut().managed_fields = None;
    (key_of(&object), Arc::new(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn object(name: &str, generation: i64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("ns".to_owned());
        object.metadata.generation = Some(generation);
        object
    }

    async fn told(events: Vec<Event<ConfigMap>>) -> Vec<String> {
        let stream = changes(futures::stream::iter(events), Cache::default());
        let told = stream.filter(|change| std::future::ready(change.matters())).map(|change| {
            let name = change.object().and_then(|o| o.metadata.name.clone()).unwrap_or_default();
            format!("{name}{}", if change.new.is_some() { "" } else { " gone" })
        });
        told.collect().await
    }

    #[tokio::test]
    async fn p8b_an_object_that_vanished_while_the_watch_was_cut_is_told() {
        let told = told(vec![
            Event::Init,
            Event::InitApply(object("a", 1)),
            Event::InitApply(object("b", 1)),
            Event::InitDone,
            Event::Init,
            Event::InitApply(object("b", 1)),
            Event::InitDone,
        ])
        .await;
        assert_eq!(told[2..], ["a gone"], "and b, unchanged, is not told again");
    }

    #[tokio::test]
    async fn a_new_list_of_one_namespace_keeps_the_objects_of_the_others() {
        let mut elsewhere = object("x", 1);
        elsewhere.metadata.namespace = Some("other".to_owned());
        let mut lists = Lists { current: vec![None, None], arriving: vec![vec![], vec![]] };
        assert!(lists.take(0, Event::InitApply(object("a", 1))).is_empty());
        assert!(lists.take(0, Event::InitDone).is_empty(), "the other list is still to come");
        assert!(lists.take(1, Event::InitApply(elsewhere)).is_empty());
        assert_eq!(lists.take(1, Event::InitDone).len(), 4);
        assert_eq!(lists.take(0, Event::Apply(object("b", 1))).len(), 1);
        lists.take(0, Event::Init);
        assert_eq!(lists.take(0, Event::InitDone).len(), 3, "only the other namespace is left");
    }

    #[tokio::test]
    async fn p8b_status_changes_are_not_told_but_spec_changes_and_deletions_are() {
        let (one, two) = (object("a", 1), object("a", 2));
        let mut deleting = two.clone();
        deleting.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
            ));
        let told = told(vec![
            Event::Apply(one.clone()),
            Event::Apply(one),
            Event::Apply(two),
            Event::Apply(deleting.clone()),
            Event::Delete(deleting),
        ])
        .await;
        assert_eq!(told, ["a", "a", "a", "a gone"]);
    }
}
