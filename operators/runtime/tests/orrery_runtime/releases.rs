//! Objects that run a release of a catalog: what they do when the catalog comes, changes and goes.
//!
//! The net is hours away, so that what is noticed is noticed by the watch of catalogs.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use orrery_api::catalog::ReleaseCatalog;
use orrery_api::kv::KVCluster;
use orrery_e2e_cluster::poll;
use orrery_runtime::faults::Faults;
use serde_json::{Value, json};

use crate::kv::{clusters, kv_stage, operator_with};
use crate::operand::Answering;
use crate::stage::{LIMIT, Running, Stage, options};

/// Open for a minute of a leap day.
const CLOSED: &str = "0 0 29 2 *";

/// A namespace whose pods answer, and a catalog of its name that goes with the test.
struct Releases {
    stage: Stage,
    catalog: String,
}

impl Releases {
    async fn new(name: &str) -> Option<Self> {
        let stage = kv_stage(name).await?;
        let Some(nodes) = stage.namespace.cluster().nodes().cloned() else {
            orrery_e2e_cluster::not_run("toy nodes are needed to answer as data planes");
            return None;
        };
        nodes.run_with(stage.name(), std::sync::Arc::new(Answering::default()));
        let catalog = stage.name().to_owned();
        Some(Self { stage, catalog })
    }

    /// An operator of release 2.0.0.
    fn operator(&self, faults: Faults) -> Running {
        let mut options = options(self.stage.name());
        "2.0.0".clone_into(&mut options.version);
        options.net = Duration::from_hours(6);
        operator_with(&self.stage, options, faults)
    }

    fn catalogs(&self) -> Api<ReleaseCatalog> {
        Api::all(self.stage.namespace.client())
    }

    /// The catalog says this and nothing else.
    async fn says(&self, releases: &[(&str, &str)]) {
        let releases = releases.iter();
        let releases: Vec<Value> =
            releases.map(|(v, image)| json!({ "version": v, "image": image })).collect();
        let spec = serde_json::from_value(json!({ "releases": releases })).expect("a spec");
        let catalog = Patch::Apply(ReleaseCatalog::new(&self.catalog, spec));
        let manager = PatchParams::apply("test").force();
        self.catalogs().patch(&self.catalog, &manager, &catalog).await.expect("a valid object");
    }

    async fn remove_catalog(&self) {
        self.catalogs().delete(&self.catalog, &DeleteParams::default()).await.expect("it is there");
    }

    fn release(&self, version: &str) -> Value {
        json!({ "release": { "catalog": self.catalog, "version": version } })
    }

    async fn create(&self, mut spec: Value, version: &str) {
        spec["release"] = self.release(version)["release"].clone();
        let object = KVCluster::new("a", serde_json::from_value(spec).expect("a spec"));
        clusters(&self.stage)
            .create(&PostParams::default(), &object)
            .await
            .expect("a valid object");
    }

    async fn change(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let changed = clusters(&self.stage).patch("a", &PatchParams::default(), &patch).await;
        changed.expect("a valid change");
    }

    /// Waits until the condition has this status and reason, and a message with these words.
    async fn condition(&self, name: &str, status: &str, reason: &str, words: &str) {
        let is = || async {
            let Ok(object) = clusters(&self.stage).get("a").await else { return false };
            let generation = object.metadata.generation;
            let object = serde_json::to_value(&object.status).expect("JSON");
            let mut all = object["conditions"].as_array().into_iter().flatten();
            let condition = all.find(|condition| condition["type"] == name);
            condition.is_some_and(|condition| {
                condition["observedGeneration"].as_i64() == generation
                    && condition["status"] == status
                    && condition["reason"] == reason
                    && condition["message"].as_str().is_some_and(|text| text.contains(words))
            })
        };
        let held = poll(&format!("{name} is {status}, {reason}, {words}"), LIMIT, is).await;
        if let Err(error) = held {
            panic!("{error}: {:#?}", clusters(&self.stage).get("a").await.map(|a| a.status));
        }
    }

    async fn serves(&self) {
        self.condition("Ready", "True", "Serving", "").await;
    }

    /// UID and image of a pod.
    async fn pod(&self, name: &str) -> (String, String) {
        let pod = self.stage.namespace.api::<Pod>().get_opt(name).await.expect("an answer");
        pod.map(seen).unwrap_or_default()
    }

    /// Waits until the pod is made anew with this image, and runs.
    async fn rolls(&self, name: &str, from: &str, image: &str) -> String {
        let rolled = || async {
            let (uid, runs) = self.pod(name).await;
            !uid.is_empty() && uid != from && runs == image
        };
        poll(&format!("{name} runs {image}"), LIMIT, rolled).await.expect("it is replaced");
        self.serves().await;
        self.pod(name).await.0
    }

    async fn template_image(&self) -> Option<String> {
        let set = self.stage.namespace.api::<StatefulSet>().get_opt("a-kv").await;
        let spec = set.expect("an answer")?.spec?;
        spec.template.spec?.containers.first()?.image.clone()
    }
}

