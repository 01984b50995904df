//! What `H` stands for: a value that depends on the seed and the field, and never changes.

/// How `H` is derived from the seed.
///
/// Both are fixed for ever: a schedule keeps its times over every version of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hashing {
    /// FNV-1a of 64 bits over the seed, a zero byte and the name of the field (`second`, `minute`,
    /// `hour`, `day of month`, `month`, `day of week`, `year`), mixed by the finalizer of
    /// SplitMix64; the value is that word times the number of choices, divided by 2^64. Fields are
    /// independent of each other, so that `H H * * *` uses every minute of the day alike.
    #[default]
    Spread,
    /// The CRC-32 of an identifier, shifted right by the place of the field (minute 0, hour 1, day
    /// of month 2, month 3, day of week 4, second 5, year 6), modulo the number of choices: what
    /// croniter does, for those who come from there. Its fields depend on each other. See
    /// [`Hashing::croniter`].
    Croniter { crc32: u32 },
}

impl Hashing {
    /// As croniter does for this `hash_id`; the seed is not used.
    pub fn croniter(hash_id: &[u8]) -> Self {
        Self::Croniter { crc32: crc32(hash_id) }
    }

    /// A number below `choices`. `place` is the field's in the order of croniter.
    pub(crate) fn pick(self, seed: &str, field: &str, place: u32, choices: u32) -> u32 {
        match self {
            Self::Spread => {
                let bytes = seed.bytes().chain([0]).chain(field.bytes());
                let word = mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
                }));
                ((u128::from(word) * u128::from(choices)) >> 64) as u32
            }
            Self::Croniter { crc32 } => (crc32 >> place) % choices,
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// CRC-32 of IEEE 802.3, bit by bit: seeds are short and rules are compiled once.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let picks = |seed| {
            let minute = Hashing::Spread.pick(seed, "minute", 0, 60);
            (minute, Hashing::Spread.pick(seed, "hour", 1, 24))
        };
        // Whoever must change these figures moves every hashed schedule of every user.
        assert_eq!(picks("billing"), (39, 23));
        assert_eq!(picks("reports"), (48, 16));
        assert_eq!(picks(""), (41, 6));
    }

    #[test]
    fn minutes_of_the_day_are_used_alike() {
        let mut used = vec![0u32; 1440];
        for number in 0..144_000 {
            let seed = format!("job-{number}");
            let hour = Hashing::Spread.pick(&seed, "hour", 1, 24);
            used[(hour * 60 + Hashing::Spread.pick(&seed, "minute", 0, 60)) as usize] += 1;
        }
        assert!(used.iter().all(|count| (50..160).contains(count)), "100 each, give or take");
    }
}
