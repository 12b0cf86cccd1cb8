//! Every command that changes the tables, as one value that a log can carry to other registries.
//!
//! A call of the registry decides its own kind of command by [`Decide`], which gives it an answer of its own type. Whoever
//! follows a log of commands decodes a [`Command`], applies it, and needs no answer.

use bytes::Bytes;

use crate::{
    clock::CommandTime,
    create::{CreateGroup, LapseAddresses, RegainAddress},
    invites::{CreateInvite, RedeemInvite, RevokeInvite},
    members::{AddMember, RemoveMember},
    owner::{DeleteGroup, ResetGroup, SetRetention},
    policies::SetPolicy,
    reports::ReportLogs,
    services::{ForgetService, RegisterService, RememberSecret},
    store::KeyChange,
    tables::{Change, Decide, ForgetOutdated, Tables},
};

mod encoded;

/// A command cannot be decoded: it is damaged, or of a kind that only a later version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command cannot be read; it is damaged, or a later version wrote it")]
pub struct DecodeError;

macro_rules! commands {
    ($($Name:ident),+ $(,)?) => {
        /// A command of any kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $(#[doc = concat!("See [`", stringify!($Name), "`].")] $Name($Name),)+
        }

        $(impl From<$Name> for Command {
            fn from(command: $Name) -> Self {
                Self::$Name(command)
            }
        })+

        impl Command {
            /// Returns the changes that the command makes; none if it is refused.
            fn changes(&self, tables: &Tables, now: CommandTime) -> Vec<Change> {
                let mut changes = Vec::new();
                let is_accepted = match self {
                    $(Self::$Name(command) => command.decide(tables, now, &mut changes).is_ok(),)+
                };
                if is_accepted { changes } else { Vec::new() }
            }
        }
    };
}

commands![
    CreateGroup,
    LapseAddresses,
    RegainAddress,
    DeleteGroup,
    ResetGroup,
    SetRetention,
    AddMember,
    RemoveMember,
    CreateInvite,
    RevokeInvite,
    RedeemInvite,
    RegisterService,
    ForgetService,
    RememberSecret,
    ReportLogs,
    ForgetOutdated,
    SetPolicy,
];

impl Command {
    /// Encodes the command with its time.
    #[must_use]
    pub fn encode(&self, now: CommandTime) -> Bytes {
        encoded::encode(self, now)
    }

    /// Decodes what [`Self::encode`] gave.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: Bytes) -> Result<(Self, CommandTime), DecodeError> {
        encoded::decode(bytes)
    }

    /// Applies the command as every other registry does that applies the same commands in the same order. Returns the
    /// changes for the store; none if the command was refused.
    pub fn apply(&self, tables: &mut Tables, now: CommandTime) -> Vec<KeyChange> {
        let changes = self.changes(tables, now);
        let stored = changes.iter().map(Change::to_key_change).collect();
        tables.absorb_all(changes, now.mono);
        stored
    }
}

#[cfg(test)]
mod tests;
