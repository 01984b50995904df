//! A namespace per test, so that tests on one cluster do not see each other.

use std::sync::mpsc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace as Resource, ServiceAccount};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::cluster::{background, document};
use crate::wait::poll;
use crate::{Cluster, ClusterError};

/// For the controllers to put the service account into a new namespace; pods need it.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How long a drop waits for the API server to take the deletion; the emptying goes on without.
const REMOVE_LIMIT: Duration = Duration::from_secs(5);

/// Marks what tests made, for somebody's own cluster.
const LABEL: &str = "orrery.dev/e2e";

/// A namespace that is removed when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

impl Namespace {
    pub(crate) async fn create(cluster: Cluster, name: &str) -> Result<Self, ClusterError> {
        let client = cluster.client();
        let name = format!("{name}-{:06x}", rand::random::<u32>() & 0x00ff_ffff);
        let labels = [(LABEL.to_owned(), "true".to_owned())].into();
        let resource = Resource {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Resource::default()
        };
        Api::all(client.clone()).create(&PostParams::default(), &resource).await?;
        let namespace = Self { cluster, name };
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace.name);
        let what = format!("the service account of {}", namespace.name);
        poll(&what, READY_LIMIT, || async {
            accounts.get_opt("default").await.is_ok_and(|account| account.is_some())
        })
        .await?;
        Ok(namespace)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A new client whose default namespace this is.
    pub fn client(&self) -> Client {
        let mut config = self.cluster.config();
        config.default_namespace.clone_from(&self.name);
        Client::try_from(config).expect("the configuration made a client when it was read")
    }

    /// An API for resources in this namespace, with a new client.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client(), &self.name)
    }

    /// Lets the API server refuse pods that break the "restricted" pod security standard.
    ///
    /// # Errors
    /// When the API server refuses the label.
    pub async fn enforce_restricted(&self) -> Result<(), ClusterError> {
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
        let api: Api<Resource> = Api::all(self.cluster.client());
        api.patch(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// `kubectl apply -n <name> -f` of a text with any number of documents.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<(), ClusterError> {
        let args = ["apply", "-n", &self.name, "-f", "-"];
        let output = self.cluster.kubectl_with_input(args, &document(yaml)).await?;
        crate::cluster::succeeded("kubectl apply", &output).map(drop)
    }

    /// Standard output of a kubectl command in this namespace.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String, ClusterError> {
        let all = [&["-n", &self.name], args].concat();
        let output = self.cluster.kubectl(all).await?;
        crate::cluster::succeeded(&format!("kubectl {}", args.join(" ")), &output)
    }
}

impl Drop for Namespace {
    /// Waits only until the API server has the request, on another runtime: the test's own may
    /// have one thread, which is here.
    fn drop(&mut self) {
        let (done, taken) = mpsc::channel();
        let (cluster, name) = (self.cluster.clone(), self.name.clone());
        background().spawn(async move {
            let api: Api<Resource> = Api::all(cluster.client());
            let _ = api.delete(&name, &DeleteParams::default()).await;
            let _ = done.send(());
        });
        let _ = taken.recv_timeout(REMOVE_LIMIT);
    }
}
