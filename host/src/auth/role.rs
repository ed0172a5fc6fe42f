//! What an operator may do at the admin door: three roles, each of which may what the one before it may.
//!
//! A role travels in a token as a scope of its own, such as `role:viewer`.

use std::fmt;
use std::str::FromStr;

/// In their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees what is configured and how it does; not what people say.
    Viewer,
    /// Sees what people said, and mends: replays and discards dead letters, forgets conversations.
    Operator,
    /// Revokes tokens and reads the audit.
    Admin,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The scope that makes a token's bearer this.
    pub fn scope(self) -> &'static str {
        match self {
            Role::Viewer => "role:viewer",
            Role::Operator => "role:operator",
            Role::Admin => "role:admin",
        }
    }

    /// The highest role among these scopes.
    pub fn of(scopes: &[String]) -> Option<Role> {
        Role::ALL.into_iter().rev().find(|role| scopes.iter().any(|scope| scope == role.scope()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Role::ALL.into_iter().find(|role| role.as_str() == name);
        known.ok_or_else(|| "a role is `viewer`, `operator` or `admin`".to_owned())
    }
}
