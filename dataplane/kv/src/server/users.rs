//! Who may log in, and what each may do: users in the sense of the ACLs of Redis 7.0.
//!
//! Users come from one file that the operator writes, and `default` is always among them. Must not:
//! keep or show a password; only its SHA-256 is known here. Followers are no users: they prove by the
//! token of their group who they are, so that no ACL locks them out.

pub(crate) mod denied;
mod describe;
pub(crate) mod file;
pub(crate) mod selector;
pub(crate) mod user;

use std::collections::BTreeMap;
use std::sync::Arc;

use orrery_api::kv::acl::DEFAULT_USER;

pub use user::WordError;
pub(crate) use user::{Digest, User};

/// All users, by name.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    by_name: BTreeMap<String, Arc<User>>,
    /// Password of `default`, besides those of the file.
    password: Option<Digest>,
}

/// Failed to use a file of users. Says nothing of passwords.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("failed to read the users in {path}: {source}")]
    Read { path: std::path::PathBuf, source: std::io::Error },
    #[error("line {line} of the users does not begin with `user <name>`")]
    Line { line: usize },
    #[error("the user {name} is there twice")]
    Twice { name: String },
    #[error("the user {name}: {word}: {source}")]
    Word { name: String, word: String, source: WordError },
    #[error("the user {name} has an unclosed parenthesis")]
    Parenthesis { name: String },
}

impl Users {
    /// `default` alone, which may do everything; without a password nobody needs to log in.
    pub(crate) fn new(password: Option<&str>) -> Self {
        let mut users = Self { by_name: BTreeMap::new(), password: password.map(Digest::of) };
        users.put(User::all_powerful(DEFAULT_USER, users.password));
        users
    }

    /// The users of a file, with the password `default` has besides.
    pub(crate) fn parse(text: &str, password: Option<Digest>) -> Result<Self, UsersError> {
        let mut users = Self { by_name: BTreeMap::new(), password };
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let words = file::words(line);
            let [first, name, rules @ ..] = words.as_slice() else {
                return Err(UsersError::Line { line: number + 1 });
            };
            if *first != "user" {
                return Err(UsersError::Line { line: number + 1 });
            }
            if users.by_name.contains_key(*name) {
                return Err(UsersError::Twice { name: (*name).to_owned() });
            }
            let mut user = User::new(name);
            if *name == DEFAULT_USER {
                user.add_password(password);
            }
            for word in rules {
                if word.starts_with('(') && !word.ends_with(')') {
                    return Err(UsersError::Parenthesis { name: user.name().to_owned() });
                }
                user.apply(word).map_err(|source| UsersError::Word {
                    name: (*name).to_owned(),
                    word: file::shown(word),
                    source,
                })?;
            }
            users.put(user);
        }
        if !users.by_name.contains_key(DEFAULT_USER) {
            users.put(User::all_powerful(DEFAULT_USER, password));
        }
        Ok(users)
    }

    /// The user of this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(std::str::from_utf8(name).ok()?)
    }

    /// What a connection is before it logs in.
    pub(crate) fn default_user(&self) -> &Arc<User> {
        &self.by_name[DEFAULT_USER]
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// Adds a user, or puts it in the place of the one of the same name.
    pub(crate) fn put(&mut self, user: User) {
        self.by_name.insert(user.name().to_owned(), Arc::new(user));
    }

    /// Whether there was such a user.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let name = std::str::from_utf8(name).unwrap_or_default();
        self.by_name.remove(name).is_some()
    }

    /// Password of `default` besides those of the file.
    pub(crate) fn password(&self) -> Option<Digest> {
        self.password
    }

    /// `CONFIG SET requirepass`: the only password of `default` from now on; none: any is right.
    pub(crate) fn set_password(&mut self, text: Option<&str>) {
        self.password = text.map(Digest::of);
        let mut user = User::clone(self.default_user());
        user.reset_passwords();
        user.add_password(self.password);
        self.put(user);
    }
}

#[cfg(test)]
mod tests;
