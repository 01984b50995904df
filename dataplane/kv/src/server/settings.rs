//! What `CONFIG GET` and `CONFIG SET` know: one table of names, kinds and defaults.
//!
//! The names are those of Redis 7.0. Every entry says what setting it does here: [`Effect`]. The
//! table holds texts in canonical form; what the server needs on its way is read out once per
//! change by [`Settings::limits`].

use super::limits::ClientLimits;

/// What changing an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It takes effect at once.
    Applied,
    /// It cannot be changed while running.
    Fixed,
    /// Redis tunes something with it that does not exist here; clients and suites set it anyway.
    Kept,
}

/// Shape of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int(i64, i64),
    /// Bytes, with the units of Redis (`1kb`, `64mb`).
    Memory,
    Text,
    OneOf(&'static [&'static str]),
    /// `<class> <hard> <soft> <seconds>`, any number of times.
    OutputLimits,
}

#[derive(Debug, Clone)]
struct Entry {
    name: &'static str,
    alias: &'static str,
    kind: Kind,
    effect: Effect,
    value: String,
}

/// Failed to change an entry; the text ends the reply of `CONFIG SET`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingError {
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")]
    Refused { name: String, why: String },
}

/// The table with its present values.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    entries: Vec<Entry>,
}

impl Default for Settings {
    fn default() -> Self {
        let entry = |&(name, alias, kind, effect, value): &Row| Entry {
            name,
            alias,
            kind,
            effect,
            value: value.to_owned(),
        };
        Self { entries: TABLE.iter().map(entry).collect() }
    }
}

impl Settings {
    /// Text of `name`; empty when there is no such entry.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.entries.iter().find(|e| e.name == name).map_or("", |e| &e.value)
    }

    /// Value of a number, byte count or yes/no entry; 0 when there is none.
    pub(crate) fn number(&self, name: &str) -> i64 {
        match self.text(name) {
            "yes" => 1,
            text => text.parse().unwrap_or(0),
        }
    }

    /// Puts a value in place at start, fixed entries too.
    pub(crate) fn put(&mut self, name: &str, value: impl Into<String>) {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.name == name) {
            entry.value = value.into();
        }
    }

    /// Names and values whose name matches; aliases count as names of their own.
    pub(crate) fn matching<'a>(
        &'a self,
        matches: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.entries
            .iter()
            .flat_map(|e| [(e.name, e.value.as_str()), (e.alias, e.value.as_str())])
            .filter(move |(name, _)| !name.is_empty() && matches(name))
    }

    /// Sets all pairs or none of them.
    pub(crate) fn set(&mut self, pairs: &[(String, String)]) -> Result<(), SettingError> {
        let mut changed = self.clone();
        let mut seen: Vec<&str> = vec![];
        for (name, value) in pairs {
            let lower = name.to_ascii_lowercase();
            let refused = |why: &str| SettingError::Refused { name: name.clone(), why: why.into() };
            let entry = changed
                .entries
                .iter_mut()
                .find(|e| e.name == lower || (!e.alias.is_empty() && e.alias == lower))
                .ok_or_else(|| SettingError::Unknown(name.clone()))?;
            if entry.effect == Effect::Fixed {
                return Err(refused("can't set immutable config"));
            }
            if seen.contains(&entry.name) {
                return Err(refused("duplicate parameter"));
            }
            seen.push(entry.name);
            entry.value =
                canonical(entry.kind, value, &entry.value).map_err(|why| refused(&why))?;
        }
        *self = changed;
        Ok(())
    }

    /// The bounds a connection is held to.
    pub(crate) fn limits(&self) -> ClientLimits {
        let mut normal = [0i64; 3];
        let mut words = self.text("client-output-buffer-limit").split(' ');
        while let Some(class) = words.next() {
            let numbers = [(); 3].map(|()| words.next().and_then(|n| n.parse().ok()).unwrap_or(0));
            if class == "normal" {
                normal = numbers;
            }
        }
        ClientLimits {
            clients_max: self.number("maxclients") as usize,
            idle_seconds: self.number("timeout") as u64,
            // Arguments are ranges of 32 bits in the query buffer.
            query_bytes_max: self.number("client-query-buffer-limit").min(u32::MAX.into()) as usize,
            bulk_bytes_max: self.number("proto-max-bulk-len").min(u32::MAX.into()),
            output_hard_bytes: normal[0] as usize,
            output_soft_bytes: normal[1] as usize,
            output_soft_seconds: normal[2] as u64,
        }
    }
}

/// The value as it is kept, or what is wrong with it.
fn canonical(kind: Kind, value: &str, old: &str) -> Result<String, String> {
    match kind {
        Kind::Text => Ok(value.to_owned()),
        Kind::Bool => match value.to_ascii_lowercase().as_str() {
            text @ ("yes" | "no") => Ok(text.to_owned()),
            _ => Err("argument must be 'yes' or 'no'".to_owned()),
        },
        Kind::Int(low, high) => match value.parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number.to_string()),
            Ok(_) => Err(format!("argument must be between {low} and {high} inclusive")),
            Err(_) => Err("argument couldn't be parsed into an integer".to_owned()),
        },
        Kind::Memory => parse_memory(value)
            .map(|bytes| bytes.to_string())
            .ok_or_else(|| "argument must be a memory value".to_owned()),
        Kind::OneOf(words) => {
            let lower = value.to_ascii_lowercase();
            if words.contains(&lower.as_str()) {
                return Ok(lower);
            }
            Err(format!("argument(s) must be one of the following: {}", words.join(", ")))
        }
        Kind::OutputLimits => output_limits(value, old),
    }
}

