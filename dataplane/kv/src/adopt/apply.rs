//! The event loop's part of a take-over: images are loaded, commands run, in bounded pieces.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use orrery_resp::{Proto, Reply};

use super::{Adoption, Command, Piece, remove_mark, set_mark};
use crate::command_table::{self, Lookup};
use crate::server::Shard;
use crate::server::limits::RECORD_BYTES;

/// Pieces taken per turn, so that readers have their turns too.
const PIECES_PER_TURN: usize = 4;
/// How much of a name is repeated in an error.
const QUOTE_BYTES: usize = 128;
/// Commands of the stream that are about the link, or about clients that are not here.
const IGNORED: [&[u8]; 4] = [b"ping", b"replconf", b"publish", b"spublish"];

impl Shard {
    /// Takes over what the source has sent, as much as one turn can.
    pub(crate) fn look_after_adoption(&mut self) {
        let Some(mut adoption) = self.adoption.take() else { return };
        self.tell_durable(&mut adoption);
        adoption.has_more = false;
        for taken in 0.. {
            if !self.log.is_writable() || self.log.is_stalled() || self.is_snapshot_behind() {
                break;
            }
            if taken == PIECES_PER_TURN {
                adoption.has_more = true;
                break;
            }
            let Ok(piece) = adoption.from.try_recv() else { break };
            if let Err(why) = self.take_piece(&mut adoption, piece) {
                tracing::error!(%why, "the take-over cannot go on");
                adoption.shared.set_trouble(&why);
                adoption.shared.begin_again.store(true, Ordering::Release);
                (adoption.wants_image, adoption.multi) = (true, None);
            }
        }
        // What changed nothing, a heartbeat above all, waits for no record.
        if self.machine.effects().is_empty() {
            self.tell_durable(&mut adoption);
        }
        self.adoption = Some(adoption);
        self.set_bar();
    }

    /// Everything that ran is in the journal; what is on disk of it, the source may know.
    fn tell_durable(&self, adoption: &mut Adoption) {
        self.tell_pending(adoption);
        if adoption.pending.is_none()
            && adoption.applied > adoption.shared.durable.load(Ordering::Acquire)
        {
            adoption.pending = Some((adoption.applied, self.log.appended()));
            self.tell_pending(adoption);
        }
    }

    fn tell_pending(&self, adoption: &mut Adoption) {
        if let Some((offset, position)) = adoption.pending
            && self.durable >= position
        {
            adoption.shared.durable.store(offset, Ordering::Release);
            adoption.pending = None;
        }
    }

    fn take_piece(&mut self, adoption: &mut Adoption, piece: Piece) -> Result<(), String> {
        match piece {
            Piece::Image { path, offset } => {
                self.take_image(adoption, &path)?;
                adoption.session = crate::machine::Session::default();
                (adoption.multi, adoption.wants_image) = (None, false);
                (adoption.applied, adoption.pending) = (offset, None);
                adoption.shared.durable.store(offset, Ordering::Release);
                adoption.shared.copy_percent.store(100, Ordering::Release);
                adoption.shared.set_trouble("");
                adoption.is_complete = true;
            }
            // They belong to an image that was given up.
            Piece::Commands(_) if adoption.wants_image => {}
            Piece::Commands(commands) => {
                for command in commands {
                    let end = command.end;
                    self.take_command(adoption, command)?;
                    adoption.applied = end;
                }
            }
        }
        Ok(())
    }

    /// Loads an image in the place of everything that is here.
    fn take_image(&mut self, adoption: &Adoption, path: &Path) -> Result<(), String> {
        let checked = self.check_image(path);
        let total = checked.map_err(|error| error.to_string())?;
        set_mark(&adoption.data).map_err(|error| format!("failed to set a mark: {error}"))?;
        self.machine.follow_deadlines(true);
        let loaded = self.load_image(path, &mut |_| {});
        self.machine.follow_deadlines(false);
        loaded.map_err(|error| error.to_string())?;
        remove_mark(&adoption.data).map_err(|error| format!("failed to remove a mark: {error}"))?;
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(%error, "failed to remove an image");
        }
        tracing::info!(keys = total, "took the image of the source over");
        Ok(())
    }

    fn take_command(&mut self, adoption: &mut Adoption, command: Command) -> Result<(), String> {
        let name = command.args[0].to_ascii_lowercase();
        match name.as_slice() {
            b"multi" => adoption.multi = Some(Vec::new()),
            b"exec" => {
                // One turn, one record: a transaction is whole on the disk or not there.
                for command in adoption.multi.take().unwrap_or_default() {
                    self.run_of_source(adoption, &command)?;
                }
            }
            _ if adoption.multi.is_some() => {
                adoption.multi.get_or_insert_default().push(command);
                return Ok(());
            }
            _ => self.run_of_source(adoption, &command)?,
        }
        if self.machine.effects().len() >= RECORD_BYTES {
            self.append_effects();
        }
        Ok(())
    }

    fn run_of_source(&mut self, adoption: &mut Adoption, command: &Command) -> Result<(), String> {
        let args: Vec<&[u8]> = command.args.iter().map(Vec::as_slice).collect();
        if IGNORED.iter().any(|name| args[0].eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        if args[0].eq_ignore_ascii_case(b"select") {
            let number = args.get(1).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            let known = number.filter(|number| *number < self.databases);
            adoption.session.db = known.ok_or_else(|| {
                format!(
                    "the source uses database {}, there are {}",
                    quote(&args, 1),
                    self.databases
                )
            })?;
            return Ok(());
        }
        let spec = match command_table::lookup(&args) {
            Lookup::Found(spec) if spec.is_write() && spec.arity_matches(args.len()) => spec,
            _ => {
                return Err(format!(
                    "the source uses {} on key {}, which is not supported",
                    quote(&args, 0),
                    quote(&args, 1)
                ));
            }
        };
        let mut reply = Reply::new(Proto::Resp2);
        self.machine.follow_deadlines(true);
        let failed = self.machine.execute(&mut adoption.session, spec, &args, &mut reply).failed;
        self.machine.follow_deadlines(false);
        if failed {
            let said = String::from_utf8_lossy(reply.as_bytes()).trim().to_owned();
            return Err(format!("{} on key {} failed: {said}", quote(&args, 0), quote(&args, 1)));
        }
        Ok(())
    }
}

fn quote(args: &[&[u8]], number: usize) -> String {
    let text = args.get(number).copied().unwrap_or_default();
    String::from_utf8_lossy(&text[..text.len().min(QUOTE_BYTES)]).into_owned()
}
