//! What was refused lately, for `ACL LOG`. Bounded in number and in the size of each entry.

use std::collections::VecDeque;

use orrery_resp::Reply;

/// Equal refusals within this time are one entry.
const GROUPING_MS: u64 = 60_000;
/// Of a key or a name, so much is kept.
const TEXT_BYTES: usize = 256;
/// More entries are never kept, whatever `acllog-max-len` says.
const ENTRIES_MAX: usize = 4096;

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Command,
    Key,
    Auth,
}

/// One refusal.
#[derive(Debug)]
pub(crate) struct Entry {
    reason: Reason,
    is_in_multi: bool,
    /// The command, the key, or the command that logs in.
    object: Vec<u8>,
    user: Vec<u8>,
    client: String,
    at_ms: u64,
    count: i64,
}

impl Entry {
    pub(crate) fn new(reason: Reason, object: &[u8], user: &[u8]) -> Self {
        let clipped = |text: &[u8]| text[..text.len().min(TEXT_BYTES)].to_vec();
        Self {
            reason,
            is_in_multi: false,
            object: clipped(object),
            user: clipped(user),
            client: String::new(),
            at_ms: 0,
            count: 1,
        }
    }

    /// With the client it was refused to, and when.
    pub(crate) fn of(self, client: String, is_in_multi: bool, at_ms: u64) -> Self {
        Self { is_in_multi, client, at_ms, ..self }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.reason == other.reason
            && self.is_in_multi == other.is_in_multi
            && self.object == other.object
            && self.user == other.user
            && self.at_ms.abs_diff(other.at_ms) <= GROUPING_MS
    }

    fn write(&self, now_ms: u64, reply: &mut Reply) {
        let reason = match self.reason {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Auth => "auth",
        };
        let context = if self.is_in_multi { "multi" } else { "toplevel" };
        reply.map(7);
        reply.bulk(b"count");
        reply.integer(self.count);
        let texts: [(&str, &[u8]); 4] = [
            ("reason", reason.as_bytes()),
            ("context", context.as_bytes()),
            ("object", &self.object),
            ("username", &self.user),
        ];
        for (name, text) in texts {
            reply.bulk(name.as_bytes());
            reply.bulk(text);
        }
        reply.bulk(b"age-seconds");
        reply.double(now_ms.saturating_sub(self.at_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(self.client.as_bytes());
    }
}

/// The latest refusals, newest first.
#[derive(Debug, Default)]
pub(crate) struct DeniedLog {
    entries: VecDeque<Entry>,
}

impl DeniedLog {
    pub(crate) fn add(&mut self, mut entry: Entry, most: usize) {
        if let Some(at) = self.entries.iter().position(|old| old.is_like(&entry)) {
            entry.count += self.entries.remove(at).map_or(0, |old| old.count);
        }
        self.entries.push_front(entry);
        self.entries.truncate(most.min(ENTRIES_MAX));
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The newest `most` entries.
    pub(crate) fn write(&self, most: usize, now_ms: u64, reply: &mut Reply) {
        let shown = most.min(self.entries.len());
        reply.array(shown);
        self.entries.iter().take(shown).for_each(|entry| entry.write(now_ms, reply));
    }
}
