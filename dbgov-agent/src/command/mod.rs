//! The commands of `dbgov`, one file each.

pub mod approvals;
pub mod doctor;
pub mod gate;
pub mod policy;
pub mod replay;
pub mod run;
pub mod status;
pub mod tail;
