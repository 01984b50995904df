//! Goal: clients of a Scheduler in a cluster speak REST and gRPC over TLS with what the documentation
//! hands them, nobody else is let in, and a renewed certificate costs them no request. Method: the
//! certificate is the one that the operator makes; clients take `ca.crt` and the token from Secrets, dial
//! the pod, and know it by the name of its Service.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use orrery_e2e_cluster::{output_within, poll};
use orrery_e2e_tests::orrery_binary;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request};

use self::v1::scheduler_client::SchedulerClient;
use super::{LIMIT, Stage, Target, own_address, until_called};
use crate::unfailing::Unfailing;

/// Made from the proto file, as clients do.
#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs, unreachable_pub)]
#[path = "../../../../../dataplane/scheduler/src/api/grpc/generated/orrery.scheduler.v1.rs"]
mod v1;

const REST: u16 = 8080;
const GRPC: u16 = 9090;
/// For the answer to one request.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const IDENTITY: &str = "secret/api-scheduler-identity";
const SCHEDULER: &str = "apiVersion: orrery.dev/v1alpha1\nkind: Scheduler\nmetadata: {name: api}\n\
                         spec: {partitions: 2, api: {grpc: {}, \
                         tls: {secretRef: {name: api-scheduler-identity}}}}\n";

type Connection = StreamOwned<ClientConnection, TcpStream>;

/// What a client has: where to dial, who must be there, and who says so.
#[derive(Clone)]
struct Client {
    ip: IpAddr,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    token: Option<String>,
}

