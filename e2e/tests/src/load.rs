//! Clients that write all the time, and the books of what was acknowledged to them.
//!
//! Every number is sent once: a write whose reply did not come may or may not be there, one that was
//! acknowledged must be, and none may be there twice. A client that gets an error, or no answer
//! within a second, connects anew; it knows nothing of primaries.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Client, Reply};

/// For an answer; who does not answer is left.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Before the next try after a failed one.
const PAUSE: Duration = Duration::from_millis(20);

/// Sends a few numbers from the given one on.
type Send = Box<dyn FnMut(u64) -> Sent + std::marker::Send>;

/// What came of it.
struct Sent {
    count: u64,
    acknowledged: Vec<u64>,
}

/// One that writes numbers under a key of its own.
pub struct Writer {
    key: String,
    /// The numbers are a list, which shows order and doubles; otherwise a set.
    is_list: bool,
    pace: Duration,
    send: Send,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Writer {
    /// Appends to the list `key`, `pipeline` numbers at once with `pace` in between, over connections
    /// that `dial` makes.
    pub fn new(
        key: &str,
        password: &str,
        pipeline: u64,
        pace: Duration,
        mut dial: impl FnMut() -> Option<TcpStream> + std::marker::Send + 'static,
    ) -> Self {
        let (list, password) = (key.to_owned(), password.to_owned());
        let mut client: Option<Client> = None;
        let send = move |first: u64| {
            let numbers = first..first + pipeline;
            if client.is_none() {
                client = dial().and_then(|stream| log_in(stream, &password));
            }
            let acknowledged = client.as_mut().map(|client| append(client, &list, numbers));
            let acknowledged = acknowledged.unwrap_or_default();
            if acknowledged.len() as u64 != pipeline {
                client = None;
            }
            Sent { count: pipeline, acknowledged }
        };
        Self { key: key.to_owned(), is_list: true, pace, send: Box::new(send) }
    }

    /// Adds to the set `key` by a program that may send a write twice.
    pub fn by_program(
        key: &str,
        pace: Duration,
        mut send: impl FnMut(u64) -> bool + std::marker::Send + 'static,
    ) -> Self {
        let send = move |number: u64| {
            let acknowledged = if send(number) { vec![number] } else { Vec::new() };
            Sent { count: 1, acknowledged }
        };
        Self { key: key.to_owned(), is_list: false, pace, send: Box::new(send) }
    }

    fn run(mut self, stop: &AtomicBool, figures: &Figures) -> Book {
        let mut book = Book { key: self.key, is_list: self.is_list, acknowledged: BTreeSet::new() };
        let (mut next, mut last) = (1, Instant::now());
        while !stop.load(Ordering::Relaxed) {
            let Sent { count, acknowledged } = (self.send)(next);
            let done = acknowledged.len() as u64;
            next += count;
            figures.failed.fetch_add(count - done, Ordering::Relaxed);
            if done == 0 {
                std::thread::sleep(PAUSE);
                continue;
            }
            book.acknowledged.extend(acknowledged);
            let gap = last.elapsed().as_millis() as u64;
            figures.gap_ms.fetch_max(gap, Ordering::Relaxed);
            figures.acknowledged.fetch_add(done, Ordering::Relaxed);
            last = Instant::now();
            std::thread::sleep(self.pace);
        }
        book
    }
}

/// Appends the numbers to a list; gives those that were acknowledged.
fn append(client: &mut Client, list: &str, numbers: Range<u64>) -> Vec<u64> {
    for number in numbers.clone() {
        client.queue(&["RPUSH", list, &number.to_string()]);
    }
    if client.flush().is_err() {
        return Vec::new();
    }
    // The first that is not answered is the last that is waited for.
    let replies = numbers.map_while(|number| Some((number, client.read().ok()?)));
    let acknowledged = replies.filter(|(_, reply)| matches!(reply, Reply::Integer(_)));
    acknowledged.map(|(number, _)| number).collect()
}

/// A connection with short deadlines.
fn log_in(stream: TcpStream, password: &str) -> Option<Client> {
    let mut client = Client::over(stream).ok()?;
    client.stream().set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    let reply = client.call(&["AUTH", password]).ok()?;
    (reply == Reply::Simple("OK".to_owned())).then_some(client)
}

/// What a writer shows while it writes.
#[derive(Debug, Default)]
struct Figures {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    /// Longest time between two acknowledged writes.
    gap_ms: AtomicU64,
}

/// What one writer knows.
#[derive(Debug)]
pub struct Book {
    pub key: String,
    is_list: bool,
    pub acknowledged: BTreeSet<u64>,
}

/// Writers at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<(JoinHandle<Book>, Arc<Figures>)>,
}

impl Load {
    pub fn start(writers: Vec<Writer>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let start = |writer: Writer| {
            let (stop, figures) = (Arc::clone(&stop), Arc::<Figures>::default());
            let shown = Arc::clone(&figures);
            (std::thread::spawn(move || writer.run(&stop, &figures)), shown)
        };
        let writers = writers.into_iter().map(start).collect();
        Self { stop, writers }
    }

    /// Acknowledged writes so far, of each writer.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.figures(|figures| figures.acknowledged.load(Ordering::Relaxed))
    }

    /// The longest time between two acknowledged writes of one writer, and how many failed, since
    /// this was asked last.
    pub fn take_window(&self) -> (Duration, u64) {
        let gaps = self.figures(|figures| figures.gap_ms.swap(0, Ordering::Relaxed));
        let failed = self.figures(|figures| figures.failed.swap(0, Ordering::Relaxed));
        (Duration::from_millis(gaps.into_iter().max().unwrap_or(0)), failed.iter().sum())
    }

    fn figures(&self, of: impl Fn(&Figures) -> u64) -> Vec<u64> {
        self.writers.iter().map(|(_, figures)| of(figures)).collect()
    }

    /// Stops the writers and gives their books.
    ///
    /// # Panics
    /// When a writer did.
    pub fn stop(mut self) -> Vec<Book> {
        self.stop.store(true, Ordering::Relaxed);
        let writers = std::mem::take(&mut self.writers).into_iter();
        writers.map(|(writer, _)| writer.join().expect("no panic")).collect()
    }
}

impl Drop for Load {
    /// A test that failed must not leave its load to the next.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Asserts that nothing that was acknowledged is missing, doubled or out of order; gives the number
/// of acknowledged writes.
///
/// # Panics
/// When something is.
pub fn check(what: &str, books: &[Book], client: &mut Client) -> usize {
    for book in books {
        let key = &book.key;
        let reply = if book.is_list {
            client.call(&["LRANGE", key, "0", "-1"])
        } else {
            client.call(&["SMEMBERS", key])
        };
        let reply = reply.expect("it answers");
        let found: Vec<u64> =
            reply.items().iter().map(|item| item.text().parse().expect("a number")).collect();
        let distinct: BTreeSet<u64> = found.iter().copied().collect();
        assert!(!book.is_list || found.is_sorted(), "{what}: {key}: out of order");
        assert_eq!(distinct.len(), found.len(), "{what}: {key}: doubled");
        let lost: Vec<&u64> = book.acknowledged.difference(&distinct).take(10).collect();
        assert!(lost.is_empty(), "{what}: {key} lost {lost:?} …");
    }
    books.iter().map(|book| book.acknowledged.len()).sum()
}
