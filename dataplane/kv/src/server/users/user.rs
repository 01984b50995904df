//! One user: how it logs in, and the sets of permissions it has.

use orrery_api::kv::acl::{self, Rule, RuleError};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::selector::Selector;
use crate::command_table::CommandSpec;

/// Passwords of one user; each is compared at every login.
const PASSWORDS_MAX: usize = 64;
/// Sets of permissions of one user beside the first.
const SELECTORS_MAX: usize = 64;

/// SHA-256 of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest(redacted)")
    }
}

impl Digest {
    /// Of a text.
    pub(crate) fn of(text: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(text.as_ref()).into())
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        (text.len() == 64).then_some(Self(bytes))
    }

    /// 64 digits, as `ACL LIST` shows them.
    pub(crate) fn hex(&self) -> String {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

/// Why a word cannot be carried out; the texts are those of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    #[error("too many of them")]
    TooMany,
}

/// What a command was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    Command,
    /// The key is the argument at this place.
    Key(usize),
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    name: String,
    pub(super) is_enabled: bool,
    pub(super) has_no_password: bool,
    pub(super) sanitizes: Option<bool>,
    pub(super) passwords: Vec<Digest>,
    pub(super) root: Selector,
    pub(super) selectors: Vec<Selector>,
}

impl User {
    /// One that may not log in and may do nothing.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_enabled: false,
            has_no_password: false,
            sanitizes: None,
            passwords: vec![],
            root: Selector::default(),
            selectors: vec![],
        }
    }

    /// One that may do everything.
    pub(super) fn all_powerful(name: &str, password: Option<Digest>) -> Self {
        let mut user = Self { is_enabled: true, root: Selector::all(), ..Self::new(name) };
        user.add_password(password);
        user
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Without one, any password is right.
    pub(super) fn add_password(&mut self, password: Option<Digest>) {
        self.has_no_password = password.is_none();
        self.passwords.extend(password);
    }

    pub(super) fn reset_passwords(&mut self) {
        self.has_no_password = false;
        self.passwords.clear();
    }

    /// Whether nobody has to log in as it.
    pub(crate) fn is_open(&self) -> bool {
        self.is_enabled && self.has_no_password
    }

    /// Whether `AUTH` without a name makes no sense.
    pub(crate) fn has_no_password(&self) -> bool {
        self.has_no_password
    }

    /// Whether it may log in with this password.
    pub(crate) fn admits(&self, password: &[u8]) -> bool {
        if !self.is_enabled {
            return false;
        }
        let given = Digest::of(password);
        // All are compared, so that the time says nothing.
        let is_one = |found: bool, own: &Digest| found | bool::from(own.0.ct_eq(&given.0));
        self.passwords.iter().fold(false, is_one) | self.has_no_password
    }

    /// Whether there is nothing it may not do.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.root.allows_everything()
    }

    /// Whether it may run this command, and on these keys.
    pub(crate) fn check(&self, spec: &CommandSpec, args: &[&[u8]]) -> Result<(), Denied> {
        let Err(mut denied) = self.root.check(spec, args) else { return Ok(()) };
        for selector in &self.selectors {
            match selector.check(spec, args) {
                Ok(()) => return Ok(()),
                // What came nearest says most.
                Err(other) => denied = nearest(denied, other),
            }
        }
        Err(denied)
    }

    /// Whether it may read this key with whatever command.
    pub(crate) fn may_read(&self, key: &[u8]) -> bool {
        self.root.reads(key) || self.selectors.iter().any(|selector| selector.reads(key))
    }

    /// Carries one word out.
    pub(crate) fn apply(&mut self, word: &str) -> Result<(), WordError> {
        match acl::parse(word)? {
            Rule::Enabled(is_enabled) => self.is_enabled = is_enabled,
            Rule::NoPassword => {
                self.passwords.clear();
                self.has_no_password = true;
            }
            Rule::ResetPasswords => self.reset_passwords(),
            Rule::Password { is_added, text } => {
                self.change_password(is_added, Digest::of(text))?;
            }
            Rule::PasswordHash { is_added, hash } => {
                let digest = Digest::from_hex(&hash).ok_or(RuleError::Hash)?;
                self.change_password(is_added, digest)?;
            }
            Rule::SanitizePayload(sanitizes) => self.sanitizes = Some(sanitizes),
            Rule::Reset => *self = Self { sanitizes: Some(true), ..Self::new(&self.name) },
            Rule::ClearSelectors => self.selectors.clear(),
            Rule::Selector(permissions) => {
                if self.selectors.len() == SELECTORS_MAX {
                    return Err(WordError::TooMany);
                }
                let mut selector = Selector::default();
                for (word, permission) in permissions {
                    selector.add(&word, permission)?;
                }
                self.selectors.push(selector);
            }
            Rule::Permission(permission) => self.root.add(word, permission)?,
        }
        Ok(())
    }

    fn change_password(&mut self, is_added: bool, digest: Digest) -> Result<(), WordError> {
        let place = self.passwords.iter().position(|own| *own == digest);
        match (is_added, place) {
            (true, None) if self.passwords.len() == PASSWORDS_MAX => {
                return Err(WordError::TooMany);
            }
            (true, None) => self.passwords.push(digest),
            (true, Some(_)) => {}
            (false, Some(at)) => drop(self.passwords.remove(at)),
            (false, None) => return Err(WordError::NoSuchPassword),
        }
        self.has_no_password &= !is_added;
        Ok(())
    }
}

/// As Redis: a refused key says more than a refused command, and a later key more than an earlier.
fn nearest(one: Denied, other: Denied) -> Denied {
    match (one, other) {
        (Denied::Key(a), Denied::Key(b)) => Denied::Key(a.max(b)),
        (Denied::Key(at), Denied::Command) | (Denied::Command, Denied::Key(at)) => Denied::Key(at),
        (Denied::Command, Denied::Command) => Denied::Command,
    }
}
