//! Who may do what: roles, identities, and the one permission table the server enforces.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::message::RequestKind;

/// What a party is, as its certificate says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Owns the cell state; the only role a client accepts on the other end.
    Server,
    /// Places tasks.
    Scheduler,
    /// Runs tasks on a machine.
    Agent,
    /// Runs the cell: everything a user may do, and drain, quotas, settings.
    Operator,
    /// Submits and stops jobs.
    User,
    /// Looks.
    Reader,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 6] =
        [Role::Server, Role::Scheduler, Role::Agent, Role::Operator, Role::User, Role::Reader];

    /// The role's word in certificates and messages.
    pub fn word(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Scheduler => "scheduler",
            Role::Agent => "agent",
            Role::Operator => "operator",
            Role::User => "user",
            Role::Reader => "reader",
        }
    }

    /// Whether a party of this role may send a request of this kind: the permission table.
    pub fn may(self, kind: RequestKind) -> bool {
        use RequestKind as K;
        let reading = matches!(self, Role::Scheduler | Role::Operator | Role::User | Role::Reader);
        match kind {
            K::Status => true,
            K::Read | K::ListSchedulers | K::ListAttempts | K::GetAttempt | K::TopConflicts => reading,
            K::Audit | K::ReadLog | K::FollowLog => {
                matches!(self, Role::Operator | Role::User | Role::Reader)
            }
            K::OpenSession | K::Commit | K::Telemetry => self == Role::Scheduler,
            K::RegisterMachine | K::Report => self == Role::Agent,
            K::GetSpec => reading || self == Role::Agent,
            K::SubmitJob | K::StopJob | K::TaskExec | K::TaskFiles | K::TaskSignal => {
                matches!(self, Role::Operator | Role::User)
            }
            K::SetMachineState | K::SetQuota | K::Configure => self == Role::Operator,
            K::SubscribeJobs => reading,
            // An agent that answers names of services follows the whole cell.
            K::SubscribeFull => reading || self == Role::Agent,
            K::SubscribeMachines => matches!(self, Role::Agent | Role::Operator),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(word: &str) -> Result<Role, IdentityError> {
        let found = Role::ALL.into_iter().find(|r| r.word() == word);
        found.ok_or_else(|| IdentityError::Role(word.to_owned()))
    }
}

/// A party of a cell: what the SAN URI of its certificate says, `ohm://<cell>/<role>/<name>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The cell's name.
    pub cell: String,
    /// The role.
    pub role: Role,
    /// The party's name. An agent whose name ends in `*` may play every machine whose name starts with the rest.
    pub name: String,
}

/// A text that is no identity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not of the form `ohm://<cell>/<role>/<name>`.
    #[error("{0:?} is no identity; expected ohm://<cell>/<role>/<name>")]
    Form(String),
    /// No such role.
    #[error("{0:?} is no role; expected server, scheduler, agent, operator, user or reader")]
    Role(String),
}

impl Identity {
    /// Whether an agent of this name speaks for the machine of that name.
    pub fn speaks_for(&self, machine: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => machine.starts_with(prefix),
            None => self.name == machine,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ohm://{}/{}/{}", self.cell, self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Identity, IdentityError> {
        let form = || IdentityError::Form(uri.to_owned());
        let parts: Vec<&str> = uri.strip_prefix("ohm://").ok_or_else(form)?.split('/').collect();
        match parts[..] {
            [cell, role, name] if !cell.is_empty() && !name.is_empty() => {
                Ok(Identity { cell: cell.to_owned(), role: role.parse()?, name: name.to_owned() })
            }
            _ => Err(form()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per request kind, one column per role in the order of [`Role::ALL`]; `x` is allowed.
    const MATRIX: [(RequestKind, &str); 20] = [
        (RequestKind::Status, "xxxxxx"),
        (RequestKind::Read, ".x.xxx"),
        (RequestKind::ListSchedulers, ".x.xxx"),
        (RequestKind::ListAttempts, ".x.xxx"),
        (RequestKind::GetAttempt, ".x.xxx"),
        (RequestKind::TopConflicts, ".x.xxx"),
        (RequestKind::Audit, "...xxx"),
        (RequestKind::ReadLog, "...xxx"),
        (RequestKind::OpenSession, ".x...."),
        (RequestKind::Commit, ".x...."),
        (RequestKind::Telemetry, ".x...."),
        (RequestKind::RegisterMachine, "..x..."),
        (RequestKind::Report, "..x..."),
        (RequestKind::GetSpec, ".xxxxx"),
        (RequestKind::SubmitJob, "...xx."),
        (RequestKind::StopJob, "...xx."),
        (RequestKind::SetMachineState, "...x.."),
        (RequestKind::SetQuota, "...x.."),
        (RequestKind::Configure, "...x.."),
        (RequestKind::SubscribeFull, ".xxxxx"),
    ];

    #[test]
    fn the_whole_permission_matrix() {
        let later = [
            (RequestKind::SubscribeJobs, ".x.xxx"),
            (RequestKind::SubscribeMachines, "..xx.."),
            (RequestKind::FollowLog, "...xxx"),
            (RequestKind::TaskExec, "...xx."),
            (RequestKind::TaskFiles, "...xx."),
            (RequestKind::TaskSignal, "...xx."),
        ];
        let rows: Vec<_> = MATRIX.into_iter().chain(later).collect();
        assert_eq!(
            rows.iter().map(|r| r.0).collect::<std::collections::BTreeSet<_>>().len(),
            RequestKind::ALL.len()
        );
        for (kind, columns) in rows {
            for (role, column) in Role::ALL.into_iter().zip(columns.chars()) {
                assert_eq!(role.may(kind), column == 'x', "{role} {kind:?}");
            }
        }
    }

    #[test]
    fn identities_read_back_and_odd_ones_are_refused() {
        let identity: Identity = "ohm://dev/agent/sim-*".parse().unwrap();
        assert_eq!(identity.to_string(), "ohm://dev/agent/sim-*");
        assert!(identity.speaks_for("sim-17") && !identity.speaks_for("m1"));
        for odd in
            ["", "ohm://", "ohm://dev/agent", "ohm://dev/agent/", "ohm://dev/king/a", "http://dev/agent/a"]
        {
            assert!(odd.parse::<Identity>().is_err(), "{odd}");
        }
    }
}
