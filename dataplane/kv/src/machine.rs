//! The single-writer machine: all databases of one shard and the commands that change them.
//!
//! Pure: time comes with [`Machine::begin`], randomness from a seed, and nothing here does I/O.
//! Every change of a durable key is also written as an effect; applying the effects of a machine to
//! another one gives the same keys. A key's bytes are changed in few places (`write.rs`), which
//! keep accounts, wake watchers and preserve values for a running snapshot.

mod access;
mod database;
mod digest;
mod expiry;
mod flush;
mod garbage;
mod key;
mod load;
mod memory;
mod pending;
mod replay;
mod snapshot;
mod spaces;
mod waits;
mod watch;
mod write;

pub use database::Database;
pub use key::Key;
pub use memory::MemoryPolicy;
pub use snapshot::SnapshotSink;
pub use waits::Wanted;
pub use write::Collection;

use orrery_resp::Reply;
use orrery_wheel::Wheel;

use crate::commands::fail::{Done, wrong_arity};
use crate::commands::{CommandSpec, Flags};
use crate::keyspace::hasher::{KeyHasher, Random};
use crate::keyspace::thresholds::{Building, Thresholds};
use crate::namespaces::{Class, Namespaces};

/// What a machine is made from.
#[derive(Debug, Clone)]
pub struct MachineOptions {
    /// Number of databases, at least 1.
    pub databases: u16,
    /// Class of keys that match no namespace.
    pub default_class: Class,
    /// Seed of the index's hash. Secret, so that clients cannot choose colliding keys.
    pub hash_seed: u64,
    /// Seed of what commands choose at random.
    pub random_seed: u64,
}

impl Default for MachineOptions {
    fn default() -> Self {
        Self { databases: 16, default_class: Class::Store, hash_seed: 1, random_seed: 1 }
    }
}

/// The machine's side of one connection.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// Number of the connection, unique while the server runs.
    pub id: u64,
    /// Selected database.
    pub db: u16,
    /// A command that finds nothing may make the session wait. The caller then looks at
    /// [`Machine::take_wait`] after each command.
    pub may_wait: bool,
}

/// What the server must know after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The reply must wait until this journal position is durable; 0 = not at all.
    pub gate: u64,
    /// The reply is an error.
    pub failed: bool,
}

/// Counters since the machine was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads that found their key.
    pub keyspace_hits: u64,
    /// Reads that did not.
    pub keyspace_misses: u64,
    /// Keys deleted because their deadline had passed.
    pub expired_keys: u64,
    /// Keys evicted.
    pub evicted_keys: u64,
    /// Changes of keys, including those that are not journalled.
    pub modifications: u64,
}

/// All databases of one shard.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about how commands run")]
pub struct Machine {
    databases: Vec<Database>,
    building: Building,
    random: Random,
    now_ms: i64,
    /// Coarse clock written into entries on access: seconds modulo 65,536.
    clock: u16,
    position: u64,
    effects: Vec<u8>,
    replaying: bool,
    expiry_held: bool,
    deadlines_followed: bool,
    /// Deadline given to a key made by the running command, not yet written as an effect.
    new_deadline_ms: Option<i64>,
    /// Gate of the running command.
    gate: u64,
    pending: pending::Pending,
    watches: watch::Watches,
    waits: waits::Waits,
    namespaces: Namespaces,
    memory: memory::Memory,
    wheel: Wheel<expiry::Timer>,
    parity: bool,
    snapshot: Option<snapshot::Snapshot>,
    garbage: garbage::Garbage,
    stats: Stats,
}

