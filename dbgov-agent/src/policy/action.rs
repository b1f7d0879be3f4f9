//! What is done about a message.

/// In order of strictness: of the effects of a message the strictest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Action {
    /// Let pass.
    #[default]
    Allow,
    /// Let pass, and mark the record.
    Alert,
    /// Wait for an approval.
    Hold,
    /// The statement fails, the connection lives on.
    Reject,
    /// The connection ends.
    Reset,
}

impl Action {
    pub const ALL: &[Action] = &[
        Action::Allow,
        Action::Alert,
        Action::Hold,
        Action::Reject,
        Action::Reset,
    ];

    /// As in the policy file and in the record (`verdict.action`).
    pub fn name(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Alert => "alert",
            Action::Hold => "hold",
            Action::Reject => "reject",
            Action::Reset => "reset",
        }
    }

    /// Everything but `allow`: what an effect that is only possible falls under as well.
    pub fn is_restrictive(self) -> bool {
        self != Action::Allow
    }

    /// The message does not reach the server, at least not yet.
    pub fn stops(self) -> bool {
        self >= Action::Hold
    }
}
