//! The commands of `dbgov`, one file each.

pub mod approvals;
pub mod doctor;
pub mod exec;
pub mod gate;
pub mod policy;
pub mod replay;
pub mod report;
pub mod run;
pub mod search;
pub mod status;
mod table;
pub mod tag;
pub mod tail;
pub mod verify;
