//! The proof for jobs that follow others: each end of a run that a job follows was told to it once, and
//! everything that was told was decided once.
//!
//! Three comparisons. In the ledger of the leader: the ends of its runs, under the followers that the
//! ledger says it had, and what is to be told. Between two ledgers: what is to be told, and what was
//! taken. In the ledger of the follower: what was taken, and what was decided about it.

use std::collections::BTreeMap;

use compact_str::CompactString;
use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use orrery_api::scheduler::AfterResult;

use super::entry::{Entry, Fact};
use super::file::{FIRST, LedgerError};
use super::verify::{MARGIN_MS, Tally, Verdict, VerifyError, View, name};
use crate::engine::partition_of;
use crate::machine::links::{Links, follows};
use crate::machine::{Cause, Ended};

/// Who follows whom in a partition, as a verification needs it.
#[derive(Debug, Default)]
pub struct LinksView {
    /// Leader, follower, and after which runs.
    followers: Vec<(CompactString, CompactString, AfterResult)>,
    /// The newest sequence of its outbox.
    newest: u64,
    /// The newest sequence that was taken, by partition.
    taken: BTreeMap<u16, u64>,
    is_unused: bool,
}

impl LinksView {
    pub(super) fn of(links: &Links) -> Self {
        let followers = links.followers();
        Self {
            followers: followers
                .map(|(leader, one)| (leader.into(), one.name.clone(), one.result))
                .collect(),
            newest: links.newest(),
            taken: links.all_taken().clone(),
            is_unused: links.is_unused(),
        }
    }
}

/// What the ledger of one partition says of things told to others, and by others.
#[derive(Debug, Default)]
pub struct Told {
    /// By sequence: whom, and of which second.
    sent: BTreeMap<u64, (CompactString, i64)>,
    /// How often each was taken, and of which second it is.
    taken: BTreeMap<(u16, u64), (u64, i64)>,
    newest: u64,
    cursors: BTreeMap<u16, u64>,
    /// Old entries of its ledger are gone.
    is_cut: bool,
}

/// Who follows whom while a ledger is read.
#[derive(Debug, Default)]
struct Followers {
    by_leader: HashMap<CompactString, Vec<(CompactString, AfterResult)>>,
    /// Names of the jobs that are followed, by id.
    leaders: HashMap<u64, CompactString>,
}

impl Followers {
    /// As they were before the first entry from `since_ms` on: as they are now, with all changes since
    /// undone.
    fn before(view: &View, since_ms: i64) -> Result<Self, LedgerError> {
        let mut found = Self::default();
        for (leader, follower, result) in &view.links.followers {
            found.set(leader, follower, Some(*result));
        }
        let mut undone: HashSet<(CompactString, CompactString)> = HashSet::new();
        let mut old: Vec<(u64, CompactString)> = vec![];
        view.ledger.scan(since_ms, |_, entry| {
            match entry.fact {
                // The first change of a pair says what was before all of them.
                Fact::Follow { leader, follower, before, .. }
                    if undone.insert((leader.into(), follower.into())) =>
                {
                    found.set(leader, follower, before);
                }
                Fact::Period { put, .. } => old.push((entry.job, put.name.into())),
                _ => {}
            }
            true
        })?;
        let names: HashSet<CompactString> = found.by_leader.keys().cloned().collect();
        let jobs = view.jobs.iter().map(|job| (job.id, job.name.clone()));
        found.leaders = jobs.chain(old).filter(|(_, name)| names.contains(name)).collect();
        Ok(found)
    }

    fn set(&mut self, leader: &str, follower: &str, result: Option<AfterResult>) {
        let all = self.by_leader.entry(leader.into()).or_default();
        all.retain(|(known, _)| **known != *follower);
        all.extend(result.map(|result| (follower.into(), result)));
    }

    /// Who is to be told when a run of a job ends so.
    fn of(&self, job: u64, ended: Ended) -> impl Iterator<Item = &CompactString> {
        let all = self.leaders.get(&job).and_then(|name| self.by_leader.get(name));
        let all = all.into_iter().flatten();
        all.filter(move |(_, result)| follows(*result, ended)).map(|(follower, _)| follower)
    }
}

/// One ledger while it is read.
struct Reading {
    from: i64,
    to: i64,
    /// What was taken before the oldest entry may have been decided behind it: seconds from here on
    /// are compared.
    first: i64,
    followers: Followers,
    /// Whom a run that ended is to be told to, and its second.
    due: HashMap<(u64, CompactString), i64>,
    /// What was taken and what was decided, by job.
    jobs: HashMap<u64, (Tally, Tally)>,
    told: Told,
    differences: Vec<String>,
}

/// Looks at one partition by itself, for seconds from `from` to `to`, and gives what is to be compared
/// with the others.
pub fn gather(view: &View, from: i64, to: i64, verdict: &mut Verdict) -> Result<Told, VerifyError> {
    let is_cut = view.ledger.oldest() > FIRST;
    let (newest, cursors) = (view.links.newest, view.links.taken.clone());
    let told = Told { newest, cursors, is_cut, ..Told::default() };
    if view.links.is_unused {
        return Ok(told);
    }
    let since_ms = from.saturating_mul(1000).saturating_sub(MARGIN_MS);
    let oldest = view.ledger.oldest_ms()?.filter(|_| is_cut).map(|ms| ms.div_euclid(1000) + 1);
    let mut reading = Reading {
        from,
        to,
        first: from.max(oldest.unwrap_or(i64::MIN)),
        followers: Followers::before(view, since_ms)?,
        due: HashMap::new(),
        jobs: HashMap::new(),
        told,
        differences: vec![],
    };
    view.ledger.scan(since_ms, |_, entry| {
        reading.entry(&entry, verdict);
        true
    })?;
    Ok(reading.finish(view, verdict))
}

