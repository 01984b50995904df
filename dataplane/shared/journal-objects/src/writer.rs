//! The owner's end of the log: taking over, and appending.
//!
//! What makes one request enough for an append: a *session* begins with a fence, which it puts in the
//! first empty slot, and from then on fills the slots behind it, one by one, each with one content
//! only. Nobody else puts a group there without a fence of his own before it, and fences are never
//! removed. So a session that was overtaken meets a fence in the very slot it wants, however long it
//! slept and whatever was trimmed meanwhile. The proof is in `docs/carriers.md`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use orrery_blob::Put;
use orrery_journal::Position;
use orrery_journal::carrier::{CarrierError, Group, Owner};

use crate::control::Reason;
use crate::error::unavailable;
use crate::log::{Log, Trouble, View};
use crate::name;
use crate::read::OBJECT_BYTES_MAX;
use crate::slot::Slot;

/// An earlier owner may still write so often while a fence is put, and others of this owner may.
const ATTEMPTS_MAX: u32 = 1000;
/// As long is a fence tried to be put where others are always faster.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often an owner looks for a later one, beside an append. It would meet its fence in any case;
/// but only when it stops by itself does the fence find an empty slot soon.
const WATCH_EVERY: Duration = Duration::from_millis(250);
/// Where the shard stands in the bytes of a group.
const GROUP_SHARD: std::ops::Range<usize> = 12..16;

/// Where the owner is.
#[derive(Debug)]
pub(crate) struct Session {
    owner: Owner,
    /// The last slot it filled, a fence at first.
    end: Slot,
    /// What was put in the slot behind and not answered: nothing else may be put there.
    pending: Option<(Bytes, Slot)>,
    watched: Instant,
}

/// The owner's end, behind a lock of the carrier: one request after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    session: Option<Session>,
}

impl Writer {
    /// See [`orrery_journal::Carrier::take_over`].
    pub(crate) fn take_over(&mut self, log: &Log<'_>, owner: Owner) -> Result<View, CarrierError> {
        if owner.epoch.0 == 0 {
            return Err(CarrierError::Invalid("an owner of epoch 0".to_owned()));
        }
        self.session = None;
        // Before anything is put: it would be the end of what tells of an entry that is missing.
        let seen = log.view(true)?.slot();
        log.chain().change(|last| {
            if last.number > 0 && last.owner == owner {
                return Ok(None);
            }
            if owner.epoch <= last.owner.epoch {
                return Err(CarrierError::Fenced { held: last.owner.epoch });
            }
            // It may have been trimmed by now.
            let seen = if seen >= last.floor { seen } else { 0 };
            let mut next = last.next(Reason::TakeOver, seen);
            next.owner = owner;
            Ok(Some(next))
        })?;
        let (session, view) = begin(log, owner)?;
        self.session = Some(session);
        Ok(view)
    }

    /// See [`orrery_journal::Carrier::append`].
    pub(crate) fn append(
        &mut self,
        log: &Log<'_>,
        owner: Owner,
        group: &Group,
    ) -> Result<(), CarrierError> {
        orrery_journal::carrier::check_group(group)?;
        if group.bytes().get(GROUP_SHARD) != Some(log.shard.to_le_bytes().as_slice()) {
            return Err(CarrierError::Invalid("a group of another shard".to_owned()));
        }
        for _ in 0..ATTEMPTS_MAX {
            let mut session = match self.session.take().filter(|session| session.owner == owner) {
                Some(session) => session,
                None => begin(log, owner)?.0,
            };
            match session.put(log, group) {
                Ok(Step::Taken) => {
                    self.session = Some(session);
                    return Ok(());
                }
                // It was taken, but another owner is there: the next call finds out which one.
                Ok(Step::TakenAndOver) => return Ok(()),
                Ok(Step::Over) => {}
                Err(error) => {
                    self.session = Some(session);
                    return Err(error);
                }
            }
        }
        Err(unavailable("others of this owner write all the time"))
    }
}

/// How an attempt ended.
enum Step {
    Taken,
    /// Taken, and a later owner was seen.
    TakenAndOver,
    /// The session has ended: begin another one, and try again.
    Over,
}

/// Begins a session: the fence is in the log, and nothing of an earlier one can come behind it.
fn begin(log: &Log<'_>, owner: Owner) -> Result<(Session, View), CarrierError> {
    let started = Instant::now();
    let mut is_first = true;
    while is_first || started.elapsed() < PATIENCE {
        let mut view = log.view(is_first)?;
        view.control.check_owner(owner)?;
        is_first = false;
        let Some(fence) = put_fence(log, owner, &view)? else { continue };
        // While the fence was on its way a later owner may have come and trimmed, so that it stands
        // among garbage. If not so far, then it was in place before anybody else could come.
        let control = log.chain().of(owner)?;
        if control.floor > fence.number {
            continue;
        }
        log.known.lock().learn_slot(&fence);
        view.control = control;
        view.end = Some(fence);
        return Ok((Session { owner, end: fence, pending: None, watched: Instant::now() }, view));
    }
    Err(unavailable("others write faster than a fence can be put"))
}

