//! A small HTTP/1.1 server that does what a test tells it, also what no server should.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a handler does with the connection afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
    /// The peer gets a reset.
    Reset,
}

type Handler = dyn Fn(&Request, &mut TcpStream) -> Then + Send + Sync;

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    at_work: AtomicUsize,
    working: AtomicUsize,
    working_max: AtomicUsize,
}

pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl Server {
    pub(crate) fn start(
        handler: impl Fn(&Request, &mut TcpStream) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Arc::default(), Arc::new(handler))
    }

    /// A server that takes so long for everything, and counts how much it does at the same time. What it
    /// has answered is not counted: the peer may go on before this end of the connection knows.
    pub(crate) fn working(pause: Duration) -> Self {
        let seen = Arc::<Seen>::default();
        let counted = Arc::clone(&seen);
        let handler = move |_: &Request, stream: &mut TcpStream| {
            let working = counted.working.fetch_add(1, Ordering::SeqCst) + 1;
            counted.working_max.fetch_max(working, Ordering::SeqCst);
            thread::sleep(pause);
            counted.working.fetch_sub(1, Ordering::SeqCst);
            answer(stream, 200, &[], "")
        };
        Self::start_with(seen, Arc::new(handler))
    }

    fn start_with(seen: Arc<Seen>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&shared));
                thread::spawn(move || serve(stream, &*handler, &seen));
            }
        });
        Self { address, seen }
    }

    /// A server that answers everything the same way.
    pub(crate) fn saying(status: u16, body: &'static str) -> Self {
        Self::start(move |_, stream| answer(stream, status, &[], body))
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().expect("whole").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Requests that are being handled.
    pub(crate) fn at_work(&self) -> usize {
        self.seen.at_work.load(Ordering::SeqCst)
    }

    /// Most requests that a server of [`Self::working`] worked on at the same time.
    pub(crate) fn working_max(&self) -> usize {
        self.seen.working_max.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, seen: &Seen) {
    let connection = seen.connections.fetch_add(1, Ordering::SeqCst);
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    while let Some(request) = read(&mut reader, connection) {
        seen.requests.lock().expect("whole").push(request.clone());
        seen.at_work.fetch_add(1, Ordering::SeqCst);
        let then = handler(&request, &mut stream);
        seen.at_work.fetch_sub(1, Ordering::SeqCst);
        match then {
            Then::Keep => {}
            Then::Close => break,
            Then::Reset => {
                // Closing with something unread, or with no time to linger, resets.
                let socket = socket2_of(&stream);
                socket.set_linger(Some(Duration::ZERO)).expect("settable");
                drop((socket, reader, stream));
                return;
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn socket2_of(stream: &TcpStream) -> socket2::Socket {
    stream.try_clone().expect("a descriptor").into()
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ")?;
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new(), connection };
    let length = request.header("content-length").map_or(0, |text| text.parse().expect("a number"));
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// A whole answer.
pub(crate) fn answer(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> Then {
    let mut text = format!("HTTP/1.1 {status} Some Reason\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    text.push_str(body);
    if stream.write_all(text.as_bytes()).is_ok() { Then::Keep } else { Then::Close }
}

/// Whether the peer closed the connection; waits until it did.
pub(crate) fn wait_for_close(stream: &mut TcpStream) {
    let mut bytes = [0; 256];
    while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
}
