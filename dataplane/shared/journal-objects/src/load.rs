//! Reading a snapshot, piece by piece, one ahead of the reader.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use orrery_blob::Part;
use orrery_journal::Position;
use orrery_journal::carrier::CarrierError;

use crate::carrier::Inner;
use crate::control::Image;
use crate::lane::Pending;
use crate::{name, piece};

/// Requests for one piece, where the store does not answer.
const ATTEMPTS_MAX: u32 = 3;

/// The content of a snapshot.
pub(crate) struct Content {
    inner: Arc<Inner>,
    image: Image,
    /// Of the piece that `next` is for.
    index: u32,
    next: Option<Pending<Option<Part>>>,
    rest: Bytes,
}

impl Content {
    /// The content of the snapshot at `at`.
    pub(crate) fn open(inner: &Arc<Inner>, at: Position) -> Result<Self, CarrierError> {
        let control = inner.reader().chain().last()?;
        let found = control.images.iter().find(|image| image.at == at.0);
        let image = *found.ok_or(CarrierError::NoSnapshot { at })?;
        let inner = Arc::clone(inner);
        let mut content = Self { inner, image, index: 0, next: None, rest: Bytes::new() };
        content.begin();
        Ok(content)
    }

    /// Asks for the piece at `index`, if there is one.
    fn begin(&mut self) {
        let is_there = self.index < piece::count(self.image.bytes);
        self.next = is_there.then(|| {
            let bytes_max = piece::PIECE_BYTES + piece::HEADER_BYTES as u64;
            let name = name::piece(&self.image, self.index);
            self.inner.reader().lane.begin_get(&name, bytes_max, bytes_max)
        });
    }

    /// Takes the piece that was asked for, and asks for the one behind it. None at the end.
    fn advance(&mut self) -> io::Result<Option<Bytes>> {
        let name = name::piece(&self.image, self.index);
        for attempt in 1.. {
            let Some(pending) = self.next.take() else { return Ok(None) };
            match pending.wait() {
                Err(error) if error.is_passing() && attempt < ATTEMPTS_MAX => self.begin(),
                Err(error) => return Err(io::Error::other(error.to_string())),
                Ok(None) => return Err(self.failed(&name, "it is missing")),
                Ok(Some(part)) => {
                    let shard = self.inner.reader().shard;
                    let content = piece::decode(&part.content, shard, &self.image, self.index)
                        .map_err(|reason| self.failed(&name, reason))?;
                    self.index += 1;
                    self.begin();
                    return Ok(Some(content));
                }
            }
        }
        Ok(None)
    }

    /// A piece may be gone because the snapshot is, which is no damage.
    fn failed(&self, name: &str, reason: &str) -> io::Error {
        let reason = match self.inner.reader().chain().last() {
            Err(error) => error.to_string(),
            Ok(control) if control.images.contains(&self.image) => {
                let position = Position(self.image.at);
                CarrierError::Corrupt { position, reason: format!("{name}: {reason}") }.to_string()
            }
            Ok(_) => format!("the snapshot at position {} was removed", self.image.at),
        };
        io::Error::other(reason)
    }
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while self.rest.is_empty() {
            match self.advance()? {
                Some(content) => self.rest = content,
                None => return Ok(0),
            }
        }
        let bytes = into.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut into[..bytes]);
        Ok(bytes)
    }
}