/// Puts a fence behind the end, unless somebody was faster.
fn put_fence(log: &Log<'_>, owner: Owner, view: &View) -> Result<Option<Slot>, CarrierError> {
    if let Some(end) = &view.end
        && (end.owner.epoch > owner.epoch
            || (end.owner.epoch == owner.epoch && end.owner.token != owner.token))
    {
        return match log.damage(&view.control, end.corrupt("its owner never took over")) {
            Trouble::Moved => Ok(None),
            Trouble::Other(error) => Err(error),
        };
    }
    let fence = Slot {
        number: view.slot() + 1,
        owner,
        session: rand::random(),
        control: view.control.number,
        first: view.last() + 1,
        last: view.last(),
        last_epoch: view.last_epoch(),
        is_fence: true,
        body_bytes: 0,
    };
    let (name, object) = (name::slot(fence.number), fence.encode(log.shard, &[]));
    if log.lane.put_new(&name, &object)? == Put::Created {
        return Ok(Some(fence));
    }
    // It may be this very one: the client asks again by itself when an answer is lost.
    let found = log.lane.get(&name, OBJECT_BYTES_MAX)?;
    Ok((found == Some(object)).then_some(fence))
}

impl Session {
    fn put(&mut self, log: &Log<'_>, group: &Group) -> Result<Step, CarrierError> {
        if group.first().0 != self.end.last + 1 {
            return self.out_of_place(log, group);
        }
        self.check_epoch(group)?;
        let (object, header) = match self.pending.take() {
            Some(pending) if is_same(&pending.0, group) => pending,
            // The other one may come yet, but not through a fence.
            Some(_) => return Ok(Step::Over),
            None => self.object(log, group),
        };
        self.pending = Some((object.clone(), header));
        let name = name::slot(header.number);
        let put = log.lane.begin_put_new(&name, &object);
        let watched =
            if self.watched.elapsed() >= WATCH_EVERY { self.watch(log) } else { Ok(true) };
        if put.wait()? == Put::Exists {
            match log.lane.get(&name, OBJECT_BYTES_MAX)? {
                Some(found) if found == object => {}
                // A fence, or what another of this owner put behind one; or nothing: the store was
                // busy with the name.
                _ => return Ok(Step::Over),
            }
        }
        self.end = header;
        self.pending = None;
        log.known.lock().learn_slot(&header);
        // Nobody has to know it yet; what is wrong with the store the next call will find out.
        Ok(if watched.unwrap_or(true) { Step::Taken } else { Step::TakenAndOver })
    }

    /// Whether it still owns the shard.
    fn watch(&mut self, log: &Log<'_>) -> Result<bool, CarrierError> {
        self.watched = Instant::now();
        match log.chain().of(self.owner) {
            Ok(_) => Ok(true),
            Err(CarrierError::Fenced { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn object(&self, log: &Log<'_>, group: &Group) -> (Bytes, Slot) {
        let header = Slot {
            number: self.end.number + 1,
            control: log.known.lock().control.number,
            first: group.first().0,
            last: group.last().0,
            last_epoch: group.epoch().0,
            is_fence: false,
            body_bytes: group.bytes().len() as u32,
            ..self.end
        };
        (header.encode(log.shard, group.bytes()), header)
    }

    fn check_epoch(&self, group: &Group) -> Result<(), CarrierError> {
        let (epoch, owner) = (group.epoch(), self.owner.epoch);
        if (self.end.last_epoch..=owner.0).contains(&epoch.0) {
            return Ok(());
        }
        let last = self.end.last_epoch;
        let reason = format!("a group of epoch {epoch}, where {last} is the last and {owner} owns");
        Err(CarrierError::Invalid(reason))
    }

    /// A group that does not follow what this session knows: taken already, or refused, or there is
    /// more than it knows.
    fn out_of_place(&mut self, log: &Log<'_>, group: &Group) -> Result<Step, CarrierError> {
        log.chain().of(self.owner)?;
        // Another of this owner, or what was not answered.
        if log.header(self.end.number + 1)?.is_some() {
            return Ok(Step::Over);
        }
        if self.has(log, group)? {
            return Ok(Step::Taken);
        }
        let (last, first) = (Position(self.end.last), group.first());
        Err(CarrierError::OutOfPlace { last, first })
    }

    /// Whether this very group is in the log.
    fn has(&self, log: &Log<'_>, group: &Group) -> Result<bool, CarrierError> {
        for _ in 0..ATTEMPTS_MAX {
            let view = View { control: log.chain().of(self.owner)?, end: Some(self.end) };
            let positions = view.control.oldest..=view.last();
            if !positions.contains(&group.first().0) {
                return Ok(false);
            }
            let found = log.locate(&view, group.first().0);
            match found.and_then(|slot| log.there(&view.control, slot)) {
                Ok(found) if found.is_fence || found.first != group.first().0 => return Ok(false),
                Ok(found) => {
                    let object = log.lane.get(&name::slot(found.number), OBJECT_BYTES_MAX)?;
                    return Ok(object.is_some_and(|object| is_same(&object, group)));
                }
                Err(Trouble::Moved) => {}
                Err(Trouble::Other(error)) => return Err(error),
            }
        }
        Err(unavailable("the log is trimmed faster than it can be read"))
    }
}

/// Whether an object holds this group.
fn is_same(object: &Bytes, group: &Group) -> bool {
    object.get(crate::slot::HEADER_BYTES..) == Some(group.bytes())
}
