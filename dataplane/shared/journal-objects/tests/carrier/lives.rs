//! Goal: whatever a store does to single requests, nothing that was acknowledged is lost or there
//! twice, all readers read the same, and what was seen is never taken back. Method: owners that sleep,
//! die, are replaced and wake up again, over a store that fails by chance; every run is a function of
//! its seed, but for the order in which a client's own requests reach the store.
//!
//! `ORRERY_SIM_RUNS=10000` for more runs, `ORRERY_SIM_SEED=n` for one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use object_store::ObjectStore;
use orrery_journal::carrier::{Carrier, CarrierError, Group};
use orrery_journal::sim::Random;
use orrery_journal::{Epoch, Position};
use orrery_journal_objects::ObjectCarrier;

use crate::faulty::{Chances, Faulty};
use crate::machine::{History, Machine, again, client, group, recover};

const RUNS: u64 = 120;
const STEPS: u64 = 250;
const OWNERS: u64 = 3;

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("ORRERY_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ORRERY_SIM_RUNS").unwrap_or(RUNS),
    }
}

/// Says which seed it was when a run fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the run of ORRERY_SIM_SEED={} failed", self.0);
        }
    }
}

/// An owner between its calls.
struct Life {
    machine: Machine,
    /// Asked for, and not answered.
    open: Option<(Group, String)>,
}

/// A reader that follows.
struct Follower {
    carrier: ObjectCarrier,
    history: History,
    seen: (Epoch, Position),
}

struct World {
    random: Random,
    objects: Arc<dyn ObjectStore>,
    epoch: u64,
    bodies: u64,
    lives: Vec<Option<Life>>,
    followers: Vec<Follower>,
    acknowledged: BTreeMap<u64, String>,
}

