//! A session of an owner: a producer that fenced all those before it, and what it knows of the log.
//!
//! Everything that changes the log is one transaction. Of a session one is open at most; nothing is
//! sent before what came before it was answered; and whatever goes wrong ends the session. So a
//! request that arrives late finds its transaction open or a newer producer, never a later transaction
//! of its own. And a transaction is committed only if its records lie right where the knowledge of the
//! session ended.

use std::thread;
use std::time::Duration;

use orrery_journal::{Group, Owner};

use crate::batch::Producer;
use crate::cluster::Cluster;
use crate::connection::Api;
use crate::failure::{Deadline, Failure, check, code};
use crate::log::Log;
use crate::state::{Piece, State, head};
use crate::wire::{Reader, Writer};

/// Bytes of a group in one record: what every broker takes with its defaults.
pub(crate) const PIECE_BYTES: usize = 768 << 10;
/// How long a transaction may be open: the largest group takes a little less.
const TRANSACTION_MS: i32 = 300_000;

/// A producer that nobody has fenced yet, as far as it knows.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) owner: Owner,
    pub(crate) state: State,
    /// Where the log ends.
    pub(crate) end: i64,
    producer: Producer,
}

/// Asks until no transaction is in the way.
fn unhindered<T>(
    deadline: Deadline,
    what: &str,
    mut ask: impl FnMut() -> Result<(i16, T), Failure>,
) -> Result<T, Failure> {
    let mut pause = Duration::from_millis(1);
    loop {
        let (found, value) = ask()?;
        if found != code::CONCURRENT_TRANSACTIONS || deadline.is_over() {
            check(found, what)?;
            return Ok(value);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

impl Session {
    /// Fences every session before it, ends what they left open, and reads how the log ends.
    pub(crate) fn begin(
        cluster: &Cluster,
        log: Log<'_>,
        owner: Owner,
        deadline: Deadline,
    ) -> Result<Self, Failure> {
        let id = log.topic.name;
        let body = Writer::default().string(id).i32(TRANSACTION_MS).into_bytes();
        let producer = unhindered(deadline, "begin a session", || {
            let answer = cluster.ask_coordinator(id, Api::InitProducerId, &body, deadline)?;
            let mut answer = Reader::new(&answer);
            answer.i32()?;
            let code = answer.i16()?;
            let (id, epoch) = (answer.i64()?, answer.i16()?);
            Ok((code, Producer { id, epoch, sequence: 0 }))
        })?;
        let tail = log.settled(deadline)?;
        Ok(Self { owner, state: tail.state, end: tail.end, producer })
    }

    /// Makes `state` count, together with a group. After a failure the session must not be used.
    pub(crate) fn write(
        &mut self,
        cluster: &Cluster,
        log: Log<'_>,
        state: State,
        group: Option<&Group>,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let id = log.topic.name;
        let (first, bytes) = group.map_or((0, [].as_slice()), |it| (it.first().0, it.bytes()));
        let pieces: Vec<&[u8]> = match group {
            Some(_) => bytes.chunks(PIECE_BYTES).collect(),
            None => vec![&[]],
        };
        self.open(cluster, id, deadline)?;
        let begin = self.end;
        for (number, bytes) in pieces.iter().enumerate() {
            let piece = Piece { first, number: number as u32, count: pieces.len() as u32 };
            let head = head(log.shard, &state, piece);
            let producer = Some((id, self.producer));
            let offset = log.topic.produce(producer, &[&head, bytes], deadline)?;
            if offset != self.end {
                let reason = "the log does not end where it did: another session began";
                return Err(Failure::Again(reason.to_owned()));
            }
            self.producer.sequence = self.producer.sequence.wrapping_add(1) & i32::MAX;
            self.end += 1;
        }
        self.commit(cluster, id, deadline)?;
        // The record that ends the transaction.
        self.end += 1;
        if first > 0 {
            log.seen.note(first, begin);
        }
        self.state = state;
        Ok(())
    }

    fn body(&self, id: &str) -> Writer {
        Writer::default().string(id).i64(self.producer.id).i16(self.producer.epoch)
    }

    fn open(&self, cluster: &Cluster, id: &str, deadline: Deadline) -> Result<(), Failure> {
        let body = self.body(id).i32(1).string(id).i32(1).i32(0).into_bytes();
        unhindered(deadline, "begin a transaction", || {
            let answer = cluster.ask_coordinator(id, Api::AddPartitionsToTxn, &body, deadline)?;
            let mut answer = Reader::new(&answer);
            answer.i32()?;
            Ok((answer.partition(Reader::i16)?, ()))
        })
    }

    fn commit(&self, cluster: &Cluster, id: &str, deadline: Deadline) -> Result<(), Failure> {
        let body = self.body(id).flag(true).into_bytes();
        let answer = cluster.ask_coordinator(id, Api::EndTxn, &body, deadline)?;
        let mut answer = Reader::new(&answer);
        answer.i32()?;
        check(answer.i16()?, "commit")
    }
}
