//! Every command the server knows: names, arities, flags, keys and documentation, in one static table.
//!
//! Found by name, without regard to case, through a hash index that is computed at compile time.

mod acl;
mod cluster;
mod connection;
mod generic;
mod hash;
mod list;
mod more;
mod replication;
mod server;
mod set;
mod string;
mod transactions;

use orrery_resp::Reply;

use crate::commands::fail::Done;
use crate::commands::number::parse_i64;
use crate::machine::{Machine, Session};

/// Runs a command: `args[0]` is its name.
pub type Handler = fn(&mut Machine, &mut Session, &[&[u8]], &mut Reply) -> Done;

/// Properties of a command, as `COMMAND INFO` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

macro_rules! flags {
    ($($name:ident = $bit:literal $text:literal),* $(,)?) => {
        impl Flags {
            /// No property.
            pub const NONE: Flags = Flags(0);
            $(#[doc = concat!("`", $text, "`")] pub const $name: Flags = Flags(1 << $bit);)*

            /// The names, in Redis' order.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                [$((Flags::$name, $text)),*]
                    .into_iter()
                    .filter(move |(flag, _)| self.contains(*flag))
                    .map(|(_, text)| text)
            }
        }
    };
}

flags! {
    WRITE = 0 "write",
    READONLY = 1 "readonly",
    DENYOOM = 2 "denyoom",
    ADMIN = 4 "admin",
    PUBSUB = 5 "pubsub",
    NOSCRIPT = 6 "noscript",
    BLOCKING = 8 "blocking",
    LOADING = 9 "loading",
    STALE = 10 "stale",
    SKIP_MONITOR = 11 "skip_monitor",
    SKIP_SLOWLOG = 12 "skip_slowlog",
    ASKING = 13 "asking",
    FAST = 14 "fast",
    NO_AUTH = 15 "no_auth",
    MAY_REPLICATE = 16 "may_replicate",
    NO_ASYNC_LOADING = 23 "no_async_loading",
    NO_MULTI = 24 "no_multi",
    MOVABLEKEYS = 25 "movablekeys",
    ALLOW_BUSY = 26 "allow_busy",
}

impl Flags {
    /// Both sets of properties.
    #[must_use]
    pub const fn union(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether it has this property.
    #[inline]
    pub const fn contains(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }
}

/// Where keys begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this argument.
    Index(usize),
}

/// Which arguments from there on are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// Every `step`th up to `last`, which counts from the beginning of the search, or from the end
    /// of the arguments when negative.
    Range {
        /// Last key.
        last: i32,
        /// Distance of keys.
        step: usize,
        /// As in Redis: a divisor for `last` = -1; 0 for all commands known so far.
        limit: u32,
    },
    /// As many as argument `at` says, from `first` on, both counted from the beginning.
    Count {
        /// Where the number of keys is.
        at: usize,
        /// First key.
        first: usize,
        /// Distance of keys.
        step: usize,
    },
}

/// One group of keys of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// Remark, empty if none.
    pub notes: &'static str,
    /// What happens to the keys.
    pub flags: &'static [&'static str],
    /// Where they begin.
    pub begin: BeginSearch,
    /// Which they are.
    pub find: FindKeys,
}

impl KeySpec {
    /// Every `step`th argument from `begin` up to `last`, which counts as in [`FindKeys::Range`].
    const fn range(begin: usize, last: i32, step: usize, flags: &'static [&'static str]) -> Self {
        let find = FindKeys::Range { last, step, limit: 0 };
        Self { notes: "", flags, begin: BeginSearch::Index(begin), find }
    }

    /// Positions of these keys among the arguments.
    pub fn positions(&self, args: &[&[u8]]) -> impl Iterator<Item = usize> + use<> {
        let BeginSearch::Index(begin) = self.begin;
        let (keys, most) = match self.find {
            FindKeys::Range { last, step, .. } => {
                let last = i64::from(last);
                let origin = if last < 0 { args.len() } else { begin };
                let end = (origin as i64 + last + 1).clamp(0, args.len() as i64) as usize;
                ((begin..end).step_by(step.max(1)), usize::MAX)
            }
            FindKeys::Count { at, first, step } => {
                let count = args.get(begin + at).and_then(|count| parse_i64(count));
                let count = count.unwrap_or(0).clamp(0, args.len() as i64) as usize;
                ((begin + first..args.len()).step_by(step.max(1)), count)
            }
        };
        keys.take(most)
    }
}

