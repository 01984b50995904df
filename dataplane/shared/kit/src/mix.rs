//! Even bits from uneven numbers, for tests, jitter and checksums of sets. Not for secrets.

/// What SplitMix64 adds for each number.
pub const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number that SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014) gives next when its state is `seed`: neighbouring seeds give numbers that have
/// nothing in common, and no two seeds give the same.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_the_numbers_of_the_paper_s_generator() {
        // The first two numbers of the reference implementation for the seed 1234567.
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(mix(1_234_567_u64.wrapping_add(GAMMA)), 3_203_168_211_198_807_973);
    }
}
