//! Making the topics, and checking that they keep what they are given.

use std::collections::HashMap;

use crate::carrier::Inner;
use crate::connection::Api;
use crate::failure::{Deadline, Failure, check, code};
use crate::session::PIECE_BYTES;
use crate::topic::{Edge, Topic};
use crate::wire::{Reader, Writer};

/// What a topic must take in one piece: a piece and what is around it.
const MESSAGE_BYTES_MIN: i64 = PIECE_BYTES as i64 + 4096;
/// The default of brokers, so that a smaller one of theirs does not count.
const MESSAGE_BYTES: &str = "1048588";

/// What topics are made with: nothing goes that was not trimmed, what is acknowledged is on disk, and
/// the broker changes nothing but the time, so that no clock of ours can be refused.
const SETTINGS: [(&str, &str); 8] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("compression.type", "producer"),
    ("unclean.leader.election.enable", "false"),
    ("message.timestamp.type", "LogAppendTime"),
    ("max.message.bytes", MESSAGE_BYTES),
    ("flush.messages", "1"),
];

/// What the topics are made with beside that; left out, the broker has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    pub factor: Option<u16>,
    /// `min.insync.replicas`.
    pub in_sync_min: Option<u16>,
}

/// Makes the topics of a journal if they are missing, and checks them.
pub(crate) fn prepare(inner: &Inner, deadline: Deadline) -> Result<(), Failure> {
    for topic in [inner.log(), inner.snapshots()] {
        let found = match inner.cluster.partition(topic.name, deadline) {
            Ok(found) => found,
            Err(Failure::Again(_)) => {
                create(inner, topic.name, deadline)?;
                inner.cluster.partition(topic.name, deadline)?
            }
            Err(failure) => return Err(failure),
        };
        if found.partitions != 1 {
            let (name, count) = (topic.name, found.partitions);
            let reason = format!("the topic {name} has {count} partitions instead of 1: remove it");
            return Err(Failure::unusable(reason));
        }
        judge(topic.name, &settings(topic, deadline)?, found.replicas)?;
        topic.edge(Edge::Latest, deadline)?;
    }
    Ok(())
}

fn create(inner: &Inner, name: &str, deadline: Deadline) -> Result<(), Failure> {
    let Replication { factor, in_sync_min } = inner.replication;
    let in_sync_min = in_sync_min.map(|number| number.to_string());
    let mut settings = SETTINGS.to_vec();
    settings.extend(in_sync_min.as_deref().map(|number| ("min.insync.replicas", number)));
    let factor = factor.map_or(-1, |factor| i16::try_from(factor).unwrap_or(i16::MAX));
    // One topic of one partition, placed by the broker.
    let mut body = Writer::default().i32(1).string(name).i32(1).i16(factor).i32(0);
    body = body.i32(settings.len() as i32);
    for (key, value) in settings {
        body = body.string(key).string(value);
    }
    let body = body.i32(deadline.millis()).flag(false).into_bytes();
    let answer = inner.cluster.ask_controller(Api::CreateTopics, &body, deadline)?;
    let mut answer = Reader::new(&answer);
    answer.i32()?;
    let found = answer.items(|reader| {
        reader.string()?;
        let code = reader.i16()?;
        reader.optional_string()?;
        Ok(code)
    })?;
    match found.first() {
        Some(&code::TOPIC_ALREADY_EXISTS) => Ok(()),
        Some(&code) => check(code, &format!("make the topic {name}")),
        None => Err(Failure::Again("an answer is missing".to_owned())),
    }
}

fn settings(topic: Topic<'_>, deadline: Deadline) -> Result<HashMap<String, String>, Failure> {
    // One topic (2), all of its settings.
    let body = Writer::default().i32(1).i8(2).string(topic.name).i32(-1).flag(false).into_bytes();
    let answer = topic.cluster.ask_any(Api::DescribeConfigs, &body, deadline)?;
    let mut answer = Reader::new(&answer);
    answer.i32()?;
    let found = answer.items(|reader| {
        let code = reader.i16()?;
        reader.optional_string()?;
        reader.i8()?;
        reader.string()?;
        let settings = reader.items(|reader| {
            let (key, value) = (reader.string()?, reader.optional_string()?);
            reader.take(3)?;
            reader.items(|reader| {
                reader.string()?;
                reader.optional_string()?;
                reader.i8()
            })?;
            Ok((key, value.unwrap_or_default()))
        })?;
        Ok((code, settings))
    })?;
    let found = found.into_iter().next();
    let (code, settings) =
        found.ok_or_else(|| Failure::Again("an answer is missing".to_owned()))?;
    check(code, &format!("read the settings of {}", topic.name))?;
    Ok(settings.into_iter().collect())
}

