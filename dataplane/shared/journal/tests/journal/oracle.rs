//! What a simulated journal must hold, kept beside it.
//!
//! The state of the made-up machine is one number, chained over all records, so that a lost, doubled
//! or changed record anywhere shows at the end.

use orrery_journal::Epoch;

/// The state after one more record.
pub(crate) fn chained(state: u64, stream: u32, kind: u8, time_us: i64, body: &[u8]) -> u64 {
    // FNV-1a: any hash that depends on order will do.
    let head = [u64::from(stream), u64::from(kind), time_us as u64, body.len() as u64];
    let bytes = head.iter().flat_map(|word| word.to_le_bytes());
    bytes.chain(body.iter().copied()).fold(state ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[derive(Debug)]
pub(crate) struct Oracle {
    seed: u64,
    /// State after each position, as appended in the life that appended it.
    states: Vec<u64>,
    /// Highest position ever acknowledged.
    durable: u64,
    /// What the disk itself proves to have been durable, even if what lies above is damaged.
    proven: u64,
    /// Where the groups ended that were acknowledged.
    groups: Vec<u64>,
    epoch: u64,
    epoch_tried: u64,
}

impl Oracle {
    pub(crate) fn new(seed: u64) -> Self {
        let groups = Vec::new();
        Self { seed, states: vec![0], durable: 0, proven: 0, groups, epoch: 0, epoch_tried: 0 }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn last(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    pub(crate) fn state(&self, at: u64) -> u64 {
        self.states[at as usize]
    }

    pub(crate) fn appended(
        &mut self,
        position: u64,
        stream: u32,
        kind: u8,
        time_us: i64,
        body: &[u8],
    ) {
        assert_eq!(position, self.last() + 1);
        let state = chained(self.state(position - 1), stream, kind, time_us, body);
        self.states.push(state);
    }

    /// The journal reports everything up to `position` durable.
    pub(crate) fn acknowledged(&mut self, position: u64) {
        assert!(position >= self.durable, "seed {}: durable went back", self.seed);
        assert!(position <= self.last());
        if position > self.durable {
            // The group that brought it here says what was durable before.
            self.proven = self.proven.max(self.durable);
            self.durable = position;
            self.groups.push(position);
        }
    }

    pub(crate) fn proven(&mut self, position: u64) {
        self.proven = self.proven.max(position);
    }

    pub(crate) fn epoch_tried(&mut self, epoch: u64) {
        self.epoch_tried = self.epoch_tried.max(epoch);
    }

    pub(crate) fn epoch_raised(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
    }

    /// The journal was opened and ends at `last` in `state`. What lay above is gone for good.
    pub(crate) fn recovered(&mut self, last: u64, state: u64, epoch: Epoch) {
        let seed = self.seed;
        assert!(
            last >= self.durable,
            "seed {seed}: {} was acknowledged, {last} left",
            self.durable
        );
        assert!(last <= self.last(), "seed {seed}: more came back than was appended");
        assert_eq!(state, self.state(last), "seed {seed}: the history differs at {last}");
        assert!((self.epoch..=self.epoch_tried).contains(&epoch.0), "seed {seed}: {epoch:?}");
        self.epoch = epoch.0;
        self.states.truncate(last as usize + 1);
        self.acknowledged(last);
    }

    /// A journal with a flipped bit was opened, in a folder that proves records up to `proven`.
    pub(crate) fn check_damaged(&self, last: u64, state: u64, proven: u64) {
        let (seed, proven) = (self.seed, proven.max(self.proven));
        assert!(last >= proven, "seed {seed}: {proven} was durable, {last} left");
        assert!(last <= self.last(), "seed {seed}: more came back than was appended");
        assert_eq!(state, self.state(last), "seed {seed}: the history differs at {last}");
    }

    /// A journal was opened whose disk had led writes astray, in a folder that proves records up to
    /// `proven`. It may be shorter than what was acknowledged only if nothing is left there that says
    /// so. Gives how many acknowledged groups are missing: the blind spot.
    pub(crate) fn recovered_astray(
        &mut self,
        (last, state): (u64, u64),
        epoch: Epoch,
        proven: u64,
    ) -> usize {
        let seed = self.seed;
        assert!(last >= proven, "seed {seed}: {proven} can be seen to be durable, {last} left");
        let missing = self.groups.iter().filter(|end| **end > last).count();
        self.durable = self.durable.min(last);
        self.recovered(last, state, epoch);
        missing
    }
}
