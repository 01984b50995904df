//! Users as `ACL LIST` and `ACL GETUSER` show them. No password is part of it, only its SHA-256.

use orrery_resp::Reply;

use super::selector::Selector;
use super::user::User;

impl User {
    /// The line of `ACL LIST`.
    pub(crate) fn line(&self) -> String {
        let mut words = vec!["user".to_owned(), self.name().to_owned()];
        words.extend(self.flags().into_iter().map(str::to_owned));
        words.extend(self.passwords.iter().map(|password| format!("#{}", password.hex())));
        words.push(self.root.line());
        words.extend(self.selectors.iter().map(|selector| format!("({})", selector.line())));
        words.join(" ")
    }

    fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_enabled { "on" } else { "off" }];
        flags.extend(self.has_no_password.then_some("nopass"));
        flags.extend(
            self.sanitizes.map(|sanitizes| {
                if sanitizes { "sanitize-payload" } else { "skip-sanitize-payload" }
            }),
        );
        flags
    }

    /// The reply of `ACL GETUSER`.
    pub(crate) fn write(&self, reply: &mut Reply) {
        let flags = self.flags();
        reply.map(6);
        reply.bulk(b"flags");
        reply.set(flags.len());
        for flag in flags {
            reply.bulk(flag.as_bytes());
        }
        reply.bulk(b"passwords");
        reply.array(self.passwords.len());
        for password in &self.passwords {
            reply.bulk(password.hex().as_bytes());
        }
        self.root.write(reply);
        reply.bulk(b"selectors");
        reply.array(self.selectors.len());
        for selector in &self.selectors {
            reply.map(3);
            selector.write(reply);
        }
    }
}

impl Selector {
    fn line(&self) -> String {
        let mut words = vec![];
        if self.all_keys || !self.keys.is_empty() {
            words.push(self.keys());
        }
        if !self.all_channels {
            words.push("resetchannels".to_owned());
        }
        if self.all_channels || !self.channels.is_empty() {
            words.push(self.channels());
        }
        words.push(self.commands());
        words.join(" ")
    }

    fn write(&self, reply: &mut Reply) {
        let texts =
            [("commands", self.commands()), ("keys", self.keys()), ("channels", self.channels())];
        for (name, text) in texts {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }

    fn commands(&self) -> String {
        let first = if self.begins_with_all { "+@all" } else { "-@all" };
        let words = self.command_words.iter().map(String::as_str);
        std::iter::once(first).chain(words).collect::<Vec<_>>().join(" ")
    }

    fn keys(&self) -> String {
        if self.all_keys {
            return "~*".to_owned();
        }
        let words = self.keys.iter().map(|keys| match (keys.reads, keys.writes) {
            (true, false) => format!("%R~{}", keys.pattern),
            (false, true) => format!("%W~{}", keys.pattern),
            _ => format!("~{}", keys.pattern),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn channels(&self) -> String {
        if self.all_channels {
            return "&*".to_owned();
        }
        let words = self.channels.iter().map(|pattern| format!("&{pattern}"));
        words.collect::<Vec<_>>().join(" ")
    }
}