/// What breaks a promise, and what to do about it.
fn judge(name: &str, settings: &HashMap<String, String>, replicas: usize) -> Result<(), Failure> {
    let text = |key: &str| settings.get(key).map_or("", String::as_str);
    let number = |key: &str| text(key).parse::<i64>().ok();
    let refuse = |why: String| Err(Failure::unusable(format!("the topic {name} {why}")));
    if text("cleanup.policy") != "delete" {
        return refuse("is compacted: set cleanup.policy=delete".to_owned());
    }
    for key in ["retention.ms", "retention.bytes"] {
        if number(key) != Some(-1) {
            return refuse(format!("forgets records by itself: set {key}=-1"));
        }
    }
    if !matches!(text("compression.type"), "producer" | "uncompressed") {
        return refuse("compresses what it is given: set compression.type=producer".to_owned());
    }
    if text("unclean.leader.election.enable") != "false" {
        let why = "may be led by a replica that lacks what was acknowledged: \
            set unclean.leader.election.enable=false";
        return refuse(why.to_owned());
    }
    if number("max.message.bytes").is_some_and(|bytes| bytes < MESSAGE_BYTES_MIN) {
        return refuse(format!("takes too little at once: set max.message.bytes={MESSAGE_BYTES}"));
    }
    if replicas < 2 && number("flush.messages") != Some(1) {
        let why = "has one replica, which acknowledges what is not on disk: \
            set flush.messages=1, or add replicas";
        return refuse(why.to_owned());
    }
    let in_sync = number("min.insync.replicas").unwrap_or(1);
    if in_sync > replicas as i64 {
        return refuse(format!(
            "has {replicas} replicas and takes nothing with fewer than {in_sync} in sync: \
            lower min.insync.replicas or add replicas"
        ));
    }
    if replicas > 1 && in_sync < 2 {
        return refuse(format!(
            "has {replicas} replicas and acknowledges what only one of them has: \
            set min.insync.replicas=2"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(change: (&str, &str), replicas: usize) -> Option<String> {
        let mut all: HashMap<String, String> = SETTINGS
            .iter()
            .chain(&[("min.insync.replicas", "2")])
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        all.insert(change.0.to_owned(), change.1.to_owned());
        match judge("log", &all, replicas) {
            Ok(()) => None,
            Err(Failure::Final(error)) => Some(error.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_breaks_a_promise_is_refused_with_what_to_do() {
        assert_eq!(judged(("retention.ms", "-1"), 3), None);
        assert_eq!(judged(("min.insync.replicas", "1"), 1), None);
        assert_eq!(judged(("flush.messages", "10000"), 3), None);
        for (key, value, replicas, then) in [
            ("cleanup.policy", "compact", 3, "cleanup.policy=delete"),
            ("cleanup.policy", "compact,delete", 3, "cleanup.policy=delete"),
            ("retention.ms", "604800000", 3, "retention.ms=-1"),
            ("retention.bytes", "1", 3, "retention.bytes=-1"),
            ("compression.type", "zstd", 3, "compression.type=producer"),
            ("unclean.leader.election.enable", "true", 3, "unclean.leader.election.enable=false"),
            ("max.message.bytes", "1000", 3, "max.message.bytes=1048588"),
            ("min.insync.replicas", "4", 3, "lower min.insync.replicas"),
            ("min.insync.replicas", "1", 3, "min.insync.replicas=2"),
            ("flush.messages", "9223372036854775807", 1, "flush.messages=1"),
        ] {
            let said = judged((key, value), replicas).expect(key);
            assert!(said.contains(then), "{said}");
        }
    }
}
