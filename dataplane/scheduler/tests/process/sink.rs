//! A target that answers at once and keeps books of what it was asked to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;

/// Keys that came for a job and a second, with how often each did.
pub(crate) type Books = BTreeMap<(String, i64), BTreeMap<String, u32>>;

pub(crate) struct Sink {
    pub(crate) url: String,
    books: Arc<Mutex<Books>>,
    /// Whether calls to `/held` are answered.
    held: tokio::sync::watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

/// What takes calls.
#[derive(Clone)]
struct Desk {
    books: Arc<Mutex<Books>>,
    held: tokio::sync::watch::Receiver<bool>,
}

async fn held(State(desk): State<Desk>, headers: HeaderMap) -> &'static str {
    let mut held = desk.held.clone();
    let answer = run(State(desk.books), headers).await;
    // Without a sender nobody waits any more.
    _ = held.wait_for(|held| !held).await;
    answer
}

async fn run(State(books): State<Arc<Mutex<Books>>>, headers: HeaderMap) -> &'static str {
    let text = |name: &str| {
        let value = headers.get(name).expect("every call has it");
        value.to_str().expect("it is text").to_owned()
    };
    let nominal: jiff::Timestamp = text("x-orrery-nominal").parse().expect("a moment");
    let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
    let keys = books.entry((text("x-orrery-schedule"), nominal.as_second())).or_default();
    *keys.entry(text("idempotency-key")).or_default() += 1;
    "done"
}

impl Sink {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let books = Arc::<Mutex<Books>>::default();
        let (holds, held_now) = tokio::sync::watch::channel(false);
        let desk = Desk { books: Arc::clone(&books), held: held_now };
        let routes = Router::new()
            .route("/run", post(run))
            .with_state(Arc::clone(&books))
            .merge(Router::new().route("/held", post(held)).with_state(desk));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let url = format!("http://{}/run", listener.local_addr().expect("bound"));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { url, books, held: holds, _runtime: runtime }
    }

    /// Has calls to `/held`, which are kept in the books, wait for their answer.
    pub(crate) fn hold(&self, is_held: bool) {
        self.held.send_replace(is_held);
    }

    pub(crate) fn books(&self) -> Books {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
