//! The control chain: entries 1, 2, 3 …, each put only if it is not there, none ever removed.
//!
//! So it is a register with compare-and-set that needs no compare-and-set of the store: who wants to
//! change something reads the last entry, and puts the next one. If somebody was faster, the name is
//! taken, for ever: a request that was delayed can never take effect later. Only the owner that the
//! last entry names puts the next one, except for a higher epoch that takes over.

use orrery_blob::Put;
use orrery_journal::carrier::{CarrierError, Owner};

use crate::control::{CONTROL_BYTES, Control};
use crate::error::{corrupt, unavailable};
use crate::known::Known;
use crate::lane::Lane;
use crate::{name, search};

/// Others may put entries meanwhile so often.
const ATTEMPTS_MAX: u32 = 64;

/// The chain of one shard, over one lane.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) known: &'a Known,
    pub(crate) shard: u32,
}

impl Chain<'_> {
    /// The last entry. All that was put before this was called is in it.
    pub(crate) fn last(&self) -> Result<Control, CarrierError> {
        let (begin, is_checked) = {
            let memory = self.known.lock();
            (memory.control.clone(), memory.is_checked)
        };
        let mut last = self.walk(begin)?;
        if !is_checked {
            last = self.check(last)?;
            self.known.lock().is_checked = true;
        }
        self.known.lock().learn_control(&last);
        Ok(last)
    }

    /// The last entry before the first that is missing. All entries are there, so it is found by
    /// leaps; that this finds a hole if there is one is the matter of [`Self::check`].
    fn walk(&self, begin: Control) -> Result<Control, CarrierError> {
        let mut last = begin;
        let begin = last.number;
        search::last_in_use(begin, |number| {
            let found = self.get(number)?;
            let is_there = found.is_some();
            last = found.filter(|found| found.number > last.number).unwrap_or(last.clone());
            Ok(is_there)
        })?;
        Ok(last)
    }

    fn get(&self, number: u64) -> Result<Option<Control>, CarrierError> {
        let name = name::control(number);
        let Some(bytes) = self.lane.get(&name, CONTROL_BYTES as u64 + 1)? else { return Ok(None) };
        let entry = Control::decode(&bytes, self.shard, number);
        entry.map(Some).map_err(|reason| corrupt(1, &name, reason))
    }

    /// Looks for entries behind a hole, and for a log without entries, by listing: a listing that is
    /// behind cannot show what is not there, so what it shows is evidence, and only that.
    fn check(&self, last: Control) -> Result<Control, CarrierError> {
        let mut last = last;
        for _ in 0..ATTEMPTS_MAX {
            let behind = name::control(last.number);
            let listed = self.lane.list(name::CONTROL, &behind)?;
            let is_behind = |name: &str| name::number(name).is_some_and(|at| at > last.number);
            if !listed.iter().any(|entry| is_behind(&entry.name)) {
                break;
            }
            // Somebody may have put it just now.
            let found = self.walk(last.clone())?;
            if found.number == last.number {
                let missing = name::control(last.number + 1);
                return Err(corrupt(1, &missing, "it is missing, and later ones are there"));
            }
            last = found;
        }
        if last.number == 0 && !self.lane.list(name::LOG, "")?.is_empty() {
            last = self.walk(last)?;
            if last.number == 0 {
                return Err(corrupt(1, name::CONTROL, "there is a log, and nothing says whose"));
            }
        }
        Ok(last)
    }

    /// The last entry, if `owner` owns the shard.
    pub(crate) fn of(&self, owner: Owner) -> Result<Control, CarrierError> {
        let last = self.last()?;
        last.check_owner(owner)?;
        Ok(last)
    }

    /// Puts entries until `change` has nothing to change any more: it is given the last entry, and
    /// gives the one that is to follow. It refuses what the caller may not do. What it gave may have
    /// been put although this fails; then it finds it done when it is asked again.
    pub(crate) fn change(
        &self,
        mut change: impl FnMut(&Control) -> Result<Option<Control>, CarrierError>,
    ) -> Result<Control, CarrierError> {
        for _ in 0..ATTEMPTS_MAX {
            let last = self.last()?;
            let Some(next) = change(&last)? else { return Ok(last) };
            let name = name::control(next.number);
            let put = self.lane.put_new(&name, &next.encode(self.shard))?;
            if put == Put::Created {
                self.known.lock().learn_control(&next);
                return Ok(next);
            }
        }
        Err(unavailable("others change the owner or its snapshots all the time"))
    }
}
