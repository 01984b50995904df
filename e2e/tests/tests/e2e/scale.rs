//! Followers are added and removed as `kubectl scale` and a HorizontalPodAutoscaler say, the real one:
//! it reads a figure from a metrics API that this test serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::group::{cluster, in_sync};
use crate::kubernetes::Stage;
use crate::outage::own_cluster;

/// The API of figures that belong to no object of the cluster.
const GROUP: &str = "external.metrics.k8s.io";
/// Longest head of a request.
const HEAD_MAX: usize = 16 << 10;

/// Serves the metrics API with one figure, `reads`. The server does not check our certificate.
async fn serve(reads: Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that the provider has")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, reads) = (acceptor.clone(), Arc::clone(&reads));
            // A client that goes away has no answer coming.
            tokio::spawn(async move { answer(acceptor, stream, &reads).await.ok() });
        }
    });
    port
}

async fn answer(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    reads: &AtomicU64,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split_whitespace().nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let (code, body) = match body(path, reads.load(Ordering::Relaxed)) {
        Some(body) => ("200 OK", body.to_string()),
        None => ("404 Not Found", String::new()),
    };
    let answer = format!(
        "HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn body(path: &str, reads: u64) -> Option<Value> {
    let version = format!("{GROUP}/v1beta1");
    let rest = path.strip_prefix("/apis/")?.strip_prefix(&version)?;
    if rest.is_empty() {
        return Some(json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
            "resources": [{ "name": "reads", "singularName": "", "namespaced": true,
                "kind": "ExternalMetricValueList", "verbs": ["get"] }],
        }));
    }
    rest.ends_with("/reads").then(|| {
        json!({
            "kind": "ExternalMetricValueList", "apiVersion": version, "metadata": {},
            "items": [{ "metricName": "reads", "metricLabels": {},
                "timestamp": jiff::Timestamp::now().to_string(), "value": reads.to_string() }],
        })
    })
}

/// Tells the API server where the metrics API is.
fn registration(namespace: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: reads}}\n\
         spec: {{type: ExternalName, externalName: localhost}}\n---\n\
         apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {{name: v1beta1.{GROUP}}}\n\
         spec: {{group: {GROUP}, version: v1beta1, insecureSkipTLSVerify: true, \
         groupPriorityMinimum: 100, versionPriority: 100, \
         service: {{name: reads, namespace: {namespace}, port: {port}}}}}\n"
    )
}

/// One follower for every hundred reads, without the five minutes it waits before it removes one.
const AUTOSCALER: &str = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: a}
spec:
  scaleTargetRef: {apiVersion: orrery.dev/v1alpha1, kind: KVCluster, name: a}
  minReplicas: 1
  maxReplicas: 3
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
  metrics:
  - type: External
    external: {metric: {name: reads}, target: {type: AverageValue, averageValue: '100'}}
";

async fn has_followers(stage: &Stage, number: usize) {
    let count = ["get", "kvcluster/a", "-o=jsonpath={.status.followerCount}"];
    stage.until(&count, |text| text == number.to_string()).await;
    in_sync(stage, number).await;
    stage.ready("kvcluster/a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_follow_kubectl_scale_and_an_autoscaler() {
    // A metrics API is a matter of the whole cluster, and would be missed when this test is over.
    let Some(own) = own_cluster().await else { return };
    let nodes = own.nodes().expect("toy nodes are the default").clone();
    let stage = Stage::on(own, nodes, "scale").await;
    stage.apply(&cluster("{followers: 1}")).await;
    has_followers(&stage, 1).await;
    stage.kubectl(&["scale", "kvcluster/a", "--replicas=2"]).await.expect("it can be scaled");
    has_followers(&stage, 2).await;

    let reads = Arc::new(AtomicU64::new(300));
    let port = serve(Arc::clone(&reads)).await;
    stage.apply(&registration(stage.namespace.name(), port)).await;
    stage.apply(AUTOSCALER).await;
    has_followers(&stage, 3).await;
    reads.store(80, Ordering::Relaxed);
    has_followers(&stage, 1).await;
    let why = "-o=jsonpath={.status.conditions[?(@.type==\"ScalingActive\")].status}";
    assert_eq!(stage.kubectl(&["get", "hpa/a", why]).await.as_deref(), Ok("True"));
}