/// Everything about one command. Texts are empty where Redis says nothing.
#[derive(Debug)]
pub struct CommandSpec {
    /// Number of the command, dense over all commands and subcommands.
    pub index: usize,
    /// Lower-case name.
    pub name: &'static str,
    /// `container|name` for subcommands, else the name.
    pub full_name: &'static str,
    /// Number of arguments with the name; negative: at least so many.
    pub arity: i32,
    /// Properties.
    pub flags: Flags,
    /// First key argument, 0 if none or movable.
    pub first_key: i32,
    /// Last key argument.
    pub last_key: i32,
    /// Distance of key arguments.
    pub key_step: i32,
    /// ACL categories.
    pub acl: &'static [&'static str],
    /// Hints for clients.
    pub tips: &'static [&'static str],
    /// Which arguments are keys.
    pub key_specs: &'static [KeySpec],
    /// First version.
    pub since: &'static str,
    /// Group.
    pub group: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// Version from which it is deprecated.
    pub deprecated_since: &'static str,
    /// What to use instead.
    pub replaced_by: &'static str,
    /// Subcommands.
    pub subcommands: &'static [CommandSpec],
    /// What runs it; none if the server layer does.
    pub handler: Option<Handler>,
}

impl CommandSpec {
    /// Whether this number of arguments, the name included, is right.
    #[inline]
    pub fn arity_matches(&self, args: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { args == wanted } else { args >= wanted }
    }

    /// Whether it changes keys.
    pub fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// Whether the server layer runs it rather than the machine.
    pub fn is_server(&self) -> bool {
        self.handler.is_none()
    }

    /// Whether a connection may send it before it has authenticated.
    pub fn is_allowed_before_auth(&self) -> bool {
        self.flags.contains(Flags::NO_AUTH)
    }

    /// Whether it is refused in a transaction.
    pub fn is_forbidden_in_multi(&self) -> bool {
        self.flags.contains(Flags::NO_MULTI)
    }

    /// Whether it runs at once while a transaction is being queued.
    pub fn runs_inside_multi(&self) -> bool {
        matches!(self.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
            && !self.full_name.contains('|')
    }

    /// Positions of the keys among the arguments.
    pub fn key_positions(&self, args: &[&[u8]]) -> Vec<usize> {
        self.keys_at(args).collect()
    }

    /// As [`Self::key_positions`], one after the other.
    #[inline]
    pub fn keys_at(&self, args: &[&[u8]]) -> impl Iterator<Item = usize> {
        self.key_specs.iter().flat_map(|keys| keys.positions(args))
    }
}

/// What most commands have in common, for the rest of a literal: no keys, no hints, and run by the
/// server layer.
const KEYLESS: CommandSpec = CommandSpec {
    index: 0,
    name: "",
    full_name: "",
    arity: 0,
    flags: Flags::NONE,
    first_key: 0,
    last_key: 0,
    key_step: 0,
    acl: &[],
    tips: &[],
    key_specs: &[],
    since: "",
    group: "",
    summary: "",
    complexity: "",
    deprecated_since: "",
    replaced_by: "",
    subcommands: &[],
    handler: None,
};

/// As [`KEYLESS`], with keys at these arguments.
const fn keys(first_key: i32, last_key: i32, key_step: i32) -> CommandSpec {
    CommandSpec { first_key, last_key, key_step, ..KEYLESS }
}

static GROUPS: [&[CommandSpec]; 12] = [
    string::COMMANDS,
    generic::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    connection::COMMANDS,
    transactions::COMMANDS,
    server::COMMANDS,
    more::COMMANDS,
    acl::COMMANDS,
    replication::COMMANDS,
    cluster::COMMANDS,
];

/// Number of commands and subcommands.
pub const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut number = 0;
        while number < GROUPS[group].len() {
            count += 1 + GROUPS[group][number].subcommands.len();
            number += 1;
        }
        group += 1;
    }
    count
};

/// All commands, by group.
pub fn commands() -> impl Iterator<Item = &'static CommandSpec> {
    GROUPS.into_iter().flatten()
}

/// Slots of the index: a power of two, several times the number of commands.
const SLOTS: usize = 1024;
/// Longest name of a command.
const NAME_BYTES_MAX: usize = 16;

