//! Records as commands of Redis: what an effect did, said so that a replica does the same. Pure.

use crate::effects::{CorruptEffect, Op, Reader};
use crate::replication::dial;

/// Inserts before an index, which no command of Redis can. The index is not 0, so the list is never
/// empty in between and keeps its deadline.
const INSERT: &[u8] = b"local tail = redis.call('LRANGE', KEYS[1], ARGV[1], -1) \
    redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1) \
    redis.call('RPUSH', KEYS[1], ARGV[2]) \
    for i = 1, #tail, 1000 do \
    redis.call('RPUSH', KEYS[1], unpack(tail, i, math.min(i + 999, #tail))) end";

/// The stream of one replica.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    /// The database the replica has selected; it begins with none that is known.
    pub(super) db: Option<u16>,
}

impl Stream {
    pub(super) fn ping(&mut self) {
        self.command(&[b"PING"]);
    }

    /// Asks the replica to say how far it is.
    pub(super) fn ask(&mut self) {
        self.command(&[b"REPLCONF", b"GETACK", b"*"]);
    }

    /// Appends the commands of a record: all at once or not at all, as they were journalled.
    pub(super) fn put(&mut self, effects: &[u8]) -> Result<(), CorruptEffect> {
        let start = self.bytes.len();
        let mut reader = Reader::new(effects);
        self.command(&[b"MULTI"]);
        let multi_end = self.bytes.len();
        let mut count = 0;
        while let Some((op, db, key)) = reader.next_effect()? {
            self.select(db);
            self.effect(op, db, key, &mut reader)?;
            count += 1;
        }
        if count > 1 {
            self.command(&[b"EXEC"]);
        } else {
            // A single one is atomic by itself.
            self.bytes.drain(start..multi_end);
        }
        Ok(())
    }

    fn command(&mut self, args: &[&[u8]]) {
        dial::write_command(args, &mut self.bytes);
    }

    fn select(&mut self, db: u16) {
        if self.db != Some(db) {
            self.command(&[b"SELECT", db.to_string().as_bytes()]);
            self.db = Some(db);
        }
    }

    fn effect(
        &mut self,
        op: Op,
        db: u16,
        key: &[u8],
        reader: &mut Reader<'_>,
    ) -> Result<(), CorruptEffect> {
        say(op, db, key, reader, &mut |args| self.command(args))
    }
}

/// A command on a key with any number of arguments behind it.
fn with(put: &mut dyn FnMut(&[&[u8]]), name: &[u8], key: &[u8], rest: &[&[u8]]) {
    let args: Vec<&[u8]> = [name, key].into_iter().chain(rest.iter().copied()).collect();
    put(&args);
}

/// Gives the commands that do what an effect on a key of database `db` did, there.
pub(crate) fn say(
    op: Op,
    db: u16,
    key: &[u8],
    reader: &mut Reader<'_>,
    put: &mut dyn FnMut(&[&[u8]]),
) -> Result<(), CorruptEffect> {
    let text = |number: usize| number.to_string().into_bytes();
    match op {
        Op::SetString => {
            reader.byte()?;
            let (deadline, value) = (reader.deadline()?, reader.bytes()?);
            match deadline {
                None => put(&[b"SET", key, value]),
                Some(at) => {
                    put(&[b"SET", key, value, b"PXAT", at.to_string().as_bytes()]);
                }
            }
        }
        Op::Delete => put(&[b"DEL", key]),
        Op::Expire => match reader.deadline()? {
            None => put(&[b"PERSIST", key]),
            Some(at) => put(&[b"PEXPIREAT", key, at.to_string().as_bytes()]),
        },
        Op::SetRange => {
            let offset = text(reader.index()?);
            put(&[b"SETRANGE", key, &offset, reader.bytes()?]);
        }
        Op::HashSet => with(put, b"HSET", key, &reader.all(2)?),
        Op::HashDelete => with(put, b"HDEL", key, &reader.all(1)?),
        Op::SetAdd => with(put, b"SADD", key, &reader.all(1)?),
        Op::SetRemove => with(put, b"SREM", key, &reader.all(1)?),
        Op::ListPush => {
            let name: &[u8] = if reader.byte()? == 0 { b"LPUSH" } else { b"RPUSH" };
            with(put, name, key, &reader.all(1)?);
        }
        Op::ListPop => {
            let name: &[u8] = if reader.byte()? == 0 { b"LPOP" } else { b"RPOP" };
            put(&[name, key, &text(reader.index()?)]);
        }
        Op::ListSet => {
            let index = text(reader.index()?);
            put(&[b"LSET", key, &index, reader.bytes()?]);
        }
        Op::ListInsert => {
            let (index, element) = (reader.index()?, reader.bytes()?);
            if index == 0 {
                put(&[b"LPUSH", key, element]);
            } else {
                put(&[b"EVAL", INSERT, b"1", key, &text(index), element]);
            }
        }
        Op::ListTrim => {
            let (start, count) = (reader.index()?, reader.index()?);
            if count == 0 {
                put(&[b"DEL", key]);
            } else {
                put(&[b"LTRIM", key, &text(start), &text(start + count - 1)]);
            }
        }
        Op::ListRemove => {
            let sign = if reader.byte()? == 0 { "" } else { "-" };
            let count = format!("{sign}{}", reader.index()?);
            put(&[b"LREM", key, count.as_bytes(), reader.bytes()?]);
        }
        Op::Rename => {
            let (other, to) = (reader.database()?, reader.bytes()?);
            if other == db {
                put(&[b"RENAME", key, to]);
            } else {
                let other = other.to_string();
                put(&[b"COPY", key, to, b"DB", other.as_bytes(), b"REPLACE"]);
                put(&[b"DEL", key]);
            }
        }
        Op::FlushDatabase => put(&[b"FLUSHDB"]),
        Op::FlushAll => put(&[b"FLUSHALL"]),
        Op::SwapDatabases => {
            let other = reader.database()?.to_string();
            put(&[b"SWAPDB", db.to_string().as_bytes(), other.as_bytes()]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::Writer;

    fn words(stream: &Stream) -> String {
        let text = String::from_utf8_lossy(&stream.bytes).into_owned();
        let lines = text.split("\r\n").filter(|line| !line.starts_with(['*', '$']));
        lines.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    #[test]
    fn one_effect_is_one_command_and_several_are_a_transaction() {
        let mut record = vec![];
        _ = Writer::start(&mut record, Op::SetString, 2, b"k")
            .byte(1)
            .deadline(Some(9))
            .bytes(b"v");
        let mut stream = Stream::default();
        stream.put(&record).expect("an effect");
        assert_eq!(words(&stream), "SELECT 2 SET k v PXAT 9");
        _ = Writer::start(&mut record, Op::Delete, 3, b"k");
        stream.bytes.clear();
        stream.put(&record).expect("two effects");
        assert_eq!(words(&stream), "MULTI SET k v PXAT 9 SELECT 3 DEL k EXEC");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_an_error() {
        assert!(Stream::default().put(&[250, 1, 1]).is_err());
    }
}