fn trusting(authorities: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(authority.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().expect("versions");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

impl Client {
    fn dial(&self, port: u16) -> io::Result<Connection> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let stream = TcpStream::connect(SocketAddr::new(self.ip, port))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut stream = StreamOwned::new(connection.map_err(io::Error::other)?, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// A request and its answer on a connection that stays; status line and body.
    fn call(
        &self,
        stream: &mut (impl Read + Write),
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<(String, String)> {
        let token = self.token.iter().map(|token| format!("Authorization: Bearer {token}\r\n"));
        let token: String = token.collect();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{token}Content-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let status = head.lines().next().unwrap_or_default().to_owned();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<(String, String)> {
        self.call(&mut self.dial(REST)?, method, path, body)
    }

    /// The certificate that is shown there.
    fn shown(&self, port: u16) -> Vec<u8> {
        let stream = self.dial(port).expect("it is trusted");
        stream.conn.peer_certificates().expect("it has one")[0].to_vec()
    }

    async fn grpc(&self) -> Result<SchedulerClient<Channel>, tonic::transport::Error> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (config, name, ip) = (Arc::new(config), self.name.clone(), self.ip);
        let connect = tower::service_fn(move |_: Uri| {
            let (connector, name) =
                (tokio_rustls::TlsConnector::from(config.clone()), name.clone());
            async move {
                let stream = tokio::net::TcpStream::connect((ip, GRPC)).await?;
                Ok::<_, io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        let endpoint = Endpoint::from_static("http://scheduler").timeout(ANSWER_LIMIT);
        Ok(SchedulerClient::new(endpoint.connect_with_connector(connect).await?))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let shown = format!("Bearer {token}").parse().expect("a header");
            request.metadata_mut().insert("authorization", shown);
        }
        request
    }
}

/// As the documentation says: the authority from one Secret, the token from the other.
async fn client(stage: &Stage) -> Client {
    let key = |key: &str| format!("-o=go-template={{{{index .data \"{key}\" | base64decode}}}}");
    let authority = stage.kubectl(&["get", IDENTITY, &key("ca.crt")]).await.expect("it is there");
    let token = ["get", "secret/api-scheduler", &key("api-token")];
    let token = stage.kubectl(&token).await.expect("it is there");
    let ip = ["get", "pod/api-scheduler-0", "-o=jsonpath={.status.podIP}"];
    let ip = stage.until(&ip, |ip| !ip.is_empty()).await;
    let name = format!("api-scheduler.{}.svc", stage.namespace());
    Client {
        ip: ip.parse().expect("an address"),
        name: name.try_into().expect("a name"),
        config: trusting(&authority),
        token: Some(token),
    }
}

fn yearly(url: &str) -> String {
    format!(
        "{{\"when\": {{\"cron\": \"0 7 1 1 *\"}}, \"action\": {{\"http\": {{\"url\": \"{url}\"}}}}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_speak_rest_and_grpc_over_tls_and_renewals_cost_them_nothing() {
    let Some(stage) = Stage::new("schedules-api").await else { return };
    let Some(address) = own_address() else { return };
    let target = Target::start(address);
    stage.apply(SCHEDULER).await;
    stage.ready("scheduler/api").await;
    let client = client(&stage).await;
    let endpoints = "-o=jsonpath={.status.endpoints[*].address}";
    let endpoints = stage.kubectl(&["get", "scheduler/api", endpoints]).await.expect("it is there");
    assert!(endpoints.contains(":8080") && endpoints.contains(":9090"), "{endpoints}");

    let job = format!("{{\"spec\": {}}}", yearly(&target.url));
    let (status, body) = client.ask("PUT", "/v1/jobs/by-rest", &job).expect("it answers");
    assert_eq!(status, "http/1.1 201 created", "{body}");
    let (status, _) = client.ask("POST", "/v1/jobs/by-rest/run", "").expect("it answers");
    assert_eq!(status, "http/1.1 202 accepted");
    until_called(&target, "by-rest", 1).await;

    let mut grpc = client.grpc().await.expect("it is trusted");
    let spec = yearly(&target.url);
    let job = v1::JobSpec { name: "by-grpc".to_owned(), spec, exclusions: vec![] };
    let put = grpc.put_jobs(client.request(v1::PutJobsRequest { jobs: vec![job] })).await;
    assert_eq!(put.expect("it answers").into_inner().results[0].result, "created");
    let run = v1::RunJobRequest { name: "by-grpc".to_owned() };
    let run = grpc.run_job(client.request(run)).await.expect("it answers").into_inner().run;
    until_called(&target, "by-grpc", 1).await;
    let range = v1::VerifyRequest {
        from: "2026-01-01T00:00:00Z".to_owned(),
        to: "2099-01-01T00:00:00Z".to_owned(),
    };
    let verdict = grpc.verify(client.request(range)).await.expect("it answers").into_inner();
    assert!(verdict.is_clean && verdict.jobs == 2, "{verdict:?} {run}");

    strangers_are_kept_out(&stage, &client).await;
    prove(&stage, &client).await;
    renewed(&stage, &client, &mut grpc).await;
    target.check();
}

/// Nobody without the token, no client that trusts somebody else, and nothing in plain text.
async fn strangers_are_kept_out(stage: &Stage, client: &Client) {
    for token in [None, Some("another".to_owned())] {
        let stranger = Client { token, ..client.clone() };
        let (status, _) = stranger.ask("GET", "/v1/jobs", "").expect("it answers");
        assert_eq!(status, "http/1.1 401 unauthorized");
        let mut grpc = stranger.grpc().await.expect("it is trusted");
        let refused = grpc.list_jobs(stranger.request(v1::ListJobsRequest::default())).await;
        assert_eq!(refused.expect_err("no token").code(), Code::Unauthenticated);
    }

    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).expect("one");
    let other = Client { config: trusting(&other.cert.pem()), ..client.clone() };
    let named = ServerName::try_from("somebody-else.example").expect("a name");
    let named = Client { name: named, ..client.clone() };
    for (client, why) in [(&other, "UnknownIssuer"), (&named, "not valid for name")] {
        for port in [REST, GRPC] {
            let error = client.dial(port).expect_err("it is not trusted").to_string();
            assert!(error.contains(why), "{error}");
        }
        client.grpc().await.expect_err("it is not trusted");
    }

    let mut plain = TcpStream::connect(SocketAddr::new(client.ip, REST)).expect("it listens");
    plain.set_read_timeout(Some(ANSWER_LIMIT)).expect("a socket");
    let refused = client.call(&mut plain, "GET", "/v1/jobs", "");
    assert!(refused.is_err(), "{refused:?}");
    let plain = format!("http://{}", SocketAddr::new(client.ip, GRPC));
    let plain = Endpoint::from_shared(plain).expect("an address").timeout(ANSWER_LIMIT);
    if let Ok(channel) = plain.connect().await {
        let list = client.request(v1::ListJobsRequest::default());
        let refused = SchedulerClient::new(channel).list_jobs(list).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    let log = stage.nodes.log(stage.namespace(), "api-scheduler-0", "scheduler");
    assert!(!log.expect("there is one").contains("panicked"));
}

/// A port of this machine that leads to the pod, as `kubectl port-forward` makes one.
fn forward(to: SocketAddr) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let Ok(to) = TcpStream::connect(to) else { continue };
            let (Ok(from_too), Ok(to_too)) = (from.try_clone(), to.try_clone()) else { continue };
            // Whoever called may go at any moment.
            std::thread::spawn(move || _ = carry(&from_too, &to_too));
            std::thread::spawn(move || _ = carry(&to, &from));
        }
    });
    port
}

fn carry(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(std::net::Shutdown::Write)
}

/// `orrery verify scheduler` with the authority, and without it.
async fn prove(stage: &Stage, client: &Client) {
    let port = forward(SocketAddr::new(client.ip, REST));
    let key = "-o=go-template={{index .data \"ca.crt\" | base64decode}}";
    let authority = stage.kubectl(&["get", IDENTITY, key]).await.expect("it is there");
    let file = stage.folder().join("ca.crt");
    std::fs::write(&file, authority).expect("writable");
    let run = |ca: bool| {
        let mut command = Command::new(orrery_binary().expect("make test builds it first"));
        command.args(["verify", "scheduler", "--url", &format!("https://localhost:{port}")]);
        command.env("ORRERY_API_TOKEN", client.token.as_deref().unwrap_or_default());
        if ca {
            command.arg("--ca").arg(&file);
        }
        output_within(&mut command, LIMIT).expect("the binary runs")
    };
    let proved = run(true);
    assert!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stderr));
    assert!(!run(false).status.success(), "nobody on this machine vouches for it");
}

/// Another certificate of the same authority: both doors show it, and nobody notices.
async fn renewed(stage: &Stage, client: &Client, grpc: &mut SchedulerClient<Channel>) {
    // One keeps its connection, one makes a new one each time.
    let of_threads = client.clone();
    let clients = Unfailing::start(&[u64::MAX, 1], move |_| {
        let (client, mut stream) =
            (of_threads.clone(), of_threads.dial(REST).expect("it is trusted"));
        move || {
            let answer = client.call(&mut stream, "GET", "/v1/jobs/by-rest", "");
            assert_eq!(answer.expect("it answers").0, "http/1.1 200 ok");
        }
    });
    clients.go_on().await;
    let before = [REST, GRPC].map(|port| client.shown(port));
    stage.kubectl(&["delete", IDENTITY]).await.expect("it is there");
    let both = poll("both doors show the new certificate", LIMIT, || async {
        let list = client.request(v1::ListJobsRequest::default());
        grpc.clone().list_jobs(list).await.expect("the connection stays");
        [REST, GRPC].map(|port| client.shown(port)).iter().zip(&before).all(|(new, old)| new != old)
    });
    both.await.unwrap_or_else(|error| panic!("{error}\n{}", stage.operator.log_tail()));
    clients.go_on().await;
    let list = client.request(v1::ListJobsRequest::default());
    let mut anew = client.grpc().await.expect("it is trusted");
    assert_eq!(anew.list_jobs(list).await.expect("it answers").into_inner().jobs.len(), 2);
    let restarts = "-o=jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    assert_eq!(stage.kubectl(&["get", "pods", restarts]).await.as_deref(), Ok("0"));
    println!("a renewal: {} requests, none failed", clients.stop());
}
