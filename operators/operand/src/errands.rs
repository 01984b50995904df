//! Errands: what a process wants done where only its operator can reach.
//!
//! A process keeps an [`ErrandBook`]; every stream of `Errands` reads it from its beginning, so that
//! an operator that comes late, or comes again, misses nothing.
//!
//! Invariants: an errand is in the book once, by its key and attempt; whoever follows the book sees it
//! as it is now, not as it was: two changes may become one message. What a slow reader has yet to see
//! takes no memory beside the book.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::changes::SILENCE;
use crate::error::OperandError;
use crate::v1::{Errand, ErrandsResponse};

/// Errands in one message.
const ERRANDS_PER_MESSAGE: usize = 256;
/// Longest time between two messages.
const ALIVE: Duration = Duration::from_secs(20);

/// Key and attempt.
type Id = (String, u32);

/// The open errands of a process.
#[derive(Debug)]
pub struct ErrandBook {
    /// What the keys begin with, once it is known.
    source: OnceLock<String>,
    open: Mutex<Open>,
    /// Number of the newest change.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Open {
    errands: HashMap<Id, (u64, Errand)>,
    /// By the number of their newest change.
    order: BTreeMap<u64, Id>,
    last: u64,
}

impl Open {
    fn put(&mut self, id: Id, errand: Errand) {
        self.last += 1;
        self.order.insert(self.last, id.clone());
        if let Some((before, _)) = self.errands.insert(id, (self.last, errand)) {
            self.order.remove(&before);
        }
    }
}

impl ErrandBook {
    /// `source` is what the keys of this process begin with, and those of no other.
    pub fn new(source: impl Into<String>) -> Self {
        let book = Self::unnamed();
        book.name(&source.into());
        book
    }

    /// A book of a process that does not know yet what its keys begin with.
    pub fn unnamed() -> Self {
        let (open, newest) = (Mutex::default(), watch::Sender::new(0));
        Self { source: OnceLock::new(), open, newest }
    }

    /// Says what the keys begin with, once and for good and before anybody reads.
    pub fn name(&self, source: &str) {
        let known = self.source.get_or_init(|| source.to_owned());
        debug_assert!(known == source, "keys begin with one thing");
    }

    /// Puts an errand in. One that is there already stays as it is.
    pub fn open(&self, errand: Errand) {
        let mut open = self.lock();
        let id = (errand.key.clone(), errand.attempt);
        if !open.errands.contains_key(&id) {
            open.put(id, errand);
            self.tell(&open);
        }
    }

    /// Takes an errand back: it stays open, as one to be ended, until it is settled. False when it is
    /// not here.
    pub fn cancel(&self, key: &str, attempt: u32) -> bool {
        let mut open = self.lock();
        let id = (key.to_owned(), attempt);
        let Some((_, errand)) = open.errands.get(&id) else { return false };
        if !errand.cancel {
            let taken_back = Errand { cancel: true, ..errand.clone() };
            open.put(id, taken_back);
            self.tell(&open);
        }
        true
    }

    /// It was begun. Those that follow the book know: they did it.
    pub fn started(&self, key: &str, attempt: u32) {
        if let Some((_, errand)) = self.lock().errands.get_mut(&(key.to_owned(), attempt)) {
            errand.started = true;
        }
    }

    /// Takes a settled errand out.
    pub fn close(&self, key: &str, attempt: u32) -> Option<Errand> {
        let mut open = self.lock();
        let (number, errand) = open.errands.remove(&(key.to_owned(), attempt))?;
        open.order.remove(&number);
        Some(errand)
    }

    /// Whether it is here.
    pub fn has(&self, key: &str, attempt: u32) -> bool {
        self.lock().errands.contains_key(&(key.to_owned(), attempt))
    }

    /// How many are open, and how many of them nobody has begun.
    pub fn count(&self) -> (usize, usize) {
        let open = self.lock();
        let waiting = open.errands.values().filter(|(_, errand)| !errand.started).count();
        (open.errands.len(), waiting)
    }

    /// The errands that changed after change number `after`, oldest first, and the number of the last
    /// one.
    fn after(&self, after: u64) -> (Vec<Errand>, u64) {
        let open = self.lock();
        let behind = open.order.range(after + 1..).take(ERRANDS_PER_MESSAGE);
        let mut last = after;
        let mut found = Vec::new();
        for (number, id) in behind {
            last = *number;
            found.extend(open.errands.get(id).map(|(_, errand)| errand.clone()));
        }
        (found, last)
    }

