//! INFO: which sections are asked for, and their order.

use std::fmt::{Display, Write};

use super::Call;
use super::info_sections as sections;

/// Writes one section.
type Section = fn(&Call<'_>, &mut Text);

/// Name, writer, and whether it is shown when none is asked for.
const SECTIONS: &[(&str, Section, bool)] = &[
    ("server", sections::server, true),
    ("clients", sections::clients, true),
    ("memory", sections::memory, true),
    ("persistence", sections::persistence, true),
    ("durability", sections::durability, true),
    ("stats", sections::stats, true),
    ("tls", sections::tls, true),
    ("replication", super::replication::info, true),
    ("cpu", sections::cpu, true),
    ("modules", sections::modules, true),
    ("commandstats", sections::commandstats, false),
    ("errorstats", sections::errorstats, true),
    ("cluster", sections::cluster, true),
    ("keyspace", sections::keyspace, true),
];

/// The text in the making.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
}

impl Text {
    pub(super) fn title(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        self.text.push_str("# ");
        self.text.push_str(title);
        self.text.push_str("\r\n");
    }

    pub(super) fn field(&mut self, name: impl Display, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }
}

pub(super) fn info(call: &mut Call<'_>) {
    let asked: Vec<String> =
        call.args[1..].iter().map(|a| String::from_utf8_lossy(a).to_lowercase()).collect();
    let wants = |name: &str, is_default: bool| {
        asked.iter().any(|a| match a.as_str() {
            "all" | "everything" => true,
            "default" => is_default,
            other => other == name,
        }) || (asked.is_empty() && is_default)
    };
    let mut text = Text::default();
    for (name, write, is_default) in SECTIONS {
        if wants(name, *is_default) {
            write(call, &mut text);
        }
    }
    call.reply.verbatim(*b"txt", text.text.as_bytes());
}
