//! Classes of keys: which namespace a key belongs to, what that means, and what it may use.
//!
//! A key belongs to the namespace with the longest matching prefix, else to that of its database,
//! else to the default namespace, which always has number 0. Nothing here touches keys.

pub use orrery_api::kv::Class;

use crate::commands::fail::Fail;

/// Refused a class that is part of the API and not carried out yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("class {} is not supported by this version", .0.as_str())]
pub struct NotYet(Class);

impl NotYet {
    /// The class, if this version does all that it promises.
    pub const fn check(class: Class) -> Result<Class, Self> {
        match class {
            Class::Cache | Class::Session | Class::Store => Ok(class),
            Class::Config | Class::Flag => Err(Self(class)),
        }
    }
}

/// Which keys of a full cache namespace go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// None: writes are refused.
    None,
    /// Those not used again soon after they came (S3-FIFO).
    #[default]
    S3Fifo,
}

/// Which keys a namespace holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Keys that start so.
    Prefix(Vec<u8>),
    /// Keys of this database.
    Database(u16),
}

/// A namespace as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRules {
    /// Name, used in error texts.
    pub name: String,
    /// Which keys it holds.
    pub matches: Match,
    /// What they are for.
    pub class: Class,
    /// Deadline of keys that are written without one, from their creation.
    pub ttl_default_ms: Option<i64>,
    /// The longest deadline a key may be given.
    pub ttl_max_ms: Option<i64>,
    /// Bytes all entries may take together.
    pub memory_bytes_max: Option<u64>,
    /// Bytes one argument or one string value may have.
    pub value_bytes_max: Option<usize>,
    /// Commands per second.
    pub ops_per_second: Option<u64>,
    /// What happens when the memory is used up (class `Cache`).
    pub eviction: Eviction,
}

impl NamespaceRules {
    /// Rules without any limit.
    pub fn unlimited(name: &str, matches: Match, class: Class) -> Self {
        Self {
            name: name.to_owned(),
            matches,
            class,
            ttl_default_ms: None,
            ttl_max_ms: None,
            memory_bytes_max: None,
            value_bytes_max: None,
            ops_per_second: None,
            eviction: Eviction::default(),
        }
    }
}

/// A namespace with what it uses.
#[derive(Debug)]
pub struct Namespace {
    /// As declared.
    pub rules: NamespaceRules,
    /// Bytes of its entries.
    pub used_bytes: u64,
    /// Its keys.
    pub keys: u64,
    /// Commands it may still run, in thousandths.
    tokens_milli: u64,
    /// When `tokens_milli` was last topped up.
    refilled_ms: i64,
}

impl Namespace {
    fn new(rules: NamespaceRules) -> Self {
        let tokens_milli = rules.ops_per_second.unwrap_or(0).saturating_mul(1000);
        Self { rules, used_bytes: 0, keys: 0, tokens_milli, refilled_ms: 0 }
    }

    /// Takes one command from the bucket, which holds one second's worth.
    fn take_token(&mut self, now_ms: i64) -> Result<(), Fail> {
        let Some(rate) = self.rules.ops_per_second else { return Ok(()) };
        let passed_ms = now_ms.saturating_sub(self.refilled_ms).clamp(0, 1000) as u64;
        self.refilled_ms = now_ms;
        let full = rate.saturating_mul(1000);
        self.tokens_milli = full.min(self.tokens_milli.saturating_add(rate * passed_ms));
        if self.tokens_milli < 1000 {
            let name = &self.rules.name;
            return Err(Fail::owned(format!("QUOTA opsPerSecond ns={name} limit={rate}")));
        }
        self.tokens_milli -= 1000;
        Ok(())
    }
}

/// All namespaces of a server.
#[derive(Debug)]
pub struct Namespaces {
    /// Number 0 is the default namespace.
    spaces: Vec<Namespace>,
    /// For each first byte, the namespaces whose prefix starts so, longest first.
    by_first_byte: Vec<Vec<u16>>,
    /// The namespace of the empty prefix.
    catch_all: u16,
    /// The namespace of each database, 0 if it has none.
    by_database: Vec<u16>,
    /// Only the default namespace exists.
    trivial: bool,
}

impl Namespaces {
    /// Only the default namespace.
    pub fn new(default_class: Class) -> Self {
        Self::compile(default_class, Vec::new())
    }

    /// The default namespace and the declared ones. Later declarations of a match win.
    pub fn compile(default_class: Class, declared: Vec<NamespaceRules>) -> Self {
        let trivial = declared.is_empty();
        let default = NamespaceRules::unlimited("", Match::Prefix(Vec::new()), default_class);
        let mut spaces = vec![Namespace::new(default)];
        let mut by_first_byte = vec![Vec::new(); if trivial { 0 } else { 256 }];
        let mut by_database = Vec::new();
        let mut catch_all = 0;
        for rules in declared {
            let number = spaces.len() as u16;
            match &rules.matches {
                Match::Prefix(prefix) => match prefix.first() {
                    Some(first) => by_first_byte[usize::from(*first)].push(number),
                    None => catch_all = number,
                },
                Match::Database(db) => {
                    let db = usize::from(*db);
                    by_database.resize(by_database.len().max(db + 1), 0);
                    by_database[db] = number;
                }
            }
            spaces.push(Namespace::new(rules));
        }
        for bucket in &mut by_first_byte {
            bucket.sort_by_key(|number| {
                let prefix = prefix_of(&spaces[usize::from(*number)]);
                (std::cmp::Reverse(prefix.len()), std::cmp::Reverse(*number))
            });
        }
        Self { spaces, by_first_byte, catch_all, by_database, trivial }
    }

