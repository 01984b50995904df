//! Replicas played by the test: streams that are cut at any byte, and what must not go on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use orrery_journal::{Feed, Journal, Options, RealDisk, Record};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::commands::Stream;
use super::{Replicas, Syncs, Wish};
use crate::effects::{Op, Writer};
use crate::persistence::kind;
use crate::replication::socket::Socket;

const SOON: Duration = Duration::from_secs(40);
const HERE: &str = "10.0.0.1:6379";
const THERE: &str = "10.0.0.2:6379";

/// What replicas are served from.
struct Stage {
    journal: Journal,
    feed: Feed,
    replicas: Arc<Replicas>,
    waker: Arc<Waker>,
    _poll: Poll,
    /// The stream as it would be without anything in between.
    expected: Stream,
}

impl Stage {
    fn new(folder: &Path) -> Self {
        let disk = RealDisk::new(folder).expect("writable");
        let options = Options { segment_bytes: 16 << 10, ..Options::default() };
        let journal = Journal::open(Arc::new(disk), options).expect("it opens").journal;
        let (poll, waker) = crate::server::poll_and_waker().expect("a poll");
        let (feed, replicas) = (journal.feed(), Arc::default());
        Self { journal, feed, replicas, waker, _poll: poll, expected: Stream::default() }
    }

    /// Appends a record with as many effects.
    fn append(&mut self, random: &mut StdRng, effects: usize) {
        let mut body = vec![];
        for _ in 0..effects {
            let value = vec![b'v'; random.random_range(0..3000)];
            let key = random.random_range(0..100_u32).to_string();
            let db = random.random_range(0..3);
            let writer = Writer::start(&mut body, Op::SetString, db, key.as_bytes()).byte(1);
            _ = writer.deadline(None).bytes(&value);
        }
        self.expected.put(&body).expect("effects");
        let record = Record { stream: 0, kind: kind::EFFECTS, time_us: 1, body: &body };
        self.journal.append(record).expect("there is room");
        self.journal.flush();
        let last = self.journal.last();
        self.journal.wait_durable_until(last, Instant::now() + SOON).expect("it is written");
    }

    /// An image without keys, at the end of the journal.
    fn snapshot(&mut self) {
        let mut writer = self.journal.snapshot_writer(self.journal.last()).expect("none runs");
        writer.write_all(&crate::rdb::Writer::new(vec![]).unwrap().finish().unwrap()).unwrap();
        writer.finish().expect("it is written");
    }

    fn connect(&self, address: &str, wish: impl Into<Option<Wish>>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let socket = TcpStream::connect(listener.local_addr().unwrap()).expect("it listens");
        socket.set_read_timeout(Some(SOON)).expect("a socket");
        let (accepted, _) = listener.accept().expect("it comes");
        let (feed, waker) = (self.feed.clone(), Arc::clone(&self.waker));
        self.replicas
            .welcome(Socket::plain(accepted), address.to_owned(), wish.into(), feed, waker)
            .expect("there is room");
        Fake { from: BufReader::with_capacity(1000, socket) }
    }

    /// One that gets an image, has loaded it, and the name of its stream.
    fn begin(&self, address: &str, wish: impl Into<Option<Wish>>) -> (Fake, String) {
        let mut fake = self.connect(address, wish);
        let line = fake.line();
        let id = line.strip_prefix("+FULLRESYNC ").and_then(|rest| rest.strip_suffix(" 0"));
        let id = id.unwrap_or_else(|| panic!("{line}")).to_owned();
        let mark = fake.line().strip_prefix("$EOF:").expect("a mark").to_owned();
        let mut image = vec![];
        while !image.ends_with(mark.as_bytes()) {
            let mut byte = [0];
            fake.from.read_exact(&mut byte).expect("an image");
            image.push(byte[0]);
        }
        fake.acknowledge(0);
        (fake, id)
    }

    fn syncs(&self) -> (u64, u64, u64) {
        let Syncs { full, partial_ok, partial_err } = self.replicas.syncs();
        (full, partial_ok, partial_err)
    }
}

struct Fake {
    from: BufReader<TcpStream>,
}

impl Fake {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn acknowledge(&mut self, bytes: usize) {
        let bytes = bytes.to_string();
        let text = format!("*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n${}\r\n{bytes}\r\n", bytes.len());
        self.from.get_mut().write_all(text.as_bytes()).expect("it listens");
    }
}

fn wish(id: &str, executed: usize) -> Wish {
    Wish { id: id.to_owned(), executed: executed as u64 }
}

