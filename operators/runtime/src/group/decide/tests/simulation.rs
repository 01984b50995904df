//! Goal: whatever dies, pauses or is cut off, at most one pod acknowledges writes at a time, and
//! under `NoLoss` every acknowledged write is in the log of whoever is primary later; and what the
//! first primary had before there was a group, from an archive for example, is never lost under any
//! policy. Method: a model of the processes as the decision document describes them, the real
//! `decide`, and faults from a seed, volumes that are lost among them; time moves in steps of 100 ms.
//! Every third group has a home to go back to.

mod operator;

use super::*;

const STEP_MS: u64 = 100;
const LEASE_MS: u64 = LEASE.as_millis() as u64;
const OPERATOR_LEASE_MS: u64 = 5_000;
const DRIFT_MS: u64 = DRIFT.as_millis() as u64;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a process keeps on disk, and what it knows while it lives.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a process")]
struct Pod {
    /// Epoch and value of each record.
    log: Vec<(u64, u64)>,
    promoted: u64,
    known: u64,
    completed: u64,
    /// It followed somebody.
    has_followed: bool,
    /// It was primary, or had once all that its primary had.
    whole: bool,
    /// What its primary had when the link came up.
    target: Option<usize>,
    up: bool,
    paused: bool,
    role: Role,
    follows: Option<(usize, u64)>,
    lease_until: u64,
    /// Of a primary: who confirmed how much, when.
    confirmed: Vec<(usize, u64)>,
    silent_since: u64,
}

struct World {
    group: Group,
    dice: Dice,
    now: u64,
    pods: Vec<Pod>,
    /// Pods nobody reaches, the operator neither.
    cut: Vec<bool>,
    grant: Option<Grant>,
    transition: Option<(u64, Kind, u64)>,
    heard: Vec<u64>,
    /// Which pods this operator has heard, and may have renewed.
    renewed: Vec<bool>,
    /// When this operator took its lease, and when that ends; none while it is renewed.
    operator_since: u64,
    operator_until: Option<u64>,
    /// Since when nothing that an operator before confirmed holds, if that is known.
    alone_since: Option<u64>,
    acked: Vec<(u64, u64)>,
    /// What the first pod had before it was primary of anything.
    before: Vec<(u64, u64)>,
    next_value: u64,
    failovers: u64,
    wipes: u64,
}

impl World {
    fn new(followers: u32, synchronous: u32, policy: Policy, seed: u64) -> Self {
        let n = followers as usize + 1;
        let records = if seed.is_multiple_of(2) { 12 } else { 0 };
        let before: Vec<(u64, u64)> = (1..=records).map(|value| (7, value)).collect();
        let pod =
            Pod { up: true, role: Role::Standby, confirmed: vec![(0, 0); n], ..Pod::default() };
        let mut pods = vec![pod; n];
        pods[0].log.clone_from(&before);
        // A process has heard of every epoch in its own journal.
        pods[0].known = before.last().map_or(0, |(epoch, _)| *epoch);
        Self {
            group: Group {
                home: seed.is_multiple_of(3).then(|| "a-0".to_owned()),
                ..group(followers, synchronous, policy)
            },
            dice: Dice(seed),
            now: 10_000,
            pods,
            cut: vec![false; n],
            grant: None,
            transition: None,
            heard: vec![0; n],
            renewed: vec![false; n],
            operator_since: 0,
            operator_until: None,
            alone_since: None,
            acked: Vec::new(),
            next_value: records + 1,
            before,
            failovers: 0,
            wipes: 0,
        }
    }

    fn runs(&self, pod: usize) -> bool {
        self.pods[pod].up && !self.pods[pod].paused
    }

    fn reach(&self, a: usize, b: usize) -> bool {
        self.runs(a) && self.runs(b) && !self.cut[a] && !self.cut[b]
    }

    fn leased(&self, pod: usize) -> bool {
        let pod = &self.pods[pod];
        pod.role == Role::Primary && pod.promoted >= pod.known && self.now < pod.lease_until
    }

    /// A client writes to whoever says it is primary; the write counts when it is acknowledged.
    fn write(&mut self, at: usize) {
        if !self.runs(at) || !self.leased(at) {
            return;
        }
        let epoch = self.pods[at].promoted;
        let value = self.next_value;
        self.next_value += 1;
        self.pods[at].log.push((epoch, value));
        for follower in 0..self.pods.len() {
            if !self.dice.one_in(3) {
                self.replicate(at, follower);
            }
        }
        let position = self.pods[at].log.len();
        let has =
            |(pod, (confirmed, _)): (usize, &(usize, u64))| pod != at && *confirmed >= position;
        let confirmations = self.pods[at].confirmed.iter().enumerate().filter(|c| has(*c)).count();
        if confirmations >= self.group.synchronous as usize && self.leased(at) {
            let last = self.acked.last().map_or(0, |(epoch, _)| *epoch);
            assert!(epoch >= last, "epoch {epoch} acknowledges after epoch {last}");
            self.acked.push((epoch, value));
        }
    }

