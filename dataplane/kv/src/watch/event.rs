//! The changes of a record that one watcher may and wants to see, as server-sent events.
//!
//! Format of the stream: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use super::Mark;
use crate::effects::{CorruptEffect, Op, Reader};
use crate::namespaces::Namespaces;
use crate::replication::replicas::say;
use crate::server::users::User;

/// Which changes a watcher gets.
pub(crate) struct Lens {
    pub(crate) user: Arc<User>,
    pub(crate) database: Option<u16>,
    pub(crate) prefix: Vec<u8>,
    /// Those of one namespace, by its number among these.
    pub(crate) namespace: Option<(Namespaces, u16)>,
}

/// A record of the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) position: u64,
    pub(crate) epoch: u64,
    pub(crate) time_us: i64,
    pub(crate) effects: &'a [u8],
}

/// One change.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    position: u64,
    time_us: i64,
    database: u16,
    /// Empty for a change of a whole database.
    key: Text<'a>,
    /// Commands that do the same; none when they would name what the watcher may not read.
    commands: Vec<Vec<Text<'a>>>,
}

/// Bytes, as text where they are.
struct Text<'a>(Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("base64", STANDARD.encode(&self.0))]),
        }
    }
}

impl Lens {
    /// Whether it wants the changes of a key.
    fn shows(&self, db: u16, key: &[u8]) -> bool {
        self.database.is_none_or(|wanted| wanted == db)
            && key.starts_with(&self.prefix)
            && self.namespace.as_ref().is_none_or(|(all, number)| all.lookup(db, key) == *number)
    }

    /// Whether it wants to hear of a change of a whole database.
    fn shows_database(&self, op: Op, db: u16, other: Option<u16>) -> bool {
        op == Op::FlushAll
            || self.database.is_none_or(|wanted| wanted == db || Some(wanted) == other)
    }

    /// Whether a change of a key may be shown, as far as it can be said without its operands.
    fn may_show(&self, op: Op, db: u16, key: &[u8]) -> bool {
        match op {
            Op::FlushDatabase | Op::FlushAll | Op::SwapDatabases | Op::Rename => true,
            _ => self.shows(db, key) && self.user.may_read(key),
        }
    }

    /// Appends an event for each change of a record behind the first `skip`.
    pub(crate) fn put(
        &self,
        source: &Source<'_>,
        skip: u32,
        events: &mut String,
    ) -> Result<(), CorruptEffect> {
        let Source { position, epoch, time_us, effects } = *source;
        let mut reader = Reader::new(effects);
        let mut seen = 0;
        while let Some((op, db, key)) = reader.next_effect()? {
            seen += 1;
            let may_be_shown = seen > skip && self.may_show(op, db, key);
            let mut commands: Vec<Vec<Text<'_>>> = vec![];
            say(op, db, key, &mut reader, &mut |args| {
                if may_be_shown {
                    let words = args.iter().map(|arg| Text(arg.to_vec().into()));
                    commands.push(words.collect());
                }
            })?;
            if !may_be_shown {
                continue;
            }
            let Some((key, commands)) = self.seen(op, db, key, commands) else { continue };
            let is_last = reader.position() == effects.len();
            let seen = (!is_last).then_some(seen);
            let change = Change { position, time_us, database: db, key, commands };
            let Ok(data) = serde_json::to_string(&change) else { continue };
            let mark = Mark { epoch, position, seen };
            // A String takes everything.
            _ = write!(events, "id: {mark}\ndata: {data}\n\n");
        }
        Ok(())
    }

