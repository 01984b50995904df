//! Applying effects read from the journal.

use super::{Key, Machine};
use crate::commands::fail::Fail;
use crate::effects::{CorruptEffect, Op, Reader};
use crate::keyspace::hash::HashObject;
use crate::keyspace::list::{End, ListObject};
use crate::keyspace::raw::Kind;
use crate::keyspace::set::SetObject;

impl Machine {
    /// Applies the effects of one record, written at `time_ms`. Nothing is written, nothing expires.
    ///
    /// # Errors
    /// When the record cannot be read or does not fit; effects before that place are applied.
    pub fn apply(&mut self, time_ms: i64, effects: &[u8]) -> Result<(), CorruptEffect> {
        self.begin(time_ms, 0);
        self.replaying = true;
        let mut reader = Reader::new(effects);
        let result = self.apply_all(&mut reader);
        self.replaying = false;
        self.new_deadline_ms = None;
        result
    }

    fn apply_all(&mut self, reader: &mut Reader<'_>) -> Result<(), CorruptEffect> {
        while let Some((op, db, name)) = reader.next_effect()? {
            if usize::from(db) >= self.databases.len() {
                return Err(reader.bad("database"));
            }
            let key = self.key_in(db, name);
            let applied = match op {
                Op::FlushDatabase | Op::FlushAll | Op::SwapDatabases | Op::Rename => {
                    self.apply_move(op, &key, reader)?
                }
                Op::SetString | Op::Delete | Op::Expire | Op::SetRange => {
                    self.apply_key(op, &key, reader)?
                }
                Op::HashSet | Op::HashDelete | Op::SetAdd | Op::SetRemove => {
                    self.apply_members(op, &key, reader)?
                }
                _ => self.apply_list(op, &key, reader)?,
            };
            if applied.is_none() {
                return Err(CorruptEffect::Misfit { at: reader.position(), op });
            }
            self.signal_modified(&key);
        }
        Ok(())
    }

    fn apply_move(
        &mut self,
        op: Op,
        key: &Key<'_>,
        reader: &mut Reader<'_>,
    ) -> Result<Option<()>, CorruptEffect> {
        match op {
            Op::FlushDatabase => self.flush_database(key.db),
            Op::FlushAll => self.flush_all(),
            _ => {
                let other = reader.database()?;
                if usize::from(other) >= self.databases.len() {
                    return Err(reader.bad("database"));
                }
                if op == Op::SwapDatabases {
                    self.swap_databases(key.db, other);
                } else {
                    let to = self.key_in(other, reader.bytes()?);
                    return Ok(self.move_entry(key, &to).then_some(()));
                }
            }
        }
        Ok(Some(()))
    }

    fn apply_key(
        &mut self,
        op: Op,
        key: &Key<'_>,
        reader: &mut Reader<'_>,
    ) -> Result<Option<()>, CorruptEffect> {
        let place = self.locate(key);
        match op {
            Op::SetString => {
                let kind = match reader.byte()? {
                    0 => Kind::Int,
                    1 => Kind::Embstr,
                    2 => Kind::Raw,
                    _ => return Err(reader.bad("kind")),
                };
                let expire_ms = reader.deadline()?;
                self.put_string(key, place, kind, reader.bytes()?, expire_ms);
            }
            Op::Delete => _ = self.delete(key),
            Op::Expire => {
                let expire_ms = reader.deadline()?;
                if let Some(place) = place {
                    self.put_deadline(key, place, expire_ms);
                }
            }
            _ => {
                let offset = reader.index()?;
                let bytes = reader.bytes()?;
                let Some(place) = place else { return Ok(None) };
                let fits = offset.checked_add(bytes.len()).is_some_and(|end| end <= 1 << 32);
                if !fits || !self.entry(key, place).kind().is_string() {
                    return Ok(None);
                }
                self.put_range(key, place, offset, bytes);
            }
        }
        Ok(Some(()))
    }

    fn apply_members(
        &mut self,
        op: Op,
        key: &Key<'_>,
        reader: &mut Reader<'_>,
    ) -> Result<Option<()>, CorruptEffect> {
        let items = reader.all(if op == Op::HashSet { 2 } else { 1 })?;
        let done = match op {
            Op::HashSet => self.edit(key, true, |hash: &mut HashObject, building| {
                for pair in items.chunks_exact(2) {
                    hash.set(pair[0], pair[1], building);
                }
            }),
            Op::HashDelete => self.edit(key, false, |hash: &mut HashObject, _| {
                for field in items {
                    hash.remove(field);
                }
            }),
            Op::SetAdd => self.edit(key, true, |set: &mut SetObject, building| {
                for member in items {
                    set.insert(member, building);
                }
            }),
            _ => self.edit(key, false, |set: &mut SetObject, _| {
                for member in items {
                    set.remove(member);
                }
            }),
        };
        Ok(fits(done))
    }

    fn apply_list(
        &mut self,
        op: Op,
        key: &Key<'_>,
        reader: &mut Reader<'_>,
    ) -> Result<Option<()>, CorruptEffect> {
        let done = match op {
            Op::ListPush => {
                let end = end(reader)?;
                let elements = reader.all(1)?;
                self.edit(key, true, |list: &mut ListObject, building| {
                    for element in elements {
                        list.push(end, element, &building.thresholds);
                    }
                    true
                })
            }
            Op::ListPop => {
                let end = end(reader)?;
                let count = reader.index()?;
                self.edit(key, false, |list: &mut ListObject, _| {
                    list.remove_at_end(end, count);
                    true
                })
            }
            Op::ListRemove => {
                let end = end(reader)?;
                let most = reader.index()?;
                let element = reader.bytes()?;
                self.edit(key, false, |list: &mut ListObject, _| {
                    list.remove_equal(element, end, most);
                    true
                })
            }
            Op::ListTrim => {
                let (start, count) = (reader.index()?, reader.index()?);
                self.edit(key, false, |list: &mut ListObject, _| {
                    list.keep(start, count);
                    true
                })
            }
            _ => {
                let index = reader.index()?;
                let element = reader.bytes()?;
                self.edit(key, false, |list: &mut ListObject, building| {
                    if index >= list.len() {
                        return false;
                    }
                    match op {
                        Op::ListSet => list.set(index, element, &building.thresholds),
                        _ => list.insert(index, element, &building.thresholds),
                    }
                    true
                })
            }
        };
        Ok(done.ok().flatten().filter(|fits| *fits).map(|_| ()))
    }

    /// Moves a value to another key, replacing what is there; false if there is nothing to move.
    /// No effect is written.
    pub(crate) fn move_entry(&mut self, from: &Key<'_>, to: &Key<'_>) -> bool {
        let Some(place) = self.locate(from) else { return false };
        let copy = self.snapshot.is_some() && self.entry(from, place).parity() != self.parity;
        let kept = copy.then(|| self.entry(from, place).duplicate());
        let Some(entry) = self.detach(from) else { return false };
        if let Some(kept) = kept {
            self.discard(from.db, kept);
        }
        self.delete(to);
        self.insert(to, entry.renamed(to.name));
        true
    }
}

fn end(reader: &mut Reader<'_>) -> Result<End, CorruptEffect> {
    match reader.byte()? {
        0 => Ok(End::Left),
        1 => Ok(End::Right),
        _ => Err(reader.bad("end")),
    }
}

fn fits(done: Result<Option<()>, Fail>) -> Option<()> {
    done.ok().flatten()
}
