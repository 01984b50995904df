//! A service of gRPC with server reflection, `shop.Billing`, that answers as a test says and remembers
//! what it was asked.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::HeaderMap;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MessageOptions,
    MethodDescriptorProto, ServiceDescriptorProto,
};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Charge {
    #[prost(string, tag = "1")]
    pub(crate) customer: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) amount: Option<Money>,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) labels: std::collections::HashMap<String, String>,
    #[prost(message, optional, tag = "4")]
    pub(crate) at: Option<prost_types::Timestamp>,
}

/// In a file of its own.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Money {
    #[prost(int64, tag = "1")]
    pub(crate) cents: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Receipt {
    #[prost(string, tag = "1")]
    pub(crate) number: String,
}

/// A call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) charge: Charge,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }
}

/// How far a target says what its methods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reflection {
    V1,
    V1Alpha,
    None,
}

type Answer = dyn Fn(&Seen) -> Result<Receipt, Status> + Send + Sync;

#[derive(Default)]
struct Book {
    seen: Mutex<Vec<Seen>>,
    reflected: AtomicUsize,
}

pub(crate) struct Billing {
    pub(crate) address: SocketAddr,
    book: Arc<Book>,
    _runtime: tokio::runtime::Runtime,
}

impl Billing {
    pub(crate) fn start(
        reflection: Reflection,
        answer: impl Fn(&Seen) -> Result<Receipt, Status> + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let book = Arc::<Book>::default();
        let service = BillingService { book: Arc::clone(&book), answer: Arc::new(answer) };
        let counter = Arc::clone(&book);
        let count = move |request: Request<()>| {
            counter.reflected.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Status>(request)
        };
        let builder = || {
            tonic_reflection::server::Builder::configure().register_file_descriptor_set(described())
        };
        let v1 = (reflection == Reflection::V1).then(|| {
            InterceptedService::new(builder().build_v1().expect("it is right"), count.clone())
        });
        let alpha = (reflection == Reflection::V1Alpha).then(|| {
            InterceptedService::new(builder().build_v1alpha().expect("it is right"), count)
        });
        let entered = runtime.enter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address"));
        let incoming = incoming.expect("a port");
        let address = incoming.local_addr().expect("bound");
        drop(entered);
        let router = Server::builder()
            .add_service(service)
            .add_optional_service(v1)
            .add_optional_service(alpha);
        runtime.spawn(router.serve_with_incoming(incoming));
        Self { address, book, _runtime: runtime }
    }

    /// One that always succeeds.
    pub(crate) fn good(reflection: Reflection) -> Self {
        Self::start(reflection, |_| Ok(Receipt { number: "R-7".to_owned() }))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.book.seen.lock().expect("whole").clone()
    }

    /// How often it was asked for its methods.
    pub(crate) fn reflected(&self) -> usize {
        self.book.reflected.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct BillingService {
    book: Arc<Book>,
    answer: Arc<Answer>,
}

impl NamedService for BillingService {
    const NAME: &'static str = "shop.Billing";
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for BillingService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        let headers = request.headers().clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            let method = Method { service, headers };
            Ok(match request.uri().path() {
                "/shop.Billing/Charge" => grpc.unary(method, request).await,
                "/shop.Billing/Watch" => grpc.server_streaming(method, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct Method {
    service: BillingService,
    headers: HeaderMap,
}

impl Method {
    fn answer(&self, request: Request<Charge>) -> Result<Receipt, Status> {
        let seen = Seen { headers: self.headers.clone(), charge: request.into_inner() };
        self.service.book.seen.lock().expect("whole").push(seen.clone());
        (self.service.answer)(&seen)
    }
}

impl UnaryService<Charge> for Method {
    type Response = Receipt;
    type Future = Pending<Result<Response<Receipt>, Status>>;

    fn call(&mut self, request: Request<Charge>) -> Self::Future {
        let answer = self.answer(request).map(Response::new);
        Box::pin(async move { answer })
    }
}

impl ServerStreamingService<Charge> for Method {
    type Response = Receipt;
    type ResponseStream = tokio_stream::Iter<std::vec::IntoIter<Result<Receipt, Status>>>;
    type Future = Pending<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Charge>) -> Self::Future {
        let answer = self.answer(request);
        let stream = tokio_stream::iter(vec![answer.clone(), answer.clone(), answer]);
        Box::pin(async move { Ok(Response::new(stream)) })
    }
}

fn field(name: &str, number: i32, kind: Type, of: Option<&str>) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: of.map(str::to_owned),
        ..FieldDescriptorProto::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..DescriptorProto::default() }
}

fn method(name: &str, streams: bool) -> MethodDescriptorProto {
    MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".shop.Charge".to_owned()),
        output_type: Some(".shop.Receipt".to_owned()),
        server_streaming: Some(streams),
        ..MethodDescriptorProto::default()
    }
}

fn file(name: &str, message_type: Vec<DescriptorProto>) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some("shop".to_owned()),
        message_type,
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

/// What a compiler makes of the service.
fn described() -> FileDescriptorSet {
    let entry = DescriptorProto {
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..message(
            "LabelsEntry",
            vec![field("key", 1, Type::String, None), field("value", 2, Type::String, None)],
        )
    };
    let labels = field("labels", 3, Type::Message, Some(".shop.Charge.LabelsEntry"));
    let charge = DescriptorProto {
        nested_type: vec![entry],
        ..message(
            "Charge",
            vec![
                field("customer", 1, Type::String, None),
                field("amount", 2, Type::Message, Some(".shop.Money")),
                FieldDescriptorProto { label: Some(Label::Repeated.into()), ..labels },
                field("at", 4, Type::Message, Some(".google.protobuf.Timestamp")),
            ],
        )
    };
    let money = message("Money", vec![field("cents", 1, Type::Int64, None)]);
    let receipt = message("Receipt", vec![field("number", 1, Type::String, None)]);
    // The last is nowhere: servers often leave out what only options need.
    let imports =
        ["shop/money.proto", "google/protobuf/timestamp.proto", "google/api/annotations.proto"];
    let service = FileDescriptorProto {
        dependency: imports.map(str::to_owned).to_vec(),
        service: vec![ServiceDescriptorProto {
            name: Some("Billing".to_owned()),
            method: vec![method("Charge", false), method("Watch", true), method("Lost", false)],
            ..ServiceDescriptorProto::default()
        }],
        ..file("shop/billing.proto", vec![charge, receipt])
    };
    FileDescriptorSet { file: vec![file("shop/money.proto", vec![money]), service] }
}
