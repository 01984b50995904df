//! Replaces all data by an image.
//!
//! The image is read twice: once to know that it is whole, before anything is touched, and once to
//! load it. Loading runs ordinary commands, so that the journal holds it like any other change.
//! Clients wait meanwhile: what they would see is half of an image.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use orrery_journal::Position;
use orrery_operand::OperandError;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_resp::{Proto, Reply};

use super::Shard;
use super::limits::RECORD_BYTES;
use crate::command_table;
use crate::machine::Session;
use crate::persistence::snapshots::FILE_NAME;
use crate::rdb::{Item, RdbError, Reader, Value};

/// Elements given to one command.
const ELEMENTS_PER_COMMAND: usize = 1024;
/// Longest wait for the disk between two records.
const DISK_SECONDS_MAX: u64 = 60;

fn open(path: &Path) -> Result<Reader<File>, OperandError> {
    let opened = File::open(path).map_err(RdbError::from).and_then(Reader::new);
    opened.map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &RdbError) -> OperandError {
    OperandError::Invalid(format!("failed to restore {}: {error}", path.display()))
}

impl Shard {
    pub(crate) fn restore_from(
        &mut self,
        folder: &Path,
        on: &ProgressSender,
    ) -> Result<Finished, OperandError> {
        let path = if folder.is_dir() { folder.join(FILE_NAME) } else { folder.to_owned() };
        let total = self.check_image(&path)?;
        if let Some(why) = self.refuse_writes() {
            return Err(OperandError::Unavailable(why.to_owned()));
        }
        let units = self.load_image(&path, &mut |done| on.step("loading keys", done, total))?;
        let location = path.display().to_string();
        Ok(Finished { position: self.log.appended(), location, units, epoch: 0 })
    }

    /// Reads an image to its end; gives the number of its keys.
    pub(crate) fn check_image(&self, path: &Path) -> Result<u64, OperandError> {
        let mut total = 0;
        for item in open(path)? {
            let item = item.map_err(|error| unusable(path, &error))?;
            if let Item::Key { db, .. } = item {
                if db >= u32::from(self.databases) {
                    let text = format!("the image has database {db}, there are {}", self.databases);
                    return Err(OperandError::Invalid(text));
                }
                total += 1;
            }
        }
        Ok(total)
    }

    /// Puts the keys of an image that was checked in the place of all others, on disk when this
    /// returns; gives their number.
    pub(crate) fn load_image(
        &mut self,
        path: &Path,
        step: &mut dyn FnMut(u64),
    ) -> Result<u64, OperandError> {
        self.run_internal(&mut Session::default(), &[b"FLUSHALL"])?;
        let mut done = 0;
        for item in open(path)? {
            let item = item.map_err(|error| unusable(path, &error))?;
            let Item::Key { db, key, expires_ms, value } = item else { continue };
            self.restore_key(db as u16, &key, expires_ms, &value)?;
            done += 1;
            if done % 1000 == 0 {
                step(done);
            }
        }
        self.append_and_wait()?;
        Ok(done)
    }

    fn restore_key(
        &mut self,
        db: u16,
        key: &[u8],
        expires_ms: Option<i64>,
        value: &Value,
    ) -> Result<(), OperandError> {
        let session = &mut Session { db, ..Session::default() };
        match value {
            Value::String(text) => self.run_internal(session, &[b"SET", key, text])?,
            Value::List(elements) => self.run_chunks(session, b"RPUSH", key, elements.iter())?,
            Value::Set(members) => self.run_chunks(session, b"SADD", key, members.iter())?,
            Value::Hash(fields) => {
                let flat = fields.iter().flat_map(|(field, value)| [field, value]);
                self.run_chunks(session, b"HSET", key, flat)?;
            }
        }
        if let Some(at) = expires_ms {
            let at = at.to_string();
            self.run_internal(session, &[b"PEXPIREAT", key, at.as_bytes()])?;
        }
        if self.machine.effects().len() >= RECORD_BYTES {
            self.append_and_wait()?;
        }
        Ok(())
    }

    fn run_chunks<'a>(
        &mut self,
        session: &mut Session,
        command: &[u8],
        key: &[u8],
        elements: impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<(), OperandError> {
        let mut args: Vec<&[u8]> = vec![command, key];
        for element in elements {
            args.push(element);
            if args.len() == ELEMENTS_PER_COMMAND + 2 {
                self.run_internal(session, &args)?;
                args.truncate(2);
            }
        }
        if args.len() > 2 { self.run_internal(session, &args) } else { Ok(()) }
    }

    fn run_internal(&mut self, session: &mut Session, args: &[&[u8]]) -> Result<(), OperandError> {
        let Some(spec) = command_table::by_name(args[0]) else {
            let name = String::from_utf8_lossy(args[0]).into_owned();
            return Err(OperandError::Unsupported(name));
        };
        let mut reply = Reply::new(Proto::Resp2);
        if self.machine.execute(session, spec, args, &mut reply).failed {
            let error = String::from_utf8_lossy(reply.as_bytes()).trim().to_owned();
            return Err(OperandError::Unknown(format!("the image is loaded in part: {error}")));
        }
        Ok(())
    }

    /// A big image must not pile up in memory on its way to the disk.
    fn append_and_wait(&mut self) -> Result<(), OperandError> {
        self.append_effects();
        self.log.flush();
        let deadline = Instant::now() + Duration::from_secs(DISK_SECONDS_MAX);
        let position = Position(self.log.appended());
        let waited = self.log.journal().wait_durable_until(position, deadline);
        waited.map(|_| ()).map_err(|error| OperandError::Unknown(error.to_string()))
    }
}