    /// Whether only the default namespace exists.
    #[inline]
    pub fn is_trivial(&self) -> bool {
        self.trivial
    }

    /// The number of the namespace `key` belongs to.
    #[inline]
    pub fn lookup(&self, db: u16, key: &[u8]) -> u16 {
        if self.trivial { 0 } else { self.search(db, key) }
    }

    fn search(&self, db: u16, key: &[u8]) -> u16 {
        if let Some(first) = key.first() {
            for number in &self.by_first_byte[usize::from(*first)] {
                if key.starts_with(prefix_of(&self.spaces[usize::from(*number)])) {
                    return *number;
                }
            }
        }
        if self.catch_all != 0 {
            return self.catch_all;
        }
        self.by_database.get(usize::from(db)).copied().unwrap_or(0)
    }

    /// The namespace with this number.
    #[inline]
    pub fn get(&self, number: u16) -> &Namespace {
        &self.spaces[usize::from(number)]
    }

    /// All namespaces, the default first.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.spaces.iter()
    }

    /// Whether keys of this namespace are journalled.
    #[inline]
    pub fn is_durable(&self, number: u16) -> bool {
        self.spaces[usize::from(number)].rules.class.is_durable()
    }

    /// Books bytes and keys that came or went.
    #[inline]
    pub fn account(&mut self, number: u16, bytes: i64, keys: i64) {
        let space = &mut self.spaces[usize::from(number)];
        space.used_bytes = space.used_bytes.saturating_add_signed(bytes);
        space.keys = space.keys.saturating_add_signed(keys);
    }

    /// Forgets all bookings of database-wide removal; the caller books what is left anew.
    pub fn clear_accounts(&mut self) {
        for space in &mut self.spaces {
            space.used_bytes = 0;
            space.keys = 0;
        }
    }

    /// Takes one command from the namespace's bucket.
    pub fn take_token(&mut self, number: u16, now_ms: i64) -> Result<(), Fail> {
        self.spaces[usize::from(number)].take_token(now_ms)
    }

    /// The deadline a key written now gets, given what the command asked for. Session keys must
    /// have one.
    pub fn deadline(
        &self,
        number: u16,
        asked_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<Option<i64>, Fail> {
        let rules = &self.get(number).rules;
        let after = |ttl_ms: i64| now_ms.saturating_add(ttl_ms);
        let wanted = asked_ms.or(rules.ttl_default_ms.map(after));
        if wanted.is_none() && rules.class == Class::Session {
            let Some(most) = rules.ttl_max_ms else {
                return Err(Fail::owned(format!("NAMESPACE ns={} requires a TTL", rules.name)));
            };
            return Ok(Some(after(most)));
        }
        Ok(match (wanted, rules.ttl_max_ms.map(after)) {
            (Some(at), Some(most)) => Some(at.min(most)),
            (None, Some(most)) => Some(most),
            (wanted, None) => wanted,
        })
    }

    /// Refuses arguments or values beyond the namespace's limit.
    pub fn check_value_bytes(&self, number: u16, bytes: usize) -> Result<(), Fail> {
        let rules = &self.get(number).rules;
        match rules.value_bytes_max {
            Some(most) if bytes > most => {
                Err(Fail::owned(format!("QUOTA valueBytes ns={} limit={most}", rules.name)))
            }
            _ => Ok(()),
        }
    }
}

fn prefix_of(space: &Namespace) -> &[u8] {
    match &space.rules.matches {
        Match::Prefix(prefix) => prefix,
        Match::Database(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(name: &str, prefix: &str) -> NamespaceRules {
        NamespaceRules::unlimited(name, Match::Prefix(prefix.into()), Class::Cache)
    }

    #[test]
    fn the_longest_prefix_wins_then_the_database() {
        let database = NamespaceRules::unlimited("db", Match::Database(3), Class::Session);
        let spaces = Namespaces::compile(
            Class::Store,
            vec![space("a", "s"), space("b", "sess:"), database, space("c", "se")],
        );
        let name = |db, key: &[u8]| spaces.get(spaces.lookup(db, key)).rules.name.clone();
        assert_eq!(name(0, b"sess:1"), "b");
        assert_eq!(name(0, b"sea"), "c");
        assert_eq!(name(3, b"s"), "a");
        assert_eq!(name(3, b"x"), "db");
        assert_eq!(name(3, b""), "db");
        assert_eq!(name(0, b"x"), "");
    }

    #[test]
    fn a_bucket_refills_with_time_and_holds_one_second() {
        let rules = NamespaceRules { ops_per_second: Some(2), ..space("a", "a") };
        let mut spaces = Namespaces::compile(Class::Store, vec![rules]);
        let mut take = |now| spaces.take_token(1, now).is_ok();
        assert!(take(10_000) && take(10_000) && !take(10_000));
        assert!(take(10_500) && !take(10_500));
        assert!(take(99_000) && take(99_000) && !take(99_000));
    }

    #[test]
    fn deadlines_are_defaulted_and_capped() {
        let rules =
            NamespaceRules { ttl_default_ms: Some(100), ttl_max_ms: Some(500), ..space("a", "a") };
        let required = NamespaceRules { class: Class::Session, ..space("s", "s") };
        let spaces = Namespaces::compile(Class::Store, vec![rules, required]);
        assert_eq!(spaces.deadline(0, None, 1000), Ok(None));
        assert_eq!(spaces.deadline(1, None, 1000), Ok(Some(1100)));
        assert_eq!(spaces.deadline(1, Some(9000), 1000), Ok(Some(1500)));
        assert_eq!(
            spaces.deadline(2, None, 1000),
            Err(Fail::text("NAMESPACE ns=s requires a TTL"))
        );
    }
}