/// The stream without what was only sent to keep in touch.
fn essence(bytes: &[u8]) -> Vec<u8> {
    let mut extra = Stream::default();
    extra.ping();
    let ping = std::mem::take(&mut extra.bytes);
    extra.ask();
    let mut rest = vec![];
    let mut at = 0;
    while at < bytes.len() {
        // No value has a line feed in it.
        if let Some(skip) = [&ping, &extra.bytes].iter().find(|e| bytes[at..].starts_with(e)) {
            at += skip.len();
        } else {
            rest.push(bytes[at]);
            at += 1;
        }
    }
    rest
}

#[test]
fn a_stream_that_is_cut_at_any_byte_goes_on_with_the_next_one() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut stage = Stage::new(folder.path());
    let (mut fake, id) = stage.begin(HERE, None);
    let mut got = vec![];
    for round in 0..60 {
        stage.replicas.set_awaited(round % 3 == 0);
        for _ in 0..random.random_range(0..12) {
            let effects = random.random_range(1..4);
            stage.append(&mut random, effects);
        }
        // There is always the rest of a record to come, so a part of it can be asked for.
        let left = stage.expected.bytes.len() - essence(&got).len();
        let wanted = random.random_range(0..=left);
        let before = got.len();
        (&mut fake.from).take(wanted as u64).read_to_end(&mut got).expect("it is sent");
        assert_eq!(got.len(), before + wanted);
        if random.random_ratio(1, 2) {
            fake.acknowledge(got.len());
        }
        if round % 4 == 0 {
            stage.snapshot();
        }
        // Some links end, others only seem to live.
        let old = random.random_ratio(1, 2).then_some(fake);
        fake = stage.connect(HERE, wish(&id, got.len()));
        assert_eq!(fake.line(), format!("+CONTINUE {id}"), "round {round}");
        drop(old);
    }
    while essence(&got).len() < stage.expected.bytes.len() {
        let mut piece = [0; 1000];
        let read = fake.from.read(&mut piece).expect("it is sent");
        assert!(read > 0, "the link ended");
        got.extend_from_slice(&piece[..read]);
    }
    assert!(essence(&got) == stage.expected.bytes, "nothing is lost, doubled or changed");
    assert_eq!(stage.syncs(), (1, 60, 0));
}

#[test]
fn what_the_journal_no_longer_has_is_not_promised() {
    let mut random = StdRng::seed_from_u64(1);
    let folder = tempfile::tempdir().expect("a folder");
    let mut stage = Stage::new(folder.path());
    let (fake, id) = stage.begin(HERE, None);
    drop(fake);
    // It is kept while the replica is away, though recovery needs it no more.
    for _ in 0..20 {
        stage.append(&mut random, 3);
    }
    stage.snapshot();
    let mut fake = stage.connect(HERE, wish(&id, 0));
    assert_eq!(fake.line(), format!("+CONTINUE {id}"));
    let mut got = vec![0; stage.expected.bytes.len()];
    fake.from.read_exact(&mut got).expect("it is sent");
    drop(fake);
    // But not without a bound.
    for _ in 0..300 {
        stage.append(&mut random, 3);
    }
    stage.snapshot();
    let (_fake, new) = stage.begin(HERE, wish(&id, got.len()));
    assert_ne!(new, id);
    assert_eq!(stage.syncs(), (2, 1, 1));
}

#[test]
fn a_place_that_was_never_sent_and_a_stream_of_somebody_else_are_not_gone_on_with() {
    let mut random = StdRng::seed_from_u64(2);
    let folder = tempfile::tempdir().expect("a folder");
    let mut stage = Stage::new(folder.path());
    let (mut first, id) = stage.begin(HERE, None);
    stage.append(&mut random, 1);
    let (_other, _) = stage.begin(THERE, wish(&id, 0));
    // The first one was not disturbed by that.
    let mut got = vec![0; stage.expected.bytes.len()];
    first.from.read_exact(&mut got).expect("it is sent");
    drop(first);
    let (first, next) = stage.begin(HERE, wish(&id, 1 << 30));
    assert_ne!(next, id);
    drop(first);
    let (_first, _) = stage.begin(HERE, wish("0123456789012345678901234567890123456789", 0));
    assert_eq!(stage.syncs(), (4, 0, 3));
}

#[test]
fn no_stream_goes_on_after_all_were_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = Stage::new(folder.path());
    let (away, first) = stage.begin(HERE, None);
    drop(away);
    let (_served, second) = stage.begin(THERE, None);
    stage.replicas.close();
    for (address, id) in [(HERE, &first), (THERE, &second)] {
        let (_fake, new) = stage.begin(address, wish(id, 0));
        assert_ne!(&new, id);
    }
    assert_eq!(stage.syncs(), (4, 0, 2));
}
