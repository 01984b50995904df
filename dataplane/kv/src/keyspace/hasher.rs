//! The seeded hash of keys, fields and members.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// Hashes byte strings under a seed, so that clients cannot choose colliding keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyHasher {
    seed: u64,
}

impl KeyHasher {
    /// A hasher with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The hash of `key`.
    #[inline]
    pub fn hash(self, key: &[u8]) -> u64 {
        let mut hasher = FixedState::with_seed(self.seed).build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

/// A small generator for choices the user asked to be random (xorshift64*).
///
/// It is seeded by the server and never influences a replay: effects carry what was chosen.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        let seed = seed.wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31);
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15 | 1 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }
}
