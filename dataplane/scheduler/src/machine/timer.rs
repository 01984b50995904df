//! What is to be looked at later, and how it lies in a wheel.

use super::job::Job;

/// Numbers of the timers of a job begin again behind this one: they are compared with the newest alone.
const NUMBER_MAX: u32 = (1 << 31) - 1;
/// Bits of a number of a run that a packed timer has.
const RUN_BITS: u32 = 62;

/// Something to look at later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// The next second of the job at a slot, unless its timer has another number by then.
    Job { slot: u32, timer: u32 },
    /// The next attempt of a run.
    Retry { run: u64 },
    /// The moment by which a run should be over.
    Finish { run: u64 },
}

impl Timer {
    /// A new timer of a job, which makes its older ones void.
    pub(super) fn of(job: &mut Job) -> Self {
        job.timer = job.timer.wrapping_add(1) & NUMBER_MAX;
        Self::Job { slot: job.slot(), timer: job.timer }
    }
}

/// A timer in eight bytes: a wheel may hold one for each of a million jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed(u64);

impl From<Timer> for Packed {
    fn from(timer: Timer) -> Self {
        // Numbers of runs count from 1: the bits last for ever.
        Self(match timer {
            Timer::Job { slot, timer } => u64::from(timer & NUMBER_MAX) << 32 | u64::from(slot),
            Timer::Retry { run } => 0b10 << RUN_BITS | run,
            Timer::Finish { run } => 0b11 << RUN_BITS | run,
        })
    }
}

impl From<Packed> for Timer {
    fn from(Packed(bits): Packed) -> Self {
        let run = bits & ((1 << RUN_BITS) - 1);
        match bits >> RUN_BITS {
            0b10 => Self::Retry { run },
            0b11 => Self::Finish { run },
            _ => Self::Job { slot: bits as u32, timer: (bits >> 32) as u32 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_timer_is_the_one_it_was() {
        for number in [0, 1, 7, NUMBER_MAX] {
            for slot in [0, 5, u32::MAX] {
                let timer = Timer::Job { slot, timer: number };
                assert_eq!(Timer::from(Packed::from(timer)), timer);
            }
        }
        for run in [1, 1 << 40, (1 << RUN_BITS) - 1] {
            for timer in [Timer::Retry { run }, Timer::Finish { run }] {
                assert_eq!(Timer::from(Packed::from(timer)), timer);
            }
        }
        assert_eq!(size_of::<Packed>(), 8);
    }
}
