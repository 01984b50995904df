//! What a connection may do by the user it logged in as, and what becomes of it when users change.
//!
//! Only connections of users with limits come here: for all others a command costs the look at one
//! flag.

use super::Shard;
use super::connection::Connection;
use super::users::Users;
use super::users::denied::{Entry, Reason};
use super::users::user::Denied;
use crate::command_table::CommandSpec;

const NO_KEY: &str =
    "NOPERM this user has no permissions to access one of the keys used as arguments";

impl Shard {
    /// Why the user of the connection may not run the command, as an error reply.
    #[cold]
    pub(crate) fn denied(
        &mut self,
        connection: &Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Option<String> {
        if connection.multi.is_some() && spec.is_forbidden_in_multi() {
            // It is refused for that, whoever asks.
            return None;
        }
        let denied = self.check_rights(connection, spec, args, connection.multi.is_some())?;
        let name = spec.full_name;
        Some(match denied {
            Denied::Command => {
                format!("NOPERM this user has no permissions to run the '{name}' command")
            }
            Denied::Key(_) => NO_KEY.to_owned(),
        })
    }

    fn check_rights(
        &mut self,
        connection: &Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        is_in_multi: bool,
    ) -> Option<Denied> {
        let denied = connection.user().check(spec, args).err()?;
        let user = connection.user().name().as_bytes();
        let entry = match denied {
            Denied::Command => Entry::new(Reason::Command, spec.full_name.as_bytes(), user),
            Denied::Key(at) => {
                Entry::new(Reason::Key, args.get(at).copied().unwrap_or_default(), user)
            }
        };
        self.note_denied(connection, entry, is_in_multi);
        Some(denied)
    }

    /// The same for a command that was allowed when it was queued.
    pub(crate) fn denied_at_exec(
        &mut self,
        connection: &Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Option<String> {
        if !connection.is_restricted {
            return None;
        }
        let why = match self.check_rights(connection, spec, args, true)? {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
        };
        Some(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the \
             EXEC call. This command is no longer allowed for the following reason: {why}"
        ))
    }

    /// Keeps a refusal for `ACL LOG`.
    pub(crate) fn note_denied(&mut self, connection: &Connection, entry: Entry, is_in_multi: bool) {
        let most = usize::try_from(self.settings.number("acllog-max-len")).unwrap_or(0);
        let now_ms = self.clock.mono_ms;
        let client = super::commands::describe_client(connection, now_ms);
        self.denied.add(entry.of(client, is_in_multi, now_ms), most);
    }

    /// Puts other users in place. Connections go on with what their user may do now; those whose user
    /// is gone end. `caller` is the connection that is running, if one is.
    pub(crate) fn take_users(&mut self, users: Users, caller: Option<&mut Connection>) {
        self.users = users;
        // They come again, with the rights they have now.
        self.watchers.close();
        for slot in self.clients.slots() {
            let Some(connection) = self.clients.get_mut(slot) else { continue };
            if !connection.renew_rights(&self.users) {
                connection.broken = true;
                self.doomed.push(slot);
            }
        }
        if let Some(caller) = caller
            && !caller.renew_rights(&self.users)
        {
            caller.close_after_output();
        }
    }

    /// Takes over users whose file has changed.
    pub(crate) fn look_after_users(&mut self) {
        let Some(file) = &mut self.users_file else { return };
        let Some(users) = file.look(self.clock.mono_ms, self.users.password()) else { return };
        tracing::info!(users = users.iter().count(), "users in use");
        self.take_users(users, None);
    }
}
