//! What a comparison with a peer gave: agreements, differences with a named reason, and the rest.

use std::collections::BTreeMap;

/// Differences that are printed.
const SHOWN_MAX: usize = 40;

/// The tally of one peer.
#[derive(Debug, Default)]
pub struct Compared {
    pub peer: String,
    pub agreed: u64,
    /// By the rule that explains them.
    pub explained: BTreeMap<&'static str, u64>,
    pub unexplained: Vec<String>,
    pub unexplained_count: u64,
}

impl Compared {
    pub fn new(peer: &str) -> Self {
        Self { peer: peer.to_owned(), ..Self::default() }
    }

    pub fn explain(&mut self, rule: &'static str) {
        *self.explained.entry(rule).or_default() += 1;
    }

    pub fn fail(&mut self, what: impl FnOnce() -> String) {
        self.unexplained_count += 1;
        if self.unexplained.len() < SHOWN_MAX {
            self.unexplained.push(what());
        }
    }

    pub fn total(&self) -> u64 {
        self.agreed + self.explained.values().sum::<u64>() + self.unexplained_count
    }

    /// Prints the tally; whether nothing is left unexplained.
    pub fn report(&self) -> bool {
        let (peer, total, agreed) = (&self.peer, self.total(), self.agreed);
        println!("{peer}: {total} compared, {agreed} agreed");
        for (rule, count) in &self.explained {
            println!("    {count} explained: {rule}");
        }
        for what in &self.unexplained {
            println!("    UNEXPLAINED {what}");
        }
        self.unexplained_count == 0
    }
}