    fn tell(&self, open: &Open) {
        self.newest.send_replace(open.last);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what is in the book, then what comes, until the receiver is gone.
pub(crate) fn told(book: Arc<ErrandBook>) -> ReceiverStream<Result<ErrandsResponse, Status>> {
    let (to, from) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut newest = book.newest.subscribe();
        let (mut at, mut complete) = (0, true);
        loop {
            let known = *newest.borrow_and_update();
            let (errands, last) = book.after(at);
            let is_all = errands.len() < ERRANDS_PER_MESSAGE;
            at = last;
            let message = ErrandsResponse {
                errands,
                complete: complete && is_all,
                source: book.source.get().cloned().unwrap_or_default(),
            };
            complete &= !is_all;
            if to.send(Ok(message)).await.is_err() {
                return;
            }
            if !is_all || at < known {
                continue;
            }
            tokio::select! {
                // The sender is in the book, which is held here.
                _ = newest.changed() => {}
                () = tokio::time::sleep(ALIVE) => {}
                () = to.closed() => return,
            }
        }
    });
    ReceiverStream::new(from)
}

/// What a process wants done, as its operator hears it.
#[derive(Debug)]
pub struct Errands(Streaming<ErrandsResponse>);

impl Errands {
    pub(crate) fn new(stream: Streaming<ErrandsResponse>) -> Self {
        Self(stream)
    }

    /// The next message. Ends with an error when the process is gone or silent.
    pub async fn next(&mut self) -> Result<ErrandsResponse, OperandError> {
        let message = tokio::time::timeout(SILENCE, self.0.next()).await;
        let message = message.map_err(|_| {
            OperandError::Unavailable(format!("silent for {} s", SILENCE.as_secs()))
        })?;
        let ended = || OperandError::Unavailable("the process ended the stream".into());
        Ok(message.ok_or_else(ended)??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand(number: u64) -> Errand {
        let key = format!("ns_a_1_{number}");
        Errand { key, attempt: 1, number, ..Errand::default() }
    }

    fn numbers(errands: &[Errand]) -> Vec<u64> {
        errands.iter().map(|errand| errand.number).collect()
    }

    #[test]
    fn who_reads_from_the_beginning_gets_what_is_open_as_it_is_now() {
        let book = ErrandBook::new("ns_a");
        (1..=3).for_each(|number| book.open(errand(number)));
        book.open(errand(1));
        let (first, at) = book.after(0);
        assert_eq!(numbers(&first), [1, 2, 3]);
        assert!(book.cancel("ns_a_1_1", 1));
        assert!(!book.cancel("ns_a_1_1", 2), "another attempt is another errand");
        book.close("ns_a_1_2", 1);
        let (changed, end) = book.after(at);
        assert_eq!((numbers(&changed), changed[0].cancel), (vec![1], true));
        assert!(book.after(end).0.is_empty());
        let (all, _) = book.after(0);
        assert_eq!(numbers(&all), [3, 1], "settled ones are not told");
        assert!(book.cancel("ns_a_1_1", 1), "a second time changes nothing");
        assert!(book.after(end).0.is_empty());
    }

    #[test]
    fn what_was_begun_is_counted_and_shown_to_the_next_reader() {
        let book = ErrandBook::new("ns_a");
        (1..=2).for_each(|number| book.open(errand(number)));
        book.started("ns_a_1_2", 1);
        assert_eq!(book.count(), (2, 1));
        let (all, _) = book.after(0);
        assert_eq!(all.iter().map(|errand| errand.started).collect::<Vec<_>>(), [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_tells_when_the_list_is_complete_and_goes_on() {
        let book = Arc::new(ErrandBook::new("ns_a"));
        let many = ERRANDS_PER_MESSAGE as u64 + 10;
        (1..=many).for_each(|number| book.open(errand(number)));
        let mut stream = told(Arc::clone(&book));
        let mut heard = Vec::new();
        loop {
            let message = stream.next().await.expect("it goes on").expect("a message");
            assert_eq!(message.source, "ns_a");
            heard.extend(numbers(&message.errands));
            if message.complete {
                break;
            }
        }
        assert_eq!(heard, (1..=many).collect::<Vec<_>>());
        book.open(errand(999));
        let message = stream.next().await.expect("it goes on").expect("a message");
        assert_eq!((numbers(&message.errands), message.complete), (vec![999], false));
        let alive = stream.next().await.expect("it goes on").expect("a message");
        assert!(alive.errands.is_empty(), "a sign of life: {alive:?}");
    }
}