impl World {
    fn new(seed: u64, objects: &Arc<dyn ObjectStore>) -> Self {
        let follower = || Follower {
            carrier: client(objects),
            history: History::default(),
            seen: (Epoch(0), Position(0)),
        };
        Self {
            random: Random::new(!seed),
            objects: Arc::clone(objects),
            epoch: 0,
            bodies: 0,
            lives: (0..OWNERS).map(|_| None).collect(),
            followers: vec![follower(), follower()],
            acknowledged: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        if self.random.chance(1, 6) {
            return self.look();
        }
        let index = self.random.below(OWNERS) as usize;
        // It dies now and then, whatever it was about.
        let life = self.lives[index].take().filter(|_| !self.random.chance(1, 40));
        self.lives[index] = match life {
            Some(life) => self.go_on(life),
            // Another one only takes over now and then, or nobody would write for long.
            None if self.random.chance(1, 8) => self.begin(),
            None => None,
        };
    }

    fn begin(&mut self) -> Option<Life> {
        self.epoch += 1;
        match Machine::begin(client(&self.objects), self.epoch) {
            Ok(machine) => Some(Life { machine, open: None }),
            Err(CarrierError::Fenced { held }) => {
                assert!(held.0 > self.epoch);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// One call of an owner. None when it has ended.
    fn go_on(&mut self, life: Life) -> Option<Life> {
        let last = life.machine.history.last();
        let result = match self.random.below(12) {
            0 if last > 0 => {
                let at = 1 + self.random.below(last);
                let (saved, content) = life.machine.history.snapshot(at);
                life.machine.carrier.save(life.machine.owner, saved, &mut content.as_slice())
            }
            1 => {
                let saved = life.machine.carrier.look().ok().and_then(|found| found.snapshot);
                let upto = saved.map_or(0, |saved| saved.at.0);
                let upto = upto - self.random.below(4).min(upto);
                life.machine.carrier.trim(life.machine.owner, Position(upto))
            }
            _ => return self.append(life),
        };
        match result {
            Err(CarrierError::Fenced { held }) => {
                assert!(held > life.machine.owner.epoch);
                None
            }
            Err(error) if !error.is_passing() => panic!("{error}"),
            _ => Some(life),
        }
    }

    fn append(&mut self, mut life: Life) -> Option<Life> {
        let (first, epoch) = (life.machine.history.last() + 1, life.machine.owner.epoch.0);
        // Against the rules it sometimes asks for another thing, where the answer is open.
        let is_other = self.random.chance(1, 10);
        let (group, body) = match life.open.take() {
            Some(open) if !is_other => open,
            _ => {
                self.bodies += 1;
                let body = format!("{epoch}/{}", self.bodies);
                (group(epoch, first, &[&body]), body)
            }
        };
        match life.machine.carrier.append(life.machine.owner, &group) {
            Ok(()) => {
                let before = self.acknowledged.insert(first, body.clone());
                assert_eq!(before, None, "position {first} was acknowledged twice");
                life.machine.history.0.push((epoch, body));
                Some(life)
            }
            Err(CarrierError::Fenced { held }) => {
                assert!(held.0 > epoch);
                None
            }
            // What it asked for before was taken.
            Err(CarrierError::OutOfPlace { last, .. }) => {
                assert_eq!(last.0, first, "only what was open can be in the way");
                None
            }
            Err(error) if error.is_passing() => {
                life.open = Some((group, body));
                Some(life)
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn look(&mut self) {
        let index = self.random.below(self.followers.len() as u64) as usize;
        let bytes_max = 1 << self.random.below(20);
        let follower = &mut self.followers[index];
        if self.random.chance(1, 3) {
            match follower.carrier.look() {
                Ok(found) => {
                    let seen = (found.epoch, found.last);
                    assert!(seen.0 >= follower.seen.0 && seen.1 >= follower.seen.1, "taken back");
                    follower.seen = seen;
                }
                Err(error) => assert!(error.is_passing(), "{error}"),
            }
        }
        if let Err(error) = follower.history.follow(&follower.carrier, bytes_max) {
            assert!(error.is_passing(), "{error}");
        }
    }

    /// All that holds in the end.
    fn check(mut self) {
        let history = recover(&client(&self.objects)).unwrap();
        check_history(&history, &self.acknowledged);
        assert_eq!(
            recover(&client(&self.objects)).unwrap(),
            history,
            "every reader reads the same"
        );
        for follower in &mut self.followers {
            assert!(follower.history.is_prefix_of(&history), "a follower read something else");
            again(|| follower.history.follow(&follower.carrier, 1 << 20)).unwrap();
            assert_eq!(follower.history, history);
        }
        let next = Machine::begin(client(&self.objects), self.epoch + 1).unwrap();
        assert_eq!(next.history, history, "the next owner reads the same");
        // Nobody of before writes any more.
        for life in self.lives.into_iter().flatten() {
            let Machine { carrier, owner, history } = life.machine;
            let group = group(owner.epoch.0, history.last() + 1, &["stale"]);
            let refused = again(|| carrier.append(owner, &group));
            assert!(matches!(refused, Err(CarrierError::Fenced { .. })), "{refused:?}");
        }
    }
}

fn check_history(history: &History, acknowledged: &BTreeMap<u64, String>) {
    for (position, body) in acknowledged {
        assert_eq!(history.body(*position), Some(body.as_str()), "at {position}");
    }
    let mut bodies: Vec<&String> = history.0.iter().map(|(_, body)| body).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len() as u64, history.last(), "nothing is there twice");
    assert!(history.0.is_sorted_by_key(|(epoch, _)| *epoch), "epochs do not fall");
}

fn chances(seed: u64) -> Chances {
    let mut random = Random::new(seed.rotate_left(32));
    let mut chance = || if random.chance(1, 4) { 0 } else { random.below(60) };
    Chances { refused: chance(), unanswered: chance(), late: chance(), lag: chance() }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_the_store_does() {
    let (mut late, mut records) = (0, 0);
    for seed in seeds() {
        let named = Seed(seed);
        let faulty = Arc::new(Faulty::new(seed, chances(seed)));
        let objects: Arc<dyn ObjectStore> = faulty.clone();
        let mut world = World::new(seed, &objects);
        for _ in 0..STEPS {
            world.step();
        }
        late += futures::executor::block_on(faulty.deliver_all());
        faulty.set_chances(Chances::default());
        records += world.acknowledged.len();
        world.check();
        drop(named);
    }
    println!("{records} records acknowledged, {late} puts came after everything");
}

/// The same with owners that really run beside each other.
#[test]
fn owners_race_over_a_store_that_fails() {
    for seed in seeds().step_by(10) {
        let named = Seed(seed);
        let faulty = Arc::new(Faulty::new(seed, chances(seed)));
        let objects: Arc<dyn ObjectStore> = faulty.clone();
        let epoch = AtomicU64::new(0);
        let acknowledged = Mutex::new(BTreeMap::new());
        thread::scope(|scope| {
            for number in 0..OWNERS {
                let (objects, epoch, acknowledged) = (&objects, &epoch, &acknowledged);
                let mut random = Random::new(seed * OWNERS + number);
                scope.spawn(move || while race(objects, epoch, acknowledged, &mut random) {});
            }
        });
        futures::executor::block_on(faulty.deliver_all());
        faulty.set_chances(Chances::default());
        let history = recover(&client(&objects)).unwrap();
        check_history(&history, &acknowledged.into_inner().unwrap());
        assert_eq!(recover(&client(&objects)).unwrap(), history);
        drop(named);
    }
}

/// The life of one owner; `false` after the last one.
fn race(
    objects: &Arc<dyn ObjectStore>,
    epoch: &AtomicU64,
    acknowledged: &Mutex<BTreeMap<u64, String>>,
    random: &mut Random,
) -> bool {
    const EPOCHS: u64 = 15;
    let mine = epoch.fetch_add(1, Ordering::SeqCst) + 1;
    if mine > EPOCHS {
        return false;
    }
    let fenced = |error| match error {
        CarrierError::Fenced { held } => assert!(held.0 > mine),
        other => panic!("{other}"),
    };
    let mut machine = match Machine::begin(client(objects), mine) {
        Ok(machine) => machine,
        Err(error) => {
            fenced(error);
            return true;
        }
    };
    for number in 0..40 {
        let (position, body) = (machine.history.last() + 1, format!("{mine}/{number}"));
        let last = machine.history.last();
        let result = match random.below(10) {
            0 if last > 0 => machine.save(last),
            1 => machine.trim(last.saturating_sub(random.below(3))),
            _ => machine.append(&[&body]).inspect(|()| {
                let before = acknowledged.lock().unwrap().insert(position, body.clone());
                assert_eq!(before, None, "position {position} was acknowledged twice");
            }),
        };
        if let Err(error) = result {
            fenced(error);
            return true;
        }
    }
    true
}
