//! Following changes: every commit once, in order, or `Lagged`.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Change, Options, StoreError, Version, Write};

use super::{Make, bytes, put, write};

/// Only a hanging test waits that long.
const PATIENCE: Duration = Duration::from_mins(1);

fn change(key: &str, value: Option<&str>) -> Change {
    Change { key: bytes(key), value: value.map(bytes), until_us: None }
}

pub fn a_watch_sees_every_change_under_its_prefix(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let first = write(&store, vec![put("a/1", "v"), put("b/1", "v")]);
    let mut watch = store.watch(b"a/", Version(0));
    let mut later = store.watch(b"a/", first);
    write(&store, vec![put("a", "v"), put("a0", "v")]);
    let third = write(&store, vec![put("a/2", "v"), Write::Delete(bytes("a/1"))]);
    let expected = (third, vec![change("a/1", None), change("a/2", Some("v"))]);
    assert_eq!(watch.try_next(), Ok(Some((first, vec![change("a/1", Some("v"))]))));
    assert_eq!(watch.try_next(), Ok(Some(expected.clone())));
    assert_eq!(watch.try_next(), Ok(None));
    assert_eq!(later.try_next(), Ok(Some(expected)));
    drop(store);
    assert!(matches!(watch.try_next(), Err(StoreError::Unavailable { .. })));
    let store = fixture.open(1);
    let lagged = Err(StoreError::Lagged { oldest: Version(third.0 + 1) });
    assert_eq!(store.watch(b"", first).try_next(), lagged);
    assert_eq!(store.watch(b"", third).try_next(), Ok(None));
}

pub fn a_watch_that_falls_behind_is_told(make: Make<'_>) {
    let fixture = make(Options { feed_bytes_max: 1_000, ..Options::default() });
    let store = fixture.open(1);
    let mut watch = store.watch(b"", Version(0));
    for round in 0..20 {
        write(&store, vec![put(&format!("{round:02}"), "v")]);
    }
    let Err(StoreError::Lagged { oldest }) = watch.try_next() else { panic!("must have lagged") };
    assert!(oldest > Version(1) && oldest <= Version(20), "{oldest}");
    let mut again = store.watch(b"", Version(oldest.0 - 1));
    for version in oldest.0..=20 {
        assert_eq!(again.try_next().unwrap().unwrap().0, Version(version));
    }
    assert_eq!(again.try_next(), Ok(None));
}

pub fn a_watch_that_waits_is_woken(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let mut polled = store.watch(b"", Version(0));
    let mut next = pin!(polled.next_changes());
    let context = &mut Context::from_waker(Waker::noop());
    assert!(next.as_mut().poll(context).is_pending());
    thread::scope(|scope| {
        let mut watch = store.watch(b"", Version(0));
        let waiting = scope.spawn(move || watch.wait_next(Instant::now() + PATIENCE));
        let version = write(&store, vec![put("a", "v")]);
        let expected = (version, vec![change("a", Some("v"))]);
        assert_eq!(waiting.join().unwrap(), Ok(Some(expected.clone())));
        // Published before it is acknowledged: who wrote sees it at once.
        assert_eq!(next.poll(context), Poll::Ready(Ok(expected)));
    });
}