    /// One exchange of a primary, or a fenced one, with one that follows it.
    fn replicate(&mut self, primary: usize, follower: usize) {
        let epoch = self.pods[primary].promoted;
        if primary == follower
            || self.pods[follower].role != Role::Follower
            || self.pods[follower].follows != Some((primary, epoch))
        {
            return;
        }
        if !self.reach(primary, follower) {
            self.pods[follower].target = None;
            return;
        }
        if self.pods[follower].known > epoch {
            self.pods[primary].known = self.pods[primary].known.max(self.pods[follower].known);
            return;
        }
        let log = self.pods[primary].log.clone();
        let own = &self.pods[follower].log;
        let same =
            own.len() <= log.len() && own.last().is_none_or(|last| log[own.len() - 1] == *last);
        // A log that parted ways is put aside; what is missing comes record by record or at once.
        let upto =
            if same { (own.len() + self.dice.below(5) as usize).min(log.len()) } else { log.len() };
        let target = *self.pods[follower].target.get_or_insert(log.len());
        self.pods[follower].whole |= upto >= target;
        self.pods[follower].log = log[..upto].to_vec();
        self.pods[follower].silent_since = self.now;
        self.pods[primary].confirmed[follower] = (upto, self.now);
        let (now, lease) = (self.now, LEASE.as_millis() as u64);
        let fresh = |(_, at): &&(usize, u64)| *at > 0 && now - at < lease / 2;
        let fresh = self.pods[primary].confirmed.iter().filter(fresh).count();
        if self.pods[primary].role == Role::Primary && fresh >= self.group.confirming() as usize {
            self.pods[primary].lease_until = now + lease / 2;
        }
    }

    fn report(&self, pod: usize) -> Report {
        let own = &self.pods[pod];
        let fenced = own.role == Role::Primary && own.known > own.promoted;
        let in_sync = |(n, (upto, _)): (usize, &(usize, u64))| {
            (n != pod && *upto > 0).then(|| Follower {
                name: format!("a-{n}"),
                in_sync: *upto + 2 >= own.log.len(),
                ..Follower::default()
            })
        };
        let link = own.follows.map(|(primary, _)| Link {
            address: format!("a-{primary}:6379"),
            up: self.reach(pod, primary) && self.pods[primary].promoted >= own.known,
            copy_percent: 100,
            primary_position: 0,
            silent_milliseconds: self.now - own.silent_since,
        });
        Report {
            role: if fenced { Role::Fenced } else { own.role }.into(),
            epoch: match own.role {
                Role::Follower => own.follows.map_or(0, |(_, epoch)| epoch),
                _ => own.promoted,
            },
            known_epoch: own.known,
            durable_position: own.log.len() as u64,
            durable_epoch: if own.promoted == 0 && !own.has_followed {
                0
            } else {
                own.log.last().map_or(0, |(epoch, _)| *epoch)
            },
            completed_epoch: own.completed,
            whole: Some(own.whole),
            writable: self.leased(pod),
            followers: own.confirmed.iter().enumerate().filter_map(in_sync).collect(),
            link: link.filter(|_| own.role == Role::Follower),
            ..Report::default()
        }
    }

    /// A process ends and begins again with what is on its disk.
    fn restart(&mut self, pod: usize) {
        let old = self.pods[pod].clone();
        let confirmed = vec![(0, 0); self.pods.len()];
        let (log, promoted, known, completed) = (old.log, old.promoted, old.known, old.completed);
        let (whole, has_followed, role) = (old.whole, old.has_followed, Role::Standby);
        let kept = Pod { log, promoted, known, completed, has_followed, whole, ..Pod::default() };
        self.pods[pod] = Pod { role, confirmed, ..kept };
        if self.dice.one_in(2) && self.can_lose(pod) {
            self.wipes += 1;
            let confirmed = vec![(0, 0); self.pods.len()];
            self.pods[pod] = Pod { role, confirmed, ..Pod::default() };
            self.pods.iter_mut().for_each(|other| other.confirmed[pod] = (0, 0));
        }
    }

    /// Whether the volume of a pod may be lost: everybody else's is there and full, and what was
    /// promised was promised by more than this one.
    fn can_lose(&self, pod: usize) -> bool {
        let others = || self.pods.iter().enumerate().filter(|(other, _)| *other != pod);
        let is_elsewhere = |write| others().any(|(_, other)| other.log.contains(write));
        let promised: &[(u64, u64)] =
            if self.group.policy == Policy::NoLoss { &self.acked } else { &[] };
        let leads = self.grant.as_ref().is_none_or(|grant| grant.holder == format!("a-{pod}"));
        others().all(|(_, other)| other.whole)
            && self.before.iter().chain(promised).all(is_elsewhere)
            && !(leads && self.group.synchronous == 0)
    }

