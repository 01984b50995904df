//! Rule words of users, in the language of the ACLs of Redis 7.0.
//!
//! Must not: know what a command does. The operator checks words with it before they reach a
//! process, and the process carries them out; [`COMMANDS`] is held against the table of the process
//! by a test there.

mod commands;

pub use commands::COMMANDS;

/// Name of the file with the users, in its folder: one `user <name> <word>...` a line.
pub const USERS_FILE: &str = "users.acl";
/// Longest file of users, in bytes: half of what a Secret can hold.
pub const USERS_FILE_BYTES_MAX: usize = 1 << 19;
/// The user that clients are before they log in.
pub const DEFAULT_USER: &str = "default";
/// The user as which followers log in; nobody else can be it.
pub const REPLICATION_USER: &str = "orrery-replication";

/// Groups of commands, in the order of `ACL CAT`.
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// What one word asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `on`, `off`: whether the user may log in.
    Enabled(bool),
    /// `nopass`: any password is right.
    NoPassword,
    /// `resetpass`: no password is right.
    ResetPasswords,
    /// `>text`, `<text`: the text is a password, or no longer.
    Password { is_added: bool, text: String },
    /// `#hash`, `!hash`: the same by the SHA-256 of the password, in lower-case hex.
    PasswordHash { is_added: bool, hash: String },
    /// `sanitize-payload`, `skip-sanitize-payload`: kept, and of no effect.
    SanitizePayload(bool),
    /// `reset`: as a new user.
    Reset,
    /// `clearselectors`: without those in parentheses.
    ClearSelectors,
    /// `(word ...)`: another set of permissions.
    Selector(Vec<(String, Permission)>),
    /// What the user may do.
    Permission(Permission),
}

/// What one word allows or forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// `allkeys`, `~*`, `resetkeys`.
    AllKeys(bool),
    /// `~pattern`, `%R~pattern`, `%W~pattern`.
    Keys { reads: bool, writes: bool, pattern: String },
    /// `allchannels`, `&*`, `resetchannels`.
    AllChannels(bool),
    /// `&pattern`.
    Channels(String),
    /// `allcommands`, `+@all`, `nocommands`, `-@all`.
    AllCommands(bool),
    /// `+@category`, `-@category`; lower case.
    Category { is_allowed: bool, name: &'static str },
    /// `+command`, `-command|subcommand`; as in [`COMMANDS`].
    Command { is_allowed: bool, name: &'static str },
    /// `+command|argument`: the command with this first argument.
    FirstArgument { command: &'static str, argument: String },
}

/// Why a word is none; the texts are those of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("Syntax error")]
    Syntax,
    #[error("Unknown command or category name in ACL")]
    Unknown,
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgumentOfSubcommand,
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal \
         characters"
    )]
    Hash,
    #[error("passwords come from Secrets alone")]
    Password,
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not \
         have any effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does \
         not have any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
}

/// Which patterns have become pointless on the way through a list of words.
#[derive(Debug, Default)]
struct Whole {
    keys: bool,
    channels: bool,
}

impl Whole {
    fn take(&mut self, permission: &Permission) -> Result<(), RuleError> {
        match permission {
            Permission::AllKeys(all) => self.keys = *all,
            Permission::AllChannels(all) => self.channels = *all,
            Permission::Keys { .. } if self.keys => return Err(RuleError::AfterAllKeys),
            Permission::Channels(_) if self.channels => return Err(RuleError::AfterAllChannels),
            _ => {}
        }
        Ok(())
    }
}

/// Whether the words of a new user can be carried out one after the other; else the first that
/// cannot. Words about passwords are none: those come from Secrets.
pub fn check<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<(), (&'a str, RuleError)> {
    let mut root = Whole::default();
    for word in words {
        let failed = |error| (word, error);
        match parse(word).map_err(failed)? {
            Rule::NoPassword
            | Rule::ResetPasswords
            | Rule::Password { .. }
            | Rule::PasswordHash { .. }
            | Rule::Reset => return Err((word, RuleError::Password)),
            Rule::Enabled(_) | Rule::SanitizePayload(_) | Rule::ClearSelectors => {}
            Rule::Permission(permission) => root.take(&permission).map_err(failed)?,
            Rule::Selector(permissions) => {
                let mut own = Whole::default();
                for (_, permission) in &permissions {
                    own.take(permission).map_err(failed)?;
                }
            }
        }
    }
    Ok(())
}