/// Hash of a name without regard to case.
const fn name_hash(name: &[u8]) -> usize {
    let mut hash = name.len() as u64;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ (name[at] | 0x20) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
        at += 1;
    }
    hash as usize % SLOTS
}

/// For each slot, group and number of a command; group 255 = free. Collisions go to the next slot.
static INDEX: [(u8, u8); SLOTS] = {
    let mut index = [(u8::MAX, 0); SLOTS];
    let mut group = 0;
    while group < GROUPS.len() {
        let mut number = 0;
        while number < GROUPS[group].len() {
            let name = GROUPS[group][number].name.as_bytes();
            assert!(name.len() <= NAME_BYTES_MAX);
            let mut slot = name_hash(name);
            while index[slot].0 != u8::MAX {
                slot = (slot + 1) % SLOTS;
            }
            index[slot] = (group as u8, number as u8);
            number += 1;
        }
        group += 1;
    }
    index
};

/// What a line of arguments names.
#[derive(Debug, Clone, Copy)]
pub enum Lookup {
    /// A command, or the subcommand if it has any.
    Found(&'static CommandSpec),
    /// Nothing known.
    Unknown,
    /// A command that has subcommands, but not this one.
    UnknownSubcommand(&'static CommandSpec),
}

/// Finds the command of a line of arguments, which must not be empty. A container without a
/// subcommand is found itself; its arity or handler says what to make of that.
#[inline]
pub fn lookup(args: &[&[u8]]) -> Lookup {
    let Some(spec) = by_name(args[0]) else { return Lookup::Unknown };
    if spec.subcommands.is_empty() || args.len() < 2 {
        return Lookup::Found(spec);
    }
    let wanted = |sub: &&CommandSpec| sub.name.as_bytes().eq_ignore_ascii_case(args[1]);
    spec.subcommands.iter().find(wanted).map_or(Lookup::UnknownSubcommand(spec), Lookup::Found)
}

/// The command of this name, in any case.
#[inline]
pub fn by_name(name: &[u8]) -> Option<&'static CommandSpec> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut slot = name_hash(name);
    loop {
        let (group, number) = INDEX[slot];
        if group == u8::MAX {
            return None;
        }
        let spec = &GROUPS[usize::from(group)][usize::from(number)];
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        slot = (slot + 1) % SLOTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        for spec in commands() {
            let upper = spec.name.to_ascii_uppercase();
            assert!(std::ptr::eq(by_name(upper.as_bytes()).expect("is in the table"), spec));
        }
        assert!(commands().count() >= 113);
        assert!(by_name(b"nosuch").is_none() && by_name(b"").is_none());
        assert!(by_name(&[b'x'; 100]).is_none());
    }

    #[test]
    fn numbers_are_dense_over_commands_and_subcommands() {
        let all = commands().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
        assert!(all.enumerate().all(|(number, spec)| spec.index == number));
        assert_eq!(commands().map(|spec| 1 + spec.subcommands.len()).sum::<usize>(), COUNT);
    }

    #[test]
    fn subcommands_are_found_through_their_container() {
        let find = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            lookup(&args)
        };
        assert!(matches!(find("CONFIG get x"), Lookup::Found(s) if s.full_name == "config|get"));
        assert!(matches!(find("config"), Lookup::Found(s) if s.name == "config"));
        assert!(matches!(find("config nosuch"), Lookup::UnknownSubcommand(_)));
        assert!(matches!(find("nosuch"), Lookup::Unknown));
    }

    #[test]
    fn keys_are_found_by_range_and_by_count() {
        let keys = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            by_name(args[0]).expect("is in the table").key_positions(&args)
        };
        assert_eq!(keys("get a"), [1]);
        assert_eq!(keys("mset a 1 b 2"), [1, 3]);
        assert_eq!(keys("del a b c"), [1, 2, 3]);
        assert_eq!(keys("copy a b db 3"), [1, 2]);
        assert_eq!(keys("lmpop 2 a b left"), [2, 3]);
        assert_eq!(keys("lmpop 99 a b left"), [2, 3, 4]);
        assert_eq!(keys("blpop a b 0"), [1, 2]);
        assert_eq!(keys("blmpop 0 2 a b left"), [3, 4]);
        assert_eq!(keys("object encoding a"), Vec::<usize>::new());
        assert_eq!(keys("ping"), Vec::<usize>::new());
        assert_eq!(keys("sinterstore d a b"), [1, 2, 3]);
    }
}