impl Reading {
    fn entry(&mut self, entry: &Entry<'_>, verdict: &mut Verdict) {
        let job = entry.job;
        match entry.fact {
            Fact::Follow { leader, follower, result, .. } => {
                self.followers.set(leader, follower, result);
            }
            // An end without an entry before it is of a job that is gone: nobody follows that.
            Fact::Ended { run, nominal, ended, .. } if entry.before.is_some() => {
                for follower in self.followers.of(job, ended) {
                    self.due.insert((run, follower.clone()), nominal);
                }
            }
            Fact::Triggered { run, sequence, follower, nominal } => {
                let is_due = self.due.remove(&(run, follower.into())).is_some();
                if !is_due && (self.from..=self.to).contains(&nominal) {
                    verdict.unexpected += 1;
                    self.differences.push(format!("{follower}: told of run {run}, not due to it"));
                }
                self.told.sent.insert(sequence, (follower.into(), nominal));
            }
            Fact::Taken { source, sequence, nominal, .. } => {
                self.told.taken.entry((source, sequence)).or_insert((0, nominal)).0 += 1;
                if !self.compares(nominal) {
                    return;
                }
                verdict.expected += 1;
                match job {
                    // The follower was gone.
                    0 => verdict.skipped += 1,
                    job => self.jobs.entry(job).or_default().0.add(nominal),
                }
            }
            Fact::Launched { nominal, cause: Cause::Dependency, .. } if self.compares(nominal) => {
                verdict.launched += 1;
                self.jobs.entry(job).or_default().1.add(nominal);
            }
            Fact::Skipped { nominal, cause: Cause::Dependency, .. } if self.compares(nominal) => {
                verdict.skipped += 1;
                self.jobs.entry(job).or_default().1.add(nominal);
            }
            _ => {}
        }
    }

    /// Whether what was taken of a second is compared with what was decided of it.
    fn compares(&self, nominal: i64) -> bool {
        (self.first..=self.to).contains(&nominal)
    }

    /// What is left at the end is what differs.
    fn finish(mut self, view: &View, verdict: &mut Verdict) -> Told {
        let (range, compared) = (self.from..=self.to, self.first..=self.to);
        for ((run, follower), _) in self.due.drain().filter(|(_, at)| range.contains(at)) {
            verdict.missed += 1;
            self.differences.push(format!("{follower}: not told of run {run}"));
        }
        for job in &view.jobs {
            for nominal in job.waiting_after.iter().filter(|at| compared.contains(*at)) {
                verdict.waiting += 1;
                self.jobs.entry(job.id).or_default().1.add(*nominal);
            }
        }
        for (id, (taken, decided)) in self.jobs.iter().filter(|(_, (taken, done))| taken != done) {
            let missed = taken.count.saturating_sub(decided.count);
            let duplicated = decided.count.saturating_sub(taken.count);
            verdict.duplicated += duplicated;
            // As many, but others.
            verdict.missed += if missed + duplicated == 0 { 1 } else { missed };
            let known = view.jobs.iter().find(|job| job.id == *id);
            let named = known.map_or_else(|| format!("job {id}"), |job| job.name.to_string());
            let (told, done) = (taken.count, decided.count);
            let difference = format!("{named}: {told} runs of others were told, {done} decided");
            self.differences.push(difference);
        }
        name(verdict, self.differences);
        self.told
    }
}

/// Compares what partitions say they told with what the others say they took. The one may have been
/// looked at before the other.
pub fn compare(all: &[Told], from: i64, to: i64, verdict: &mut Verdict) {
    let within = |nominal: i64| (from..=to).contains(&nominal);
    let mut differences = vec![];
    let partitions = all.len() as u16;
    let first_taken = |here: &Told, source: u16| {
        here.taken
            .range((source, 0)..=(source, u64::MAX))
            .next()
            .map(|((_, sequence), _)| *sequence)
    };
    for (source, of) in all.iter().enumerate() {
        let source = source as u16;
        for (sequence, (follower, nominal)) in of.sent.iter().filter(|(_, told)| within(told.1)) {
            let there = &all[usize::from(partition_of(follower, partitions))];
            if there.cursors.get(&source).is_none_or(|cursor| cursor < sequence) {
                verdict.pending += 1;
                continue;
            }
            let is_forgotten =
                there.is_cut && first_taken(there, source).is_none_or(|first| *sequence < first);
            match there.taken.get(&(source, *sequence)).map_or(0, |(count, _)| *count) {
                0 if is_forgotten => {}
                0 => {
                    verdict.missed += 1;
                    differences.push(format!("{follower}: {nominal} was told and not taken"));
                }
                1 => {}
                more => {
                    verdict.duplicated += more - 1;
                    differences.push(format!("{follower}: {nominal} was taken {more} times"));
                }
            }
        }
    }
    for here in all {
        for ((source, sequence), (_, nominal)) in
            here.taken.iter().filter(|(_, taken)| within(taken.1))
        {
            let Some(of) = all.get(usize::from(*source)) else { continue };
            let is_newer = *sequence > of.newest;
            let is_forgotten =
                of.is_cut && of.sent.first_key_value().is_none_or(|(first, _)| sequence < first);
            if !is_newer && !is_forgotten && !of.sent.contains_key(sequence) {
                verdict.unexpected += 1;
                differences.push(format!("{nominal} was taken and not told, number {sequence}"));
            }
        }
    }
    name(verdict, differences);
}
