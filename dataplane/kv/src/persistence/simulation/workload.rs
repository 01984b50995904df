//! Commands chosen at random, over few keys of all classes, so that they meet each other.

use orrery_journal::sim::Random;

/// Kinds of keys: numbers, texts, lists, sets (elements), hashes.
const KINDS: [char; 5] = ['n', 't', 'l', 'e', 'h'];
/// Keys of a kind in a class.
const KEYS_PER_KIND: u64 = 2;
/// A text this long does not fit into a page together with the frame around it.
const LONG_TEXT_BYTES: u64 = 6000;

/// A command, and whether it may change keys.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) args: Vec<String>,
    pub(super) is_write: bool,
}

impl Command {
    pub(super) fn key(&self) -> Option<&str> {
        self.args.get(1).map(String::as_str)
    }

    /// Whether its key survives the process, or it changes keys that do.
    pub(super) fn is_durable(&self) -> bool {
        self.key().is_none_or(|key| !key.starts_with("c:"))
    }
}

fn choose<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    &from[random.below(from.len() as u64) as usize]
}

/// The next command; `serial` makes what it writes different from everything written before.
pub(super) fn command(random: &mut Random, serial: u64) -> Command {
    if random.chance(1, 200) {
        return Command { args: vec!["flushdb".to_owned()], is_write: true };
    }
    let class = *choose(random, &["", "", "s:", "c:"]);
    let kind = *choose(random, &KINDS);
    let key = format!("{class}{kind}{}", random.below(KEYS_PER_KIND));
    let is_write = random.chance(3, 4);
    let line = match (is_write, random.below(12)) {
        (false, _) => read(kind, &key),
        (true, 0) => format!("del {key}"),
        (true, 1) => format!("pexpire {key} {}", 1 + random.below(3000)),
        (true, _) => write(random, kind, &key, serial),
    };
    Command { args: line.split(' ').map(str::to_owned).collect(), is_write }
}

fn read(kind: char, key: &str) -> String {
    match kind {
        'n' | 't' => format!("get {key}"),
        'l' => format!("lrange {key} 0 -1"),
        'e' => format!("scard {key}"),
        _ => format!("hlen {key}"),
    }
}

/// Effects that show when they are done twice or not at all.
fn write(random: &mut Random, kind: char, key: &str, serial: u64) -> String {
    match kind {
        'n' => format!("incr {key}"),
        't' if random.chance(1, 6) => {
            let bytes = random.below(LONG_TEXT_BYTES) as usize;
            format!("set {key} {serial}{}", "x".repeat(bytes))
        }
        't' => format!("append {key} <{serial}>"),
        'l' if random.chance(1, 3) => format!("lpop {key}"),
        'l' => format!("rpush {key} {serial}"),
        'e' if random.chance(1, 3) => format!("srem {key} {}", random.below(20)),
        'e' => format!("sadd {key} {}", random.below(20)),
        _ => format!("hincrby {key} f{} {}", random.below(4), 1 + random.below(9)),
    }
}
