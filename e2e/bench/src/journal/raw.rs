//! The peer: bodies without header, checksum or order, in a file that is full of zeros already, written
//! again from its beginning when it ends. A thread writes all that waits and syncs it.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use super::clients::Log;

/// As large as a segment of the journal.
const FILE_BYTES: u64 = 64 << 20;

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    last: u64,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    durable: AtomicU64,
    failed: AtomicBool,
}

pub struct Raw {
    shared: Arc<Shared>,
    pending: Vec<u8>,
    last: u64,
    thread: Option<JoinHandle<()>>,
}

impl Raw {
    pub fn open(path: &Path) -> Result<Self, String> {
        let mut file = File::create(path).map_err(|error| error.to_string())?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..FILE_BYTES >> 20 {
            file.write_all(&zeros).map_err(|error| error.to_string())?;
        }
        file.sync_all().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared::default());
        let (owned, server) = (Arc::clone(&shared), std::thread::current());
        let thread = Some(std::thread::spawn(move || commit(&owned, &file, &server)));
        Ok(Self { shared, pending: Vec::new(), last: 0, thread })
    }
}

fn commit(shared: &Shared, file: &File, server: &Thread) {
    let (mut group, mut offset) = (Vec::new(), 0);
    loop {
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.bytes.is_empty() {
            if waiting.stop {
                return;
            }
            waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut waiting.bytes, &mut group);
        let last = waiting.last;
        drop(waiting);
        if offset + group.len() as u64 > FILE_BYTES {
            offset = 0;
        }
        if file.write_all_at(&group, offset).and_then(|()| file.sync_data()).is_err() {
            shared.failed.store(true, Ordering::Release);
            server.unpark();
            return;
        }
        offset += group.len() as u64;
        group.clear();
        shared.durable.store(last, Ordering::Release);
        server.unpark();
    }
}

impl Log for Raw {
    fn append(&mut self, body: &[u8]) -> Result<u64, String> {
        self.pending.extend_from_slice(body);
        self.last += 1;
        Ok(self.last)
    }

    fn flush(&mut self) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes.append(&mut self.pending);
        waiting.last = self.last;
        drop(waiting);
        self.shared.wake.notify_one();
    }

    fn durable(&self) -> Result<u64, String> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err("the raw file failed".to_owned());
        }
        Ok(self.shared.durable.load(Ordering::Acquire))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It says so itself when it failed.
            let _ = thread.join();
        }
    }
}
