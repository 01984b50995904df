//! One topic with one partition: writing to it, reading from it, removing its beginning.

use std::time::{SystemTime, UNIX_EPOCH};

use orrery_journal::{CarrierError, Position};

use crate::batch::{self, Bad, Record};
use crate::cluster::Cluster;
use crate::connection::Api;
use crate::failure::{Deadline, Failure, check};
use crate::wire::{Malformed, Reader, Writer};

/// What a fetch brings at most, unless the first batch is larger.
pub(crate) const FETCH_BYTES: i32 = 4 << 20;

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    Earliest,
    /// Behind the last record that all replicas in sync have.
    Latest,
}

/// What a fetch brought.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// In order.
    pub(crate) records: Vec<Record>,
    /// Where to go on; that of the fetch if there was nothing.
    pub(crate) next: i64,
}

/// One topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: &'a str,
}

impl Topic<'_> {
    fn ask(&self, api: Api, body: Writer, deadline: Deadline) -> Result<Vec<u8>, Failure> {
        self.cluster.ask_leader(self.name, api, &body.into_bytes(), deadline)
    }

    /// The name of the topic and the number of its partition, both alone in their arrays.
    fn place(&self, body: Writer) -> Writer {
        body.i32(1).string(self.name).i32(1).i32(0)
    }

    pub(crate) fn edge(&self, edge: Edge, deadline: Deadline) -> Result<i64, Failure> {
        let which = match edge {
            Edge::Earliest => -2,
            Edge::Latest => -1,
        };
        // No replica, also what a transaction might still take back: there are none.
        let body = self.place(Writer::default().i32(-1).i8(0)).i64(which);
        let answer = self.ask(Api::ListOffsets, body, deadline)?;
        let mut answer = Reader::new(&answer);
        answer.i32()?;
        let (code, offset) = answer.partition(|reader| {
            let code = reader.i16()?;
            reader.i64()?;
            Ok((code, reader.i64()?))
        })?;
        check(code, "ask where the log ends")?;
        Ok(offset)
    }

    /// The records at and behind `offset`, about `bytes` of them.
    pub(crate) fn fetch(
        &self,
        offset: i64,
        bytes: i32,
        deadline: Deadline,
    ) -> Result<Fetched, Failure> {
        // No replica, no wait, one byte is enough, no transactions.
        let body = Writer::default().i32(-1).i32(0).i32(1).i32(bytes).i8(0);
        let body = self.place(body).i64(offset).i64(-1).i32(bytes);
        let answer = self.ask(Api::Fetch, body, deadline)?;
        let mut answer = Reader::new(&answer);
        answer.i32()?;
        let (code, batches) = answer.partition(|reader| {
            let code = reader.i16()?;
            reader.take(24)?;
            // Transactions that were aborted.
            reader.items(|reader| reader.take(16).map(drop))?;
            Ok((code, reader.bytes()?.to_vec()))
        })?;
        check(code, "read")?;
        let (records, next) = sift(&batches, offset)?;
        Ok(Fetched { records, next })
    }

    /// Writes one record, and gives its offset once all replicas in sync have it.
    pub(crate) fn produce(&self, value: &[&[u8]], deadline: Deadline) -> Result<i64, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let batch = batch::write(now.as_millis() as i64, value);
        // No transaction, all replicas in sync.
        let body = Writer::default().no_string().i16(-1).i32(deadline.millis());
        let body = self.place(body).bytes(&batch);
        let answer = self.ask(Api::Produce, body, deadline)?;
        let (code, offset) = Reader::new(&answer).partition(|reader| {
            let found = (reader.i16()?, reader.i64()?);
            reader.take(16)?;
            Ok(found)
        })?;
        check(code, "write")?;
        if offset < 0 { Err(Malformed.into()) } else { Ok(offset) }
    }

    /// Removes what lies before `offset`.
    pub(crate) fn remove_before(&self, offset: i64, deadline: Deadline) -> Result<(), Failure> {
        let body = self.place(Writer::default()).i64(offset).i32(deadline.millis());
        let answer = self.ask(Api::DeleteRecords, body, deadline)?;
        let mut answer = Reader::new(&answer);
        answer.i32()?;
        let code = answer.partition(|reader| {
            reader.i64()?;
            reader.i16()
        })?;
        check(code, "remove what was trimmed")
    }
}

/// The records of an answer at and behind `offset`, and where to go on.
fn sift(batches: &[u8], offset: i64) -> Result<(Vec<Record>, i64), Failure> {
    let mut reader = Reader::new(batches);
    let (mut records, mut next) = (vec![], offset);
    while !reader.is_empty() {
        let batch = match batch::read(&mut reader) {
            Ok(batch) => batch,
            Err(Bad::Cut) => break,
            Err(Bad::Damaged(reason)) => {
                let reason = format!("at offset {next}: {reason}");
                return Err(CarrierError::Corrupt { position: Position(0), reason }.into());
            }
        };
        records.extend(batch.records.into_iter().filter(|found| found.offset >= offset));
        next = next.max(batch.last_offset + 1);
    }
    Ok((records, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Vec<u8> {
        let mut bytes = batch::write(1, &[b"a"]);
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes
    }

    #[test]
    fn records_from_before_are_left_out_and_what_is_cut_is_fetched_again() {
        let log = [at(4), at(5), at(6), at(7)].concat();
        let offsets = |bytes: &[u8], from| {
            let (records, next) = sift(bytes, from).expect("it is whole");
            let found: Vec<i64> = records.iter().map(|record| record.offset).collect();
            (found, next)
        };
        assert_eq!(offsets(&log, 4), (vec![4, 5, 6, 7], 8));
        assert_eq!(offsets(&log, 6), (vec![6, 7], 8));
        assert_eq!(offsets(&log[..log.len() - 1], 4), (vec![4, 5, 6], 7));
    }
}