    /// What is shown of an effect that may be; none: nothing.
    fn seen<'a>(
        &self,
        op: Op,
        db: u16,
        key: &'a [u8],
        commands: Vec<Vec<Text<'a>>>,
    ) -> Option<(Text<'a>, Vec<Vec<Text<'a>>>)> {
        let word = |at: usize| Some(commands.first()?.get(at)?.0.to_vec());
        let number = |at| std::str::from_utf8(&word(at)?).ok()?.parse::<u16>().ok();
        match op {
            Op::FlushDatabase | Op::FlushAll | Op::SwapDatabases => {
                let other = (op == Op::SwapDatabases).then(|| number(2)).flatten();
                self.shows_database(op, db, other).then_some((Text::from(&b""[..]), commands))
            }
            Op::Rename => {
                let (to, to_db) = (word(2)?, number(4).unwrap_or(db));
                let from_shown = self.shows(db, key) && self.user.may_read(key);
                let to_shown = self.shows(to_db, &to) && self.user.may_read(&to);
                let may_name_both = self.user.may_read(key) && self.user.may_read(&to);
                match (from_shown, to_shown) {
                    (false, false) => None,
                    _ if may_name_both => Some((Text::from(key), commands)),
                    (true, _) => {
                        let gone = vec![Text::from(&b"DEL"[..]), Text::from(key)];
                        Some((Text::from(key), vec![gone]))
                    }
                    (false, true) => Some((Text(to.into()), vec![])),
                }
            }
            _ => Some((Text::from(key), commands)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::Writer;

    fn lens(rules: &[&str]) -> Lens {
        let mut user = User::new("watcher");
        for rule in rules {
            user.apply(rule).expect("a rule");
        }
        Lens { user: Arc::new(user), database: None, prefix: vec![], namespace: None }
    }

    fn events(lens: &Lens, effects: &[u8], skip: u32) -> String {
        let source = Source { position: 7, epoch: 2, time_us: 5, effects };
        let mut events = String::new();
        lens.put(&source, skip, &mut events).expect("effects");
        events
    }

    fn record() -> Vec<u8> {
        let mut record = vec![];
        let set = Writer::start(&mut record, Op::SetString, 0, b"a");
        _ = set.byte(1).deadline(None).bytes(b"1");
        Writer::start(&mut record, Op::HashSet, 3, b"b\xff").all(1, [b"f".as_slice(), b"v"]);
        _ = Writer::start(&mut record, Op::Delete, 0, b"c");
        record
    }

    #[test]
    fn each_change_has_a_place_and_the_last_one_that_of_the_record() {
        let all = events(&lens(&["+@all", "~*"]), &record(), 0);
        let expected = concat!(
            "id: 2-7-1\ndata: {\"position\":7,\"timeUs\":5,\"database\":0,\"key\":\"a\",",
            "\"commands\":[[\"SET\",\"a\",\"1\"]]}\n\n",
            "id: 2-7-2\ndata: {\"position\":7,\"timeUs\":5,\"database\":3,",
            "\"key\":{\"base64\":\"Yv8=\"},",
            "\"commands\":[[\"HSET\",{\"base64\":\"Yv8=\"},\"f\",\"v\"]]}\n\n",
            "id: 2-7\ndata: {\"position\":7,\"timeUs\":5,\"database\":0,\"key\":\"c\",",
            "\"commands\":[[\"DEL\",\"c\"]]}\n\n",
        );
        assert_eq!(all, expected);
        let rest = events(&lens(&["+@all", "~*"]), &record(), 2);
        assert!(expected.ends_with(&rest) && rest.starts_with("id: 2-7\n"), "{rest}");
    }

    #[test]
    fn a_watcher_sees_what_it_wants_and_may_read() {
        let seen = |lens: &Lens| {
            let text = events(lens, &record(), 0);
            text.lines()
                .filter_map(|line| line.strip_prefix("id: 2-7"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(seen(&lens(&["+@all", "~a"])), "-1");
        assert_eq!(seen(&lens(&["+@all", "%W~*"])), "", "writing is not reading");
        assert_eq!(seen(&Lens { database: Some(3), ..lens(&["~*"]) }), "-2");
        assert_eq!(seen(&Lens { prefix: b"c".to_vec(), ..lens(&["~*"]) }), "");
    }

    #[test]
    fn a_rename_does_not_name_what_may_not_be_read() {
        let mut record = vec![];
        _ = Writer::start(&mut record, Op::Rename, 0, b"mine").number(0).bytes(b"theirs");
        let all = events(&lens(&["~*"]), &record, 0);
        assert!(all.contains(r#"[["RENAME","mine","theirs"]]"#), "{all}");
        let from = events(&lens(&["~mine"]), &record, 0);
        assert!(from.contains(r#"[["DEL","mine"]]"#) && !from.contains("theirs"), "{from}");
        let to = events(&lens(&["~theirs"]), &record, 0);
        assert!(to.contains(r#""key":"theirs","commands":[]"#) && !to.contains("mine"), "{to}");
        assert_eq!(events(&lens(&["~other"]), &record, 0), "");
    }
}
