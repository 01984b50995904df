//! What is to go wrong, and when.

use std::env;

use orrery_powerloss::Random;

/// Longest spell of a full disk, in writes.
const SPELL_MAX: u64 = 3;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// It fails; a write may have written a part, and a sync drops pages.
    Fails(i32),
    /// It writes only a part and says so.
    Short,
    /// The process ends within it, before or after its effect.
    Cut {
        done: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) random: Random,
    /// Watched calls until the process ends.
    cut: Option<u64>,
    eio: u64,
    full: u64,
    short: u64,
    spell: u64,
}

fn number(name: &str) -> u64 {
    env::var(name).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl Plan {
    pub(crate) fn from_env() -> Self {
        Self {
            random: Random::new(number("ORRERY_POWERLOSS_SEED")),
            cut: Some(number("ORRERY_POWERLOSS_CUT")).filter(|calls| *calls > 0),
            eio: number("ORRERY_POWERLOSS_EIO"),
            full: number("ORRERY_POWERLOSS_FULL"),
            short: number("ORRERY_POWERLOSS_SHORT"),
            spell: 0,
        }
    }

    /// Of a change of names.
    pub(crate) fn step(&mut self) -> Fate {
        self.cut().unwrap_or(Fate::Done)
    }

    /// Of a sync.
    pub(crate) fn sync(&mut self) -> Fate {
        let fails = self.random.chance(self.eio);
        // Delayed allocation finds a full disk only when it writes back.
        let errno = if self.random.chance(250) { libc::ENOSPC } else { libc::EIO };
        let fate = if fails { Fate::Fails(errno) } else { Fate::Done };
        self.cut().unwrap_or(fate)
    }

    /// Of a write, or of the creation of a file.
    pub(crate) fn write(&mut self) -> Fate {
        if self.spell == 0 && self.random.chance(self.full) {
            self.spell = 1 + self.random.below(SPELL_MAX);
        }
        let is_full = self.spell > 0;
        self.spell = self.spell.saturating_sub(1);
        let fate = match is_full {
            true => Fate::Fails(libc::ENOSPC),
            false if self.random.chance(self.short) => Fate::Short,
            false => Fate::Done,
        };
        self.cut().unwrap_or(fate)
    }

    fn cut(&mut self) -> Option<Fate> {
        let left = self.cut.as_mut()?;
        *left -= 1;
        (*left == 0).then(|| Fate::Cut { done: self.random.chance(500) })
    }
}