    /// SIGTERM: the primary tells its followers that this was all, when they have it all.
    fn goodbye(&mut self, pod: usize) {
        if !self.leased(pod) {
            return;
        }
        let epoch = self.pods[pod].promoted;
        self.pods[pod].completed = epoch;
        for follower in 0..self.pods.len() {
            for _ in 0..3 {
                self.replicate(pod, follower);
            }
            let hears = self.reach(pod, follower);
            let own = &self.pods[follower];
            if hears
                && own.role == Role::Follower
                && own.follows == Some((pod, epoch))
                && own.known == epoch
                && own.log == self.pods[pod].log
            {
                self.pods[follower].completed = epoch;
            }
        }
    }

    fn faults(&mut self) {
        let pod = self.dice.below(self.pods.len() as u64) as usize;
        match self.dice.below(60) {
            0 => self.pods[pod].up = false,
            1 => self.pods[pod].paused = true,
            2 => self.cut[pod] = true,
            3 => {
                self.goodbye(pod);
                self.pods[pod].up = false;
            }
            4..=7 if !self.pods[pod].up => {
                self.restart(pod);
                self.pods[pod].up = true;
            }
            8..=11 => self.pods[pod].paused = false,
            12..=15 => self.cut[pod] = false,
            _ => {}
        }
    }

    fn heal(&mut self) {
        for pod in 0..self.pods.len() {
            if !self.pods[pod].up {
                self.restart(pod);
                self.pods[pod].up = true;
            }
            (self.pods[pod].paused, self.cut[pod]) = (false, false);
        }
    }

    fn tick(&mut self) {
        self.now += STEP_MS;
        for primary in 0..self.pods.len() {
            for follower in 0..self.pods.len() {
                if !self.dice.one_in(4) {
                    self.replicate(primary, follower);
                }
            }
            self.write(primary);
        }
        if self.operator_until.is_some_and(|until| self.now >= until) {
            self.next_operator(self.operator_until);
        }
        if !self.dice.one_in(3) {
            self.round();
        }
    }
}

/// Runs one seed; gives the numbers of failovers, acknowledged writes and lost volumes.
fn run(followers: u32, synchronous: u32, policy: Policy, seed: u64) -> (u64, usize, u64) {
    let mut world = World::new(followers, synchronous, policy, seed);
    for _ in 0..600 {
        world.faults();
        world.tick();
    }
    world.heal();
    let serves = |world: &World| (0..world.pods.len()).find(|pod| world.leased(*pod));
    for _ in 0..600 {
        world.tick();
    }
    // It may be in the middle of a hand-over.
    for _ in 0..600 {
        if serves(&world).is_some() {
            break;
        }
        world.tick();
    }
    let primary = serves(&world).unwrap_or_else(|| {
        let reports: Vec<_> = (0..world.pods.len()).map(|pod| world.report(pod)).collect();
        let (grant, change) = (&world.grant, &world.transition);
        panic!("seed {seed}: nobody serves in the end: {grant:?} {change:?} {reports:#?}")
    });
    let log = &world.pods[primary].log;
    let lost = world.before.iter().find(|record| !log.contains(record));
    assert!(lost.is_none(), "seed {seed}: {lost:?} was there before the group and is lost");
    if policy == Policy::NoLoss {
        let lost = world.acked.iter().find(|write| !log.contains(write));
        assert!(lost.is_none(), "seed {seed}: {lost:?} was acknowledged and is lost");
    }
    (world.failovers, world.acked.len(), world.wipes)
}

#[test]
fn no_two_acknowledge_and_nothing_acknowledged_is_lost() {
    let seeds: u64 = std::env::var("ORRERY_GROUP_SEEDS").map_or(40, |seeds| seeds.parse().unwrap());
    let groups = [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 2)];
    for policy in [Policy::NoLoss, Policy::AllowLoss] {
        for (followers, synchronous) in groups {
            let (mut failovers, mut writes, mut wipes) = (0, 0, 0);
            for seed in 0..seeds {
                let (more, acked, wiped) = run(followers, synchronous, policy, seed);
                failovers += more;
                writes += acked;
                wipes += wiped;
            }
            assert!(wipes > 0, "{followers}/{synchronous} {policy:?} never lost a volume");
            assert!(failovers > 0, "{followers}/{synchronous} {policy:?} never failed over");
            assert!(writes > 1000, "{followers}/{synchronous} {policy:?}: {writes} writes");
        }
    }
}