/// What a word asks for. A selector is one word, with spaces between its parentheses.
pub fn parse(word: &str) -> Result<Rule, RuleError> {
    if let Some(inner) = word.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        let words = inner.split_ascii_whitespace();
        let parsed = words.map(|word| Ok((word.to_owned(), permission(word)?)));
        return Ok(Rule::Selector(parsed.collect::<Result<_, RuleError>>()?));
    }
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    Ok(match word {
        _ if is("on") => Rule::Enabled(true),
        _ if is("off") => Rule::Enabled(false),
        _ if is("nopass") => Rule::NoPassword,
        _ if is("resetpass") => Rule::ResetPasswords,
        _ if is("sanitize-payload") => Rule::SanitizePayload(true),
        _ if is("skip-sanitize-payload") => Rule::SanitizePayload(false),
        _ if is("reset") => Rule::Reset,
        _ if is("clearselectors") => Rule::ClearSelectors,
        _ if word.starts_with(['>', '<']) => {
            Rule::Password { is_added: word.starts_with('>'), text: word[1..].to_owned() }
        }
        _ if word.starts_with(['#', '!']) => {
            Rule::PasswordHash { is_added: word.starts_with('#'), hash: hash(&word[1..])? }
        }
        _ => Rule::Permission(permission(word)?),
    })
}

fn hash(text: &str) -> Result<String, RuleError> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == 64 && is_hex { Ok(text.to_owned()) } else { Err(RuleError::Hash) }
}

/// What a word allows or forbids; the only words there are inside of a selector.
pub fn permission(word: &str) -> Result<Permission, RuleError> {
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    if is("allkeys") || word == "~*" {
        return Ok(Permission::AllKeys(true));
    }
    if is("resetkeys") {
        return Ok(Permission::AllKeys(false));
    }
    if is("allchannels") || word == "&*" {
        return Ok(Permission::AllChannels(true));
    }
    if is("resetchannels") {
        return Ok(Permission::AllChannels(false));
    }
    if is("allcommands") || is("+@all") {
        return Ok(Permission::AllCommands(true));
    }
    if is("nocommands") || is("-@all") {
        return Ok(Permission::AllCommands(false));
    }
    let Some(first) = word.chars().next() else { return Err(RuleError::Syntax) };
    let rest = &word[first.len_utf8()..];
    match first {
        '~' => keys(true, true, rest),
        '%' => {
            let (marks, pattern) = rest.split_once('~').ok_or(RuleError::Syntax)?;
            match marks.to_ascii_uppercase().as_str() {
                "R" => keys(true, false, pattern),
                "W" => keys(false, true, pattern),
                "RW" | "WR" => keys(true, true, pattern),
                _ => Err(RuleError::Syntax),
            }
        }
        '&' => Ok(Permission::Channels(plain(rest)?)),
        '+' | '-' => command(first == '+', rest),
        _ => Err(RuleError::Syntax),
    }
}

fn keys(reads: bool, writes: bool, pattern: &str) -> Result<Permission, RuleError> {
    Ok(Permission::Keys { reads, writes, pattern: plain(pattern)? })
}

/// A pattern: words are told apart by spaces.
fn plain(pattern: &str) -> Result<String, RuleError> {
    let is_spaced = pattern.bytes().any(|byte| byte.is_ascii_whitespace() || byte == 0);
    if is_spaced { Err(RuleError::Syntax) } else { Ok(pattern.to_owned()) }
}

fn command(is_allowed: bool, text: &str) -> Result<Permission, RuleError> {
    let known = |names: &[&'static str], text: &str| {
        names.iter().find(|name| name.eq_ignore_ascii_case(text)).copied()
    };
    if let Some(category) = text.strip_prefix('@') {
        let name = known(&CATEGORIES, category).ok_or(RuleError::Unknown)?;
        return Ok(Permission::Category { is_allowed, name });
    }
    if let Some(name) = known(COMMANDS, text) {
        return Ok(Permission::Command { is_allowed, name });
    }
    let Some((command, argument)) = text.rsplit_once('|').filter(|_| is_allowed) else {
        return Err(RuleError::Unknown);
    };
    let command = known(COMMANDS, command).ok_or(RuleError::Unknown)?;
    if command.contains('|') {
        return Err(RuleError::FirstArgumentOfSubcommand);
    }
    if argument.is_empty() {
        return Err(RuleError::Syntax);
    }
    if has_subcommands(command) {
        return Err(RuleError::Unknown);
    }
    Ok(Permission::FirstArgument { command, argument: plain(argument)? })
}