impl Machine {
    /// A machine without keys.
    pub fn new(options: &MachineOptions) -> Self {
        let hasher = KeyHasher::new(options.hash_seed);
        let count = options.databases.max(1);
        Self {
            databases: (0..count).map(|id| Database::new(id, hasher)).collect(),
            building: Building { thresholds: Thresholds::default(), hasher },
            random: Random::new(options.random_seed),
            now_ms: 0,
            clock: 0,
            position: 0,
            effects: Vec::new(),
            replaying: false,
            expiry_held: false,
            deadlines_followed: false,
            new_deadline_ms: None,
            gate: 0,
            pending: pending::Pending::default(),
            watches: watch::Watches::default(),
            waits: waits::Waits::default(),
            namespaces: Namespaces::new(options.default_class),
            memory: memory::Memory::default(),
            wheel: Wheel::new(0),
            parity: false,
            snapshot: None,
            garbage: garbage::Garbage::default(),
            stats: Stats::default(),
        }
    }

    /// Starts a batch: what time it is (milliseconds since the epoch), and which journal position
    /// the effects of this batch will have.
    pub fn begin(&mut self, now_ms: i64, position: u64) {
        self.now_ms = now_ms;
        self.clock = now_ms.div_euclid(1000) as u16;
        self.position = position;
    }

    /// Runs one command. `args[0]` is its name; the reply is appended to `out`.
    ///
    /// # Panics
    /// If the command is one the server layer handles (`spec.handler` is none).
    pub fn execute(
        &mut self,
        session: &mut Session,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        out: &mut Reply,
    ) -> Outcome {
        let mark = out.len();
        self.gate = 0;
        let result = self.run(session, spec, args, out);
        if let Err(fail) = &result {
            out.truncate(mark);
            out.error(fail.0.as_bytes());
        }
        Outcome { gate: self.gate, failed: result.is_err() }
    }

    fn run(
        &mut self,
        session: &mut Session,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        out: &mut Reply,
    ) -> Done {
        if !spec.arity_matches(args.len()) {
            return Err(wrong_arity(spec.full_name));
        }
        let Some(handler) = spec.handler else {
            panic!("command {} belongs to the server layer", spec.name);
        };
        if spec.flags.contains(Flags::DENYOOM) && self.memory.is_limited() {
            self.make_room()?;
        }
        if !self.namespaces.is_trivial() {
            self.admit(session, spec, args)?;
        }
        handler(self, session, args, out)
    }

    /// Effects of the batch, for the server to append as one record and clear.
    pub fn effects(&mut self) -> &mut Vec<u8> {
        &mut self.effects
    }

    /// Everything up to and including this journal position is durable.
    pub fn durable(&mut self, position: u64) {
        self.pending.durable(position);
    }

    /// Reads wait until everything up to `position` is durable, whatever was said before.
    pub fn hold_back(&mut self, position: u64) {
        self.pending.hold_back(position);
    }

    /// The time of the batch, in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Sets all counters to zero, except that of modifications.
    pub fn reset_stats(&mut self) {
        self.stats = Stats { modifications: self.stats.modifications, ..Stats::default() };
    }

    /// Thresholds of encodings, to be read or changed.
    pub fn thresholds(&mut self) -> &mut Thresholds {
        &mut self.building.thresholds
    }

    /// The databases, by number.
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// Asks the processor to load the index group of a key that will be used soon.
    #[inline]
    pub fn prefetch(&self, db: u16, key: &[u8]) -> u64 {
        let hash = self.building.hasher.hash(key);
        if let Some(database) = self.databases.get(usize::from(db)) {
            database.table.prefetch(hash);
        }
        hash
    }

    /// Second stage of [`Self::prefetch`]: the entry itself, by the hash the first stage returned.
    #[inline]
    pub fn prefetch_entry(&self, db: u16, hash: u64) {
        if let Some(database) = self.databases.get(usize::from(db)) {
            database.table.prefetch_entry(hash);
        }
    }

    /// Work to be done when the server is idle or once per turn: moves up to `budget` groups of
    /// growing or shrinking indexes and frees up to `budget` pieces of dropped values.
    pub fn housekeep(&mut self, budget: usize) {
        for database in &mut self.databases {
            database.table.move_groups(budget);
        }
        self.drop_garbage(budget);
    }
}

#[cfg(test)]
mod tests;
