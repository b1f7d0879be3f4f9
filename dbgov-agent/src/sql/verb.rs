//! What a statement does.

use std::fmt;
use std::str::FromStr;

macro_rules! verbs {
    ($($variant:ident $name:literal,)*) => {
        /// What is done to an object. The names are those of policies and of the record's `verbs`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Verb { $($variant,)* }

        impl Verb {
            pub const ALL: &[Verb] = &[$(Verb::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Verb::$variant => $name,)* }
            }
        }
    };
}

verbs! {
    Select "select",
    Insert "insert",
    Update "update",
    Delete "delete",
    Merge "merge",
    Truncate "truncate",
    CopyFrom "copy_from",
    CopyTo "copy_to",
    Create "create",
    Alter "alter",
    Drop "drop",
    Grant "grant",
    Revoke "revoke",
    Comment "comment",
    Lock "lock",
    Vacuum "vacuum",
    Analyze "analyze",
    Cluster "cluster",
    Reindex "reindex",
    Refresh "refresh",
    Import "import",
    Reassign "reassign",
    SecurityLabel "security_label",
    Load "load",
    Call "call",
    Do "do",
    Prepare "prepare",
    Execute "execute",
    Deallocate "deallocate",
    Declare "declare",
    Fetch "fetch",
    Move "move",
    Close "close",
    Explain "explain",
    Set "set",
    Reset "reset",
    Show "show",
    Discard "discard",
    Begin "begin",
    Commit "commit",
    Rollback "rollback",
    Savepoint "savepoint",
    Listen "listen",
    Unlisten "unlisten",
    Notify "notify",
    Checkpoint "checkpoint",
    Unknown "unknown",
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no verb is called {0:?}")]
pub struct UnknownVerb(pub String);

impl FromStr for Verb {
    type Err = UnknownVerb;

    fn from_str(name: &str) -> Result<Self, UnknownVerb> {
        Verb::ALL
            .iter()
            .copied()
            .find(|verb| verb.name() == name)
            .ok_or_else(|| UnknownVerb(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for &verb in Verb::ALL {
            assert_eq!(verb.name().parse(), Ok(verb));
        }
        assert!("drop table".parse::<Verb>().is_err());
    }
}