/// `64mb`, `1k`, `100`: `memtoull` of Redis.
pub(crate) fn parse_memory(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Replaces the classes named in `value` and keeps the others of `old`.
fn output_limits(value: &str, old: &str) -> Result<String, String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut classes: Vec<String> =
        old.split(' ').collect::<Vec<_>>().chunks(4).map(|class| class.join(" ")).collect();
    for class in words.chunks(4) {
        let name = match class[0].to_ascii_lowercase().as_str() {
            "replica" => "slave".to_owned(),
            name @ ("normal" | "slave" | "pubsub") => name.to_owned(),
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        let (Some(hard), Some(soft), Ok(seconds)) =
            (parse_memory(class[1]), parse_memory(class[2]), class[3].parse::<u64>())
        else {
            return Err(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into(),
            );
        };
        let text = format!("{name} {hard} {soft} {seconds}");
        match classes.iter_mut().find(|c| c.split(' ').next() == Some(&name)) {
            Some(class) => *class = text,
            None => classes.push(text),
        }
    }
    Ok(classes.join(" "))
}

type Row = (&'static str, &'static str, Kind, Effect, &'static str);

const INT: i64 = i32::MAX as i64;
const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

/// Name, old name, kind, effect, default.
#[rustfmt::skip]
const TABLE: &[Row] = {
    use Effect::{Applied, Fixed, Kept};
    use Kind::{Bool, Int, Memory, OneOf, OutputLimits, Text};
    &[
        // Connections.
        ("maxclients", "", Int(1, INT), Applied, "10000"),
        ("timeout", "", Int(0, INT), Applied, "0"),
        ("tcp-keepalive", "", Int(0, INT), Applied, "300"),
        ("client-output-buffer-limit", "", OutputLimits, Applied,
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ("client-query-buffer-limit", "", Memory, Applied, "1073741824"),
        ("proto-max-bulk-len", "", Memory, Applied, "536870912"),
        ("requirepass", "", Text, Applied, ""),
        ("aclfile", "", Text, Fixed, ""),
        ("acllog-max-len", "", Int(0, INT), Applied, "128"),
        ("acl-pubsub-default", "", OneOf(&["resetchannels", "allchannels"]), Kept, "resetchannels"),
        ("port", "", Int(0, 65535), Fixed, "6379"),
        ("bind", "", Text, Fixed, ""),
        ("unixsocket", "", Text, Fixed, ""),
        ("tcp-backlog", "", Int(0, INT), Fixed, "511"),
        ("databases", "", Int(1, INT), Fixed, "16"),
        ("tls-port", "", Int(0, 65535), Fixed, "0"),
        ("io-threads", "", Int(1, 128), Fixed, "1"),
        ("protected-mode", "", Bool, Kept, "no"),
        ("maxmemory-clients", "", Memory, Kept, "0"),
        // Memory and encodings.
        ("maxmemory", "", Memory, Applied, "0"),
        ("maxmemory-policy", "", OneOf(POLICIES), Applied, "noeviction"),
        ("maxmemory-samples", "", Int(1, 64), Kept, "5"),
        ("maxmemory-eviction-tenacity", "", Int(0, 100), Kept, "10"),
        ("lfu-log-factor", "", Int(0, INT), Kept, "10"),
        ("lfu-decay-time", "", Int(0, INT), Kept, "1"),
        ("hash-max-listpack-entries", "hash-max-ziplist-entries", Int(0, i64::MAX), Applied, "512"),
        ("hash-max-listpack-value", "hash-max-ziplist-value", Memory, Applied, "64"),
        ("list-max-listpack-size", "list-max-ziplist-size", Int(-5, INT), Applied, "-2"),
        ("list-compress-depth", "", Int(0, INT), Kept, "0"),
        ("set-max-intset-entries", "", Int(0, i64::MAX), Applied, "512"),
        ("zset-max-listpack-entries", "zset-max-ziplist-entries", Int(0, i64::MAX), Kept, "128"),
        ("zset-max-listpack-value", "zset-max-ziplist-value", Memory, Kept, "64"),
        ("hll-sparse-max-bytes", "", Memory, Kept, "3000"),
        ("stream-node-max-bytes", "", Memory, Kept, "4096"),
        ("stream-node-max-entries", "", Int(0, i64::MAX), Kept, "100"),
        ("activerehashing", "", Bool, Kept, "yes"),
        ("activedefrag", "", Bool, Kept, "no"),
        ("lazyfree-lazy-eviction", "", Bool, Kept, "no"),
        ("lazyfree-lazy-expire", "", Bool, Kept, "no"),
        ("lazyfree-lazy-server-del", "", Bool, Kept, "no"),
        ("lazyfree-lazy-user-del", "", Bool, Kept, "no"),
        ("lazyfree-lazy-user-flush", "", Bool, Kept, "no"),
        ("active-expire-effort", "", Int(1, 10), Kept, "1"),
        // Persistence is the journal's: every write of a durable class is on disk before its reply.
        ("appendonly", "", Bool, Kept, "yes"),
        ("appendfsync", "", OneOf(&["everysec", "always", "no"]), Kept, "always"),
        ("no-appendfsync-on-rewrite", "", Bool, Kept, "no"),
        ("auto-aof-rewrite-percentage", "", Int(0, INT), Kept, "100"),
        ("auto-aof-rewrite-min-size", "", Memory, Kept, "67108864"),
        ("aof-use-rdb-preamble", "", Bool, Kept, "yes"),
        ("save", "", Text, Kept, ""),
        ("stop-writes-on-bgsave-error", "", Bool, Kept, "yes"),
        ("rdbcompression", "", Bool, Kept, "no"),
        ("rdbchecksum", "", Bool, Fixed, "yes"),
        ("rdb-key-save-delay", "", Int(-INT, INT), Kept, "0"),
        ("key-load-delay", "", Int(-INT, INT), Kept, "0"),
        ("sanitize-dump-payload", "", OneOf(&["no", "yes", "clients"]), Kept, "no"),
        ("dir", "", Text, Fixed, ""),
        ("dbfilename", "", Text, Fixed, "dump.rdb"),
        // Work and watching.
        ("hz", "", Int(1, 500), Kept, "10"),
        ("dynamic-hz", "", Bool, Kept, "yes"),
        ("slowlog-log-slower-than", "", Int(-1, i64::MAX), Kept, "10000"),
        ("slowlog-max-len", "", Int(0, i64::MAX), Kept, "128"),
        ("latency-monitor-threshold", "", Int(0, i64::MAX), Kept, "0"),
        ("latency-tracking", "", Bool, Kept, "yes"),
        ("notify-keyspace-events", "", Text, Kept, ""),
        ("busy-reply-threshold", "lua-time-limit", Int(0, i64::MAX), Kept, "5000"),
        ("tracking-table-max-keys", "", Int(0, i64::MAX), Kept, "1000000"),
        ("enable-debug-command", "", OneOf(&["no", "yes", "local"]), Fixed, "no"),
        ("loglevel", "", OneOf(&["debug", "verbose", "notice", "warning"]), Kept, "notice"),
        // Replication and cluster: not spoken here.
        ("replica-serve-stale-data", "slave-serve-stale-data", Bool, Kept, "yes"),
        ("replica-read-only", "slave-read-only", Bool, Kept, "yes"),
        ("repl-diskless-sync-delay", "", Int(0, INT), Kept, "5"),
        ("min-replicas-to-write", "min-slaves-to-write", Int(0, INT), Kept, "0"),
        ("cluster-enabled", "", Bool, Fixed, "no"),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &mut Settings, pairs: &[(&str, &str)]) -> Result<(), SettingError> {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        settings.set(&pairs)
    }

    #[test]
    fn values_are_kept_in_the_form_redis_shows() {
        let mut settings = Settings::default();
        set(&mut settings, &[("MAXMEMORY", "10mb"), ("appendonly", "NO")]).expect("both are fine");
        assert_eq!(settings.text("maxmemory"), "10485760");
        assert_eq!(settings.text("appendonly"), "no");
        set(&mut settings, &[("hash-max-ziplist-entries", "7")]).expect("the old name works");
        assert_eq!(settings.number("hash-max-listpack-entries"), 7);
        set(&mut settings, &[("client-output-buffer-limit", "normal 100000 0 0")]).expect("fine");
        assert_eq!(settings.limits().output_hard_bytes, 100_000);
        assert!(
            settings.text("client-output-buffer-limit").ends_with("pubsub 33554432 8388608 60")
        );
    }

    #[test]
    fn one_bad_pair_leaves_all_as_it_was() {
        let mut settings = Settings::default();
        for (pairs, text) in [
            (
                vec![("timeout", "1"), ("nosuch", "1")],
                "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
            ),
            (
                vec![("timeout", "1"), ("port", "1")],
                "ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config",
            ),
            (
                vec![("timeout", "1"), ("maxmemory", "10foo")],
                "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value",
            ),
            (
                vec![("timeout", "1"), ("timeout", "2")],
                "ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter",
            ),
        ] {
            assert_eq!(set(&mut settings, &pairs).expect_err("refused").to_string(), text);
            assert_eq!(settings.text("timeout"), "0");
        }
    }

    #[test]
    fn every_entry_accepts_its_own_value() {
        let settings = Settings::default();
        for entry in settings.entries.iter().filter(|e| e.effect != Effect::Fixed) {
            let value = canonical(entry.kind, &entry.value, &entry.value);
            assert_eq!(value.as_deref(), Ok(entry.value.as_str()), "{}", entry.name);
        }
    }
}