/// Whether there are subcommands of this command.
fn has_subcommands(command: &str) -> bool {
    let of = |name: &&str| name.strip_prefix(command).is_some_and(|rest| rest.starts_with('|'));
    COMMANDS.iter().any(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_word_is_understood_in_any_case() {
        let words = [
            ("ON", Rule::Enabled(true)),
            ("+@Read", permission_of(true, Some("read"), "")),
            ("-CONFIG|Set", permission_of(false, None, "config|set")),
            ("AllKeys", Rule::Permission(Permission::AllKeys(true))),
            (
                "%r~a:*",
                Rule::Permission(Permission::Keys {
                    reads: true,
                    writes: false,
                    pattern: "a:*".into(),
                }),
            ),
            (
                "+select|0",
                Rule::Permission(Permission::FirstArgument {
                    command: "select",
                    argument: "0".into(),
                }),
            ),
            (
                "(+get ~x)",
                Rule::Selector(vec![
                    ("+get".into(), Permission::Command { is_allowed: true, name: "get" }),
                    (
                        "~x".into(),
                        Permission::Keys { reads: true, writes: true, pattern: "x".into() },
                    ),
                ]),
            ),
        ];
        for (word, wanted) in words {
            assert_eq!(parse(word), Ok(wanted), "{word}");
        }
    }

    fn permission_of(is_allowed: bool, category: Option<&'static str>, name: &'static str) -> Rule {
        Rule::Permission(match category {
            Some(name) => Permission::Category { is_allowed, name },
            None => Permission::Command { is_allowed, name },
        })
    }

    #[test]
    fn what_is_no_word_is_refused_with_the_reason_of_redis() {
        use RuleError::{FirstArgumentOfSubcommand, Hash, Syntax, Unknown};
        let wrong = [
            ("", Syntax),
            ("foo", Syntax),
            ("(on)", Syntax),
            ("(+get (a))", Syntax),
            ("%X~a", Syntax),
            ("%~a", Syntax),
            ("~a b", Syntax),
            ("+", Unknown),
            ("+nosuch", Unknown),
            ("+@nosuch", Unknown),
            ("+config|nosuch", Unknown),
            ("-get|x", Unknown),
            ("+get|x|y", Unknown),
            ("+get|", Syntax),
            ("+config|get|x", FirstArgumentOfSubcommand),
            ("#abc", Hash),
        ];
        for (word, error) in wrong {
            assert_eq!(parse(word), Err(error), "{word:?}");
        }
    }

    #[test]
    fn a_list_of_words_is_checked_up_to_the_first_that_cannot_be_carried_out() {
        let check = |words: &[&'static str]| check(words.iter().copied());
        assert_eq!(check(&["on", "+@all", "allkeys", "resetkeys", "~a", "(+get ~*)"]), Ok(()));
        let wrong: [(&[&str], &str, RuleError); 6] = [
            (&["+get", "nopass"], "nopass", RuleError::Password),
            (&[">secret"], ">secret", RuleError::Password),
            (&["reset"], "reset", RuleError::Password),
            (&["~*", "~a"], "~a", RuleError::AfterAllKeys),
            (&["allchannels", "&a"], "&a", RuleError::AfterAllChannels),
            (&["~*", "(~* ~a)"], "(~* ~a)", RuleError::AfterAllKeys),
        ];
        for (words, word, error) in wrong {
            assert_eq!(check(words), Err((word, error)));
        }
    }

    #[test]
    fn names_are_sorted_and_subcommands_have_their_container() {
        assert!(COMMANDS.is_sorted());
        for name in COMMANDS {
            if let Some((container, _)) = name.split_once('|') {
                assert!(COMMANDS.contains(&container), "{name}");
                assert!(has_subcommands(container));
            }
        }
        assert!(!has_subcommands("get") && has_subcommands("client"));
    }
}
