//! Who may watch changes, and from where: the event loop's part, which is over at once.

use std::sync::Arc;

use super::Shard;
use super::commands::extra;
use super::group::Role;
use super::users::User;
use crate::namespaces::Namespaces;
use crate::watch::{Ask, Granted, Lens, Login, Mark, Refused};

/// The command whose right a watcher needs: it gets what a replica gets.
const RIGHT: &[u8] = b"psync";

impl Shard {
    /// Lets a watcher begin, or says why not.
    pub(crate) fn watch(&self, ask: &Ask) -> Result<Granted, Refused> {
        let user = self.user_of(ask.login.as_ref())?;
        let spec = extra::by_full_name(RIGHT).ok_or(Refused::Right)?;
        user.check(spec, &[RIGHT, b"?", b"-1"]).map_err(|_| Refused::Right)?;
        let is_primary = self.group.as_ref().is_none_or(|group| group.role == Role::Primary);
        if !is_primary {
            return Err(Refused::NotHere("this pod is not the primary: only that one knows"));
        }
        if self.adoption.is_some() {
            return Err(Refused::NotHere("a Redis is being taken over"));
        }
        if ask.database.is_some_and(|database| database >= self.databases) {
            return Err(Refused::Database);
        }
        let namespace = match &ask.namespace {
            None => None,
            Some(name) => Some(self.namespace_of(name)?),
        };
        let history = self.log.history();
        let from = match ask.from {
            None => Mark::behind(history.epoch_at(self.durable), self.durable),
            Some(mark) => mark,
        };
        let is_known = from.position == 0
            || (from.position <= self.log.appended()
                && history.epoch_at(from.position) == from.epoch);
        if !is_known {
            return Err(Refused::OtherHistory);
        }
        Ok(Granted {
            feed: self.log.journal().feed(),
            lens: Lens { user, database: ask.database, prefix: ask.prefix.clone(), namespace },
            epoch: history.epoch_at(from.begin().0),
            from,
            watch: self.watchers.begin(),
        })
    }

    fn user_of(&self, login: Option<&Login>) -> Result<Arc<User>, Refused> {
        let user = match login {
            None => Some(self.users.default_user()).filter(|user| user.is_open()),
            Some(login) => {
                let user = self.users.find(&login.user);
                user.filter(|user| user.admits(&login.password))
            }
        };
        user.cloned().ok_or(Refused::Login)
    }

    fn namespace_of(&self, name: &str) -> Result<(Namespaces, u16), Refused> {
        let rules = self.declared.accepted(self.databases);
        let place = rules.iter().position(|rules| rules.name == name).ok_or(Refused::Namespace)?;
        // Number 0 is the default one.
        let number = u16::try_from(place + 1).map_err(|_| Refused::Namespace)?;
        Ok((Namespaces::compile(self.default_class, rules), number))
    }
}
