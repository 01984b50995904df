//! A cluster as the commands see it: the one of the kubeconfig, asked for JSON by path.
//!
//! Must not: read a Secret. Where Secrets are listed the server is asked for their metadata only.

use anyhow::{Context as _, bail};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use http::{Method, Request, header};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value as Json;

use crate::cli;

/// Owner of the fields that commands set; shown by `kubectl get -o yaml --show-managed-fields`.
const FIELD_MANAGER: &str = "orrery-cli";
/// Longest wait for an answer.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(15);

/// A connection, and the namespace that is meant.
pub(crate) struct Cluster {
    runtime: tokio::runtime::Runtime,
    client: Client,
    pub(crate) namespace: String,
}

impl Cluster {
    /// Connects as kubectl would: `KUBECONFIG`, `~/.kube/config`, or the pod's service account.
    pub(crate) fn connect(to: &cli::ClusterChoice) -> anyhow::Result<Self> {
        // Another provider of cryptography may have been installed before; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, namespace) = runtime.block_on(async {
            let config = match &to.context {
                None => kube::Config::infer().await.context(
                    "failed to find a cluster; set KUBECONFIG, or use `orrery get` for what \
                     `orrery up` runs",
                )?,
                Some(context) => {
                    let options = KubeConfigOptions {
                        context: Some(context.clone()),
                        ..KubeConfigOptions::default()
                    };
                    kube::Config::from_custom_kubeconfig(Kubeconfig::read()?, &options).await?
                }
            };
            let namespace = config.default_namespace.clone();
            anyhow::Ok((Client::try_from(config)?, namespace))
        })?;
        let namespace = to.namespace.clone().unwrap_or(namespace);
        Ok(Self { runtime, client, namespace })
    }

    /// What is at a path of the API.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Json> {
        self.ask(Request::get(path).body(Vec::new())?, path)
    }

    /// What is at a path; none when nothing is there.
    pub(crate) fn find(&self, path: &str) -> anyhow::Result<Option<Json>> {
        let request = Request::get(path).body(Vec::new())?;
        let answer = async {
            match self.client.request::<Json>(request).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                other => other.map(Some),
            }
        };
        self.wait(answer, path)
    }

    /// Whether something is at a path.
    pub(crate) fn has(&self, path: &str) -> anyhow::Result<bool> {
        Ok(self.find(path)?.is_some())
    }

    /// The metadata of what is at a path, and nothing else of it.
    pub(crate) fn get_metadata(&self, path: &str) -> anyhow::Result<Json> {
        let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        self.ask(Request::get(path).header(header::ACCEPT, accept).body(Vec::new())?, path)
    }

    /// Sets fields of an object; others are left as they are.
    pub(crate) fn merge(&self, path: &str, change: &Json) -> anyhow::Result<Json> {
        let to = format!("{path}?fieldManager={FIELD_MANAGER}");
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(to)
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(serde_json::to_vec(change)?)?;
        self.ask(request, path)
    }

    /// Makes an object in the folder of its kind.
    pub(crate) fn create(&self, folder: &str, object: &Json) -> anyhow::Result<Json> {
        let to = format!("{folder}?fieldManager={FIELD_MANAGER}");
        let request = Request::post(to)
            .header(header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(object)?)?;
        self.ask(request, folder)
    }

    /// The text at a path, such as a log.
    pub(crate) fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let request = Request::get(path).body(Vec::new())?;
        self.wait(self.client.request_text(request), path)
    }

    /// Prints the text at a path as it comes, until it ends.
    pub(crate) fn follow_text(&self, path: &str, mut show: impl FnMut(&str)) -> anyhow::Result<()> {
        let request = Request::get(path).body(Vec::new())?;
        let stream = self.wait(self.client.request_stream(request), path)?;
        self.runtime.block_on(async {
            let mut lines = stream.lines();
            while let Some(line) = lines.try_next().await.with_context(|| path.to_owned())? {
                show(&line);
            }
            Ok(())
        })
    }

    fn ask(&self, request: Request<Vec<u8>>, path: &str) -> anyhow::Result<Json> {
        self.wait(self.client.request::<Json>(request), path)
    }

    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, kube::Error>>,
        path: &str,
    ) -> anyhow::Result<T> {
        // A deadline needs the runtime's clock, which there is only inside of it.
        match self.runtime.block_on(async { tokio::time::timeout(DEADLINE, answer).await }) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => bail!("{}", status.message),
            Ok(Err(error)) => Err(error).with_context(|| format!("failed to ask for {path}")),
            Err(_) => bail!("no answer within {} s: {path}", DEADLINE.as_secs()),
        }
    }
}