fn seen(pod: Pod) -> (String, String) {
    let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
    let image = containers.into_iter().next().and_then(|container| container.image);
    (pod.metadata.uid.unwrap_or_default(), image.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_follow_the_catalog_when_they_may_and_outlive_it() {
    let Some(test) = Releases::new("releases").await else { return };
    let _operator = test.operator(Faults::default());
    test.create(json!({}), "1.0.0").await;
    test.condition("Ready", "False", "RefNotFound", "does not exist; make it").await;
    test.says(&[("1.1.0", "mirror/b:1")]).await;
    test.condition("Ready", "False", "RefNotFound", "has 1.1.0, and not 1.0.0").await;
    assert_eq!(test.template_image().await, None, "a new object waits");

    test.says(&[("1.0.0", "mirror/a:1"), ("1.1.0", "mirror/b:1")]).await;
    test.serves().await;
    let (first, image) = test.pod("a-kv-0").await;
    assert_eq!(image, "mirror/a:1");
    test.change(test.release("2.0.1")).await;
    let why = "2.0.1 is newer than the operator";
    test.condition("Stalled", "True", "UnsupportedVersion", why).await;
    // The processes say that they are 1.0.
    test.change(test.release("0.9.0")).await;
    test.condition("Stalled", "True", "UnsupportedVersion", "0.9.0 is older than 1.0").await;
    test.change(test.release("1.2.0")).await;
    test.condition("Ready", "False", "RefNotFound", "and not 1.2.0").await;
    test.change(test.release("1.0.0")).await;
    test.serves().await;
    assert_eq!(test.pod("a-kv-0").await.0, first, "none of this is for running pods");

    test.says(&[("1.0.0", "mirror/a:2"), ("1.1.0", "mirror/b:1")]).await;
    let second = test.rolls("a-kv-0", &first, "mirror/a:2").await;

    // Nobody asked this object for another image: it waits for the window.
    let windows = json!([{ "name": "rare", "schedule": CLOSED, "durationSeconds": 60 }]);
    test.change(json!({ "maintenanceWindows": windows })).await;
    test.serves().await;
    test.says(&[("1.0.0", "mirror/a:3"), ("1.1.0", "mirror/b:1")]).await;
    test.condition("Ready", "True", "Serving", "waits for the next maintenance window").await;
    assert_eq!(test.template_image().await.as_deref(), Some("mirror/a:3"));
    assert_eq!(test.pod("a-kv-0").await, (second.clone(), "mirror/a:2".to_owned()));
    // Somebody asked this one for another release.
    test.change(test.release("1.1.0")).await;
    test.rolls("a-kv-0", &second, "mirror/b:1").await;
    test.remove_catalog().await;
    test.condition("Ready", "False", "RefNotFound", "does not exist").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_whose_catalog_is_gone_is_looked_after_with_the_image_it_has() {
    let Some(test) = Releases::new("releases-gone").await else { return };
    let operator = test.operator(Faults::default());
    test.says(&[("1.0.0", "mirror/a:1")]).await;
    test.create(json!({ "followers": 1 }), "1.0.0").await;
    test.serves().await;
    let pods = [test.pod("a-kv-0").await, test.pod("a-kv-1").await];
    test.remove_catalog().await;
    test.condition("Ready", "False", "RefNotFound", "until then mirror/a:1 runs on").await;
    test.condition("Available", "True", "Serving", "").await;
    // A fresh operator remembers nothing.
    drop(operator);
    let _operator = test.operator(Faults::default());
    let primary = || async {
        let object = clusters(&test.stage).get("a").await.expect("it is there");
        object.status.and_then(|status| status.primary).unwrap_or_default()
    };
    let next = if primary().await == "a-kv-0" { "a-kv-1" } else { "a-kv-0" };
    test.change(json!({ "failover": { "primary": next } })).await;
    let moved = || async { primary().await == next };
    poll("the primary moves", LIMIT, moved).await.expect("the group is looked after");
    test.condition("Ready", "False", "RefNotFound", "until then mirror/a:1 runs on").await;
    assert_eq!([test.pod("a-kv-0").await, test.pod("a-kv-1").await], pods, "none is replaced");
    test.says(&[("1.0.0", "mirror/a:1")]).await;
    test.serves().await;
    assert_eq!([test.pod("a-kv-0").await, test.pod("a-kv-1").await], pods, "nor now");
    test.remove_catalog().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_may_not_read_catalogs_looks_after_all_the_rest() {
    let Some(test) = Releases::new("releases-forbidden").await else { return };
    let faults = Faults::default();
    faults.forbid("/releasecatalogs");
    let operator = test.operator(faults.clone());
    test.says(&[("1.0.0", "mirror/a:1")]).await;
    test.create(json!({}), "1.0.0").await;
    test.condition("Ready", "False", "RefNotFound", "may not read ReleaseCatalogs").await;
    test.change(json!({ "release": null })).await;
    test.serves().await;
    assert!(!operator.has_ended());
    // The right is given while it runs.
    faults.clear();
    test.change(test.release("1.0.0")).await;
    let first = test.pod("a-kv-0").await.0;
    let first = match test.pod("a-kv-0").await {
        (uid, image) if image == "mirror/a:1" => uid,
        _ => test.rolls("a-kv-0", &first, "mirror/a:1").await,
    };
    test.serves().await;
    test.says(&[("1.0.0", "mirror/a:2")]).await;
    test.rolls("a-kv-0", &first, "mirror/a:2").await;
    test.remove_catalog().await;
}
