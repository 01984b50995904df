//! One set of permissions: commands, keys and channels that go together.

use std::collections::BTreeMap;

use orrery_api::kv::acl::{Permission, RuleError};

use super::user::{Denied, WordError};
use crate::command_table::{self, CommandSpec, Flags, KeySpec};
use crate::commands::glob;
use crate::server::commands::extra;

/// Patterns of keys, and of channels, of one set; each costs time with every command.
const PATTERNS_MAX: usize = 256;
/// First arguments that are allowed alone, of all commands of one set.
const FIRST_ARGUMENTS_MAX: usize = 256;
const WORDS: usize = (command_table::COUNT + extra::COUNT).div_ceil(64);

/// Keys that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) reads: bool,
    pub(super) writes: bool,
    pub(super) pattern: String,
}

/// One set of permissions; the empty one allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    /// One bit for each command, by its index.
    allowed: [u64; WORDS],
    /// Begins with all commands rather than with none.
    pub(super) begins_with_all: bool,
    /// The words after that which still matter.
    pub(super) command_words: Vec<String>,
    /// Arguments that are allowed although their command is not, by its index.
    first_arguments: BTreeMap<usize, Vec<String>>,
    pub(super) all_keys: bool,
    pub(super) keys: Vec<Keys>,
    pub(super) all_channels: bool,
    pub(super) channels: Vec<String>,
}

impl Selector {
    /// The one that allows everything.
    pub(super) fn all() -> Self {
        Self {
            allowed: [u64::MAX; WORDS],
            begins_with_all: true,
            all_keys: true,
            all_channels: true,
            ..Self::default()
        }
    }

    /// Channels do not count: there are none.
    pub(super) fn allows_everything(&self) -> bool {
        self.all_keys && self.begins_with_all && self.command_words.is_empty()
    }

    /// Whether the command may run, and on these keys.
    pub(super) fn check(&self, spec: &CommandSpec, args: &[&[u8]]) -> Result<(), Denied> {
        if !self.allows(spec, args) {
            return Err(Denied::Command);
        }
        if self.all_keys {
            return Ok(());
        }
        for keys in spec.key_specs {
            let (reads, writes) = access(spec, keys, args);
            for at in keys.positions(args) {
                if !args.get(at).is_some_and(|key| self.allows_key(key, reads, writes)) {
                    return Err(Denied::Key(at));
                }
            }
        }
        Ok(())
    }

    fn allows(&self, spec: &CommandSpec, args: &[&[u8]]) -> bool {
        // Logging in and going away are everybody's.
        if spec.flags.contains(Flags::NO_AUTH) && spec.group == "connection" {
            return true;
        }
        if self.allowed[spec.index / 64] & (1 << (spec.index % 64)) != 0 {
            return true;
        }
        let (Some(allowed), Some(first)) = (self.first_arguments.get(&spec.index), args.get(1))
        else {
            return false;
        };
        allowed.iter().any(|argument| argument.as_bytes().eq_ignore_ascii_case(first))
    }

    /// Whether it gives this key to be read.
    pub(super) fn reads(&self, key: &[u8]) -> bool {
        self.all_keys || self.allows_key(key, true, false)
    }

    fn allows_key(&self, key: &[u8], reads: bool, writes: bool) -> bool {
        self.keys.iter().any(|keys| {
            (keys.reads || !reads)
                && (keys.writes || !writes)
                && glob::matches(keys.pattern.as_bytes(), key)
        })
    }

    /// Takes one permission; `word` is what it was read from.
    pub(super) fn add(&mut self, word: &str, permission: Permission) -> Result<(), WordError> {
        match permission {
            Permission::AllKeys(all) => {
                self.keys.clear();
                self.all_keys = all;
            }
            Permission::Keys { .. } if self.all_keys => return Err(RuleError::AfterAllKeys.into()),
            Permission::Keys { reads, writes, pattern } => {
                return self.add_keys(Keys { reads, writes, pattern });
            }
            Permission::AllChannels(all) => {
                self.channels.clear();
                self.all_channels = all;
            }
            Permission::Channels(_) if self.all_channels => {
                return Err(RuleError::AfterAllChannels.into());
            }
            Permission::Channels(pattern) => {
                if !self.channels.contains(&pattern) {
                    if self.channels.len() == PATTERNS_MAX {
                        return Err(WordError::TooMany);
                    }
                    self.channels.push(pattern);
                }
            }
            Permission::AllCommands(all) => {
                self.allowed = [if all { u64::MAX } else { 0 }; WORDS];
                self.begins_with_all = all;
                self.command_words.clear();
                self.first_arguments.clear();
            }
            Permission::Category { is_allowed, name } => {
                for spec in extra::all() {
                    let is_of = |acl: &&str| acl.strip_prefix('@') == Some(name);
                    if spec.acl.iter().any(is_of) {
                        self.set(spec, is_allowed);
                    }
                }
                self.keep_word(word);
            }
            Permission::Command { is_allowed, name } => {
                if let Some(spec) = extra::by_full_name(name.as_bytes()) {
                    self.set(spec, is_allowed);
                }
                self.keep_word(word);
            }
            Permission::FirstArgument { command, argument } => {
                if let Some(spec) = extra::by_full_name(command.as_bytes()) {
                    let all = self.first_arguments.values().map(Vec::len).sum::<usize>();
                    if all == FIRST_ARGUMENTS_MAX {
                        return Err(WordError::TooMany);
                    }
                    let arguments = self.first_arguments.entry(spec.index).or_default();
                    if !arguments.contains(&argument) {
                        arguments.push(argument);
                    }
                }
                self.keep_word(word);
            }
        }
        Ok(())
    }

    fn add_keys(&mut self, keys: Keys) -> Result<(), WordError> {
        if let Some(own) = self.keys.iter_mut().find(|own| own.pattern == keys.pattern) {
            own.reads |= keys.reads;
            own.writes |= keys.writes;
            return Ok(());
        }
        if self.keys.len() == PATTERNS_MAX {
            return Err(WordError::TooMany);
        }
        self.keys.push(keys);
        Ok(())
    }

    /// A command and its subcommands.
    fn set(&mut self, spec: &'static CommandSpec, is_allowed: bool) {
        for spec in std::iter::once(spec).chain(extra::subcommands(spec)) {
            let bit = 1 << (spec.index % 64);
            let word = &mut self.allowed[spec.index / 64];
            if is_allowed {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
        self.first_arguments.remove(&spec.index);
    }

    /// Keeps the word; what it makes void is forgotten, so that the list cannot grow for ever.
    fn keep_word(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        let target = &word[1..];
        self.command_words.retain(|old| {
            let rest = old[1..].strip_prefix(target);
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        });
        self.command_words.push(word);
    }
}

/// Whether a command reads and whether it writes these keys.
fn access(spec: &CommandSpec, keys: &KeySpec, args: &[&[u8]]) -> (bool, bool) {
    let says = |name: &str| keys.flags.contains(&name);
    let mut reads = says("access");
    if spec.name == "set" && says("variable_flags") {
        // It reads only where the old value is asked for.
        reads = args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(b"get"));
    }
    (reads, says("insert") || says("delete") || says("update"))
}
