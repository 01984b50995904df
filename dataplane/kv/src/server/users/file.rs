//! The file of users: read at the start, and again whenever its content changes.
//!
//! Must not: touch users while the file holds nothing that can be used; then those in use stay, and
//! the log says why. A file that cannot be used at the start is an error.

use std::path::{Path, PathBuf};

use orrery_api::kv::acl::{USERS_FILE, USERS_FILE_BYTES_MAX};

use super::{Digest, Users, UsersError};

/// Between two looks at the file.
const LOOK_MS: u64 = 1000;
/// Of a word that is none, so much is shown.
const SHOWN_CHARS: usize = 64;

/// Where users come from.
#[derive(Debug, Clone)]
pub(crate) struct UsersFile {
    path: PathBuf,
    /// Content that was looked at last, used or not.
    seen: Vec<u8>,
    look_due_ms: u64,
    /// The last look failed, and was told of.
    is_unreadable: bool,
}

impl UsersFile {
    /// Reads the file in `folder`.
    pub(crate) fn open(
        folder: &Path,
        password: Option<Digest>,
    ) -> Result<(Self, Users), UsersError> {
        let path = folder.join(USERS_FILE);
        let seen = read(&path)?;
        let users = Users::parse(&text(&seen), password)?;
        Ok((Self { path, seen, look_due_ms: 0, is_unreadable: false }, users))
    }

    /// New users, if the file has some. Called often; looks now and then.
    pub(crate) fn look(&mut self, now_ms: u64, password: Option<Digest>) -> Option<Users> {
        if now_ms < self.look_due_ms {
            return None;
        }
        self.look_due_ms = now_ms + LOOK_MS;
        let content = match read(&self.path) {
            Ok(content) => content,
            Err(error) => {
                if !self.is_unreadable {
                    tracing::error!(%error, "the users stay as they are");
                }
                self.is_unreadable = true;
                return None;
            }
        };
        self.is_unreadable = false;
        if content == self.seen {
            return None;
        }
        self.seen = content;
        match Users::parse(&text(&self.seen), password) {
            Ok(users) => Some(users),
            Err(error) => {
                tracing::error!(%error, "the users stay as they are");
                None
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, UsersError> {
    use std::io::Read as _;
    let failed = |source| UsersError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    file.take(USERS_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() > USERS_FILE_BYTES_MAX {
        return Err(failed(std::io::Error::other("the file is too large")));
    }
    Ok(content)
}

fn text(content: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(content)
}

/// The words of a line; what is in parentheses is one word.
pub(super) fn words(line: &str) -> Vec<&str> {
    let mut words = vec![];
    let mut rest = line.trim();
    while !rest.is_empty() {
        let end = if rest.starts_with('(') {
            rest.find(')').map_or(rest.len(), |at| at + 1)
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

/// A word for a message; one that is or may be about a password is not shown.
pub(super) fn shown(word: &str) -> String {
    if word.starts_with(['>', '<', '#', '!']) {
        return "a password".to_owned();
    }
    word.chars().take(SHOWN_CHARS).collect()
}
